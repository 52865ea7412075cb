"""Read a public data set, print what it holds, and write its manifest.

    python -m distill.datasets kvq --root /data/KVQ --out kvq.csv
    python -m distill.datasets finevd --root /data/FineVD --option dimension=noise

Use the manifest with data=manifest data.manifest=OUT data.root=ROOT.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from distill.config import folder
from distill.data.adapters import find_adapter, place, read_labels, sizes
from distill.data.manifest import write_manifest
from distill.data.public_sets import public_sets
from distill.data.rows import SPLITS
from distill.data.tables import TABLE_SUFFIXES
from distill.errors import ConfigError
from distill.flags import Parser
from distill.leaving import plain_door
from distill.words import option_word

INCOMPLETE = 1


def run(words: Sequence[str]) -> int:
    """Read a data set, print what it holds.

    Args:
        words: the command line, without the program's name.

    Returns:
        Exit code: 0, or 1 where rows are left out or the labels are not as many as published.

    Raises:
        DistillError: it cannot be read.
    """
    options = _parser().parse_args(words)
    node = public_sets()[options.name]
    extra = dict(node.get("options") or {})
    for word in options.option:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--option {word}: write NAME=VALUE")
        extra[name] = value
    out = _target(options.out) if options.out else None
    root = folder(options.root)
    labels = folder(options.labels) if options.labels else root
    module = find_adapter(node["adapter"])
    records, problems = read_labels(module, labels, extra)
    if out and out.exists() and any(out.samefile(file) for file in {r.file for r in records}):
        raise ConfigError(f"--out {out}: is the label file itself; give another name")
    counted = sizes(module.PUBLISHED, records)
    manifest = place(module.PUBLISHED, labels, records, problems, root)
    if out:  # before anything is printed: whoever reads it may close the pipe
        try:
            write_manifest(out, manifest.rows)
        except OSError as error:
            raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from error
    print(f"{module.PUBLISHED.title}: labels {labels}, videos {root}")
    for size in counted:
        print(f"  {size}{'' if size.agrees else '  <- differs'}")
    for split in SPLITS:
        rows = manifest.split(split)
        if rows:
            mean = sum(row.mos for row in rows) / len(rows)
            scores = f", mos {min(r.mos for r in rows):.3f} to {max(r.mos for r in rows):.3f}"
            scores += f", mean {mean:.3f}"
            contents = len({row.group for row in rows})
            told = "" if split == "pool" else scores
            print(f"  {split}: {len(rows)} videos of {contents} contents{told}")
    if manifest.problems:
        print(f"  left out: {len(manifest.problems)}")
        for problem in manifest.problems[:10]:
            print(f"    {problem}")
        if len(manifest.problems) > 10:
            print(f"    and {len(manifest.problems) - 10} more")
    if out:
        words = [option_word("data.manifest", str(out)), option_word("data.root", str(root))]
        print(f"written: {out}; data=manifest {' '.join(words)}")
    sound = not manifest.problems and all(size.agrees for size in counted)
    return 0 if sound else INCOMPLETE


def _target(name: str) -> Path:
    """Where the manifest goes.

    Raises:
        ConfigError: its name says another format than the three that are written.
    """
    if not name.lower().endswith(TABLE_SUFFIXES):
        raise ConfigError(f"--out {name}: name a {', '.join(TABLE_SUFFIXES)} file")
    return folder(name)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m distill.datasets",
        description=__doc__,
        epilog="Exit code: 0 complete; 1 videos or scores are missing, or the number of labels is"
        " not a published one; 2 it cannot be read.",
    )
    add = parser.add_argument
    add("name", choices=sorted(public_sets()), help="data set, as in data=NAME")
    add("--root", required=True, metavar="DIR", help="folder of the videos, in any sub-folders")
    add("--labels", metavar="PATH", help="label file, or a folder that has it; default: --root")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="as data.options.NAME")
    add("--out", metavar="FILE", help="manifest to write: .csv, .tsv or .parquet")
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    plain_door(run)
