"""The words that `python score.py` takes; imports nothing that takes long."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from distill.config import folder, place
from distill.errors import ConfigError
from distill.flags import Parser
from distill.options import time_limit_option

_ABOUT = """Score any videos with a bundle: a table on the terminal, CSV, JSON or JSON lines.

python score.py FOLDER                                  newest student; with sub-folders
python score.py a.mp4 'clips/**/*.mp4' list.txt         files, patterns, lists, mixed
find . -name '*.mp4' -print0 | python score.py - -0     names from standard input
python score.py FOLDER --csv scores.csv                 --csv - writes to standard output
python score.py FOLDER --jsonl scores.jsonl --resume    one line per video; continues after a stop
python score.py FOLDER --sparkline --plots pictures     the score over time
python score.py FOLDER --bundle EXPORT                  a folder made by export.py, without torch
"""
_FILES = ("csv", "json", "jsonl")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options, each by itself in its range.

    Raises:
        ConfigError: an option is out of its range, or has no sense beside another.
    """
    options = _parser().parse_args(words)
    if (options.workers is not None and options.workers < 0) or options.batch_size < 1:
        raise ConfigError("--workers must be at least 0 and --batch-size at least 1")
    if options.resume and options.jsonl in (None, "-"):
        raise ConfigError("--resume continues a file of JSON lines: --jsonl FILE")
    targets = [name for name in _targets(options) if name == "-"]
    targets += ["-"] if options.sparkline and targets else []
    if len(targets) > 1:
        raise ConfigError("standard output takes one of a table, --csv -, --json - and --jsonl -")
    return options


def check_targets(options: argparse.Namespace) -> None:
    """Before hours of scoring, not after.

    Raises:
        ConfigError: a file cannot be written, or is given twice; the folder of pictures cannot be
            made.
    """
    check_apart(options, [place(name) for name in options.videos])
    taken: set[str] = set()
    for name in _files(options):
        path = folder(name)
        if os.path.realpath(path) in taken:
            raise ConfigError(f"{name}: two outputs would go to this file; give each its own")
        taken.add(os.path.realpath(path))
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ConfigError(f"{name}: cannot be written; give a file in a folder that exists")
    if options.resume and folder(options.jsonl).exists() and not folder(options.jsonl).is_file():
        raise ConfigError(f"--resume: {options.jsonl} is no regular file")
    if options.plots is not None:
        try:
            folder(options.plots).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--plots {options.plots}: cannot be made ({error.strerror}); give another folder"
            ) from error
        if not os.access(folder(options.plots), os.W_OK):
            raise ConfigError(f"--plots {options.plots}: cannot be written to")


def check_apart(options: argparse.Namespace, read: Sequence[Path]) -> None:
    """Nothing is written over what is read.

    Raises:
        ConfigError: an output is one of these files.
    """
    there = [name for name in _files(options) if folder(name).exists()]
    known = {os.path.realpath(path) for path in read} if there else set()
    for name in there:
        if os.path.realpath(folder(name)) in known:
            raise ConfigError(f"{name}: is one of the inputs; write the scores to another file")


def _files(options: argparse.Namespace) -> list[str]:
    return [name for name in _targets(options) if name != "-"]


def _targets(options: argparse.Namespace) -> list[str]:
    return [name for kind in _FILES if (name := getattr(options, kind)) is not None]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python score.py",
        description=_ABOUT,
        allow_abbrev=False,
        epilog="Exit code: 0 all scored, 1 some failed, 2 nothing done, 4 no space for the"
        " scores, 128 + n signal n. docs/scoring.md has every column.",
    )
    add = parser.add_argument
    what = "files, folders, lists (.txt, .csv), 'patterns*', or - for names from standard input"
    add("videos", nargs="+", metavar="VIDEO", help=what)
    add("-0", "--null", action="store_true", help="names on standard input end in NUL")
    model = parser.add_argument_group("model").add_argument
    model("--bundle", metavar="DIR", help="bundle or export; default: newest student, else teacher")
    model("--runtime", default="auto", help="auto, torch, onnx or int8; the last two run exports")
    outputs = os.environ.get("DISTILL_OUTPUTS", "outputs")
    model("--outputs", default=outputs, metavar="DIR", help="folder to look for runs in")
    model("--device", default="auto", help="auto, cpu, cuda ...")
    out = parser.add_argument_group("output; - is standard output").add_argument
    out("--csv", metavar="FILE", help="a row for each video, written as it is scored")
    out("--json", metavar="FILE", help="one list, written at the end")
    out("--jsonl", metavar="FILE", help="a JSON object a line, written as each video is scored")
    out("--resume", action="store_true", help="skip videos that the --jsonl file has already")
    out("--frames", action="store_true", help="scores and times of frames, in all three files")
    out("--sparkline", action="store_true", help="show the score over time in the table")
    out("--plots", metavar="DIR", help="a PNG of the score over time for each video")
    out("--quiet", action="store_true", help="no progress; warnings and failures are still printed")
    work = parser.add_argument_group("decoding").add_argument
    work("--reader", default="auto", help="auto, pyav, decord or torchcodec")
    work("--time-limit", **time_limit_option())
    work("--batch-size", type=int, default=4, help="videos per forward pass (default 4)")
    work("--workers", type=int, help="decoding processes; default: one per core, at most 8")
    return parser
