"""The table of docs/results.md: the main job on real clips with VMAF labels.

    python benchmarks/realladder.py                         ../shared/realladder beside the checkout
    python benchmarks/realladder.py FOLDER --out DIR

The first 14 train contents (sorted by name) are labelled, the other 41 are the unlabelled pool;
both students train for as many steps. Everything else is the commands' defaults.
"""

import argparse
import sys
from pathlib import Path

from distill.stages import main_job


def main() -> int:
    """Run the main job on the folder; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "realladder"
    parser.add_argument("folder", nargs="?", type=Path, default=beside)
    parser.add_argument("--out", type=Path, default=Path("outputs/realladder"))
    options = parser.parse_args()
    table = options.folder / "manifest.csv"
    if not table.is_file():
        sys.stderr.write(f"error: {table}: no such file; give the folder of the data set\n")
        return 2
    words = ["data=manifest", f"data.manifest='{table}'", "data.labelled_groups=14"]
    words += ["tracking=none", "student:student=compact"]
    return main_job.main([*words, "--out", str(options.out)])


if __name__ == "__main__":
    sys.exit(main())
