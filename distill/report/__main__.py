"""Make the report of a run, again or for the first time.

    python -m distill.report outputs/evaluate/2026-05-01_12-00-00-000000
    python -m distill.report FOLDER --no-frames --out report.html

FOLDER is what train_teacher, pseudo_label, train_student, evaluate or a sweep of students left.
The page loads nothing from anywhere. It holds small frames of some videos: --no-frames leaves them
out of a page that goes to others.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from distill.config import folder
from distill.data.readers import make_reader
from distill.leaving import plain_door
from distill.options import ReaderConfig
from distill.report import write_report


def run(words: Sequence[str]) -> int:
    """Write a report and say where it is.

    Args:
        words: the command line, without the program's name.

    Returns:
        Exit code 0.

    Raises:
        DistillError: the folder is none of a run, or the page cannot be written.
    """
    options = _parser().parse_args(words)
    reader = None
    if options.frames:
        reader = make_reader("auto", time_limit=ReaderConfig().time_limit)
    out = None if options.out is None else folder(options.out)
    path = write_report(folder(options.folder), reader, out)
    print(f"report: {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m distill.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="of the run")
    parser.add_argument(
        "--frames", action=argparse.BooleanOptionalAction, default=True,
        help="put small frames of the videos into the page",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="file to write; report.html in the folder")
    return parser


if __name__ == "__main__":
    plain_door(run)
