"""The command line of ``make_ladder``: its options, their checks, and the command as it was."""

import argparse
import re
import shlex

from distill.checks import above, at_least
from distill.data.tables import TABLE_SUFFIXES
from distill.errors import ConfigError
from distill.flags import Parser
from distill.ladder.pairs import PER_CONTENTS
from distill.ladder.sources import MIN_SIDE, Cut
from distill.options import time_limit_option


def parser(description: str) -> argparse.ArgumentParser:
    """What parses the command line; the description is for ``--help``."""
    found = Parser(
        prog="python make_ladder.py",
        description=description,
        epilog="Exit code: 0 all sources used, 1 some left out, 2 nothing made, 128 + n signal n.",
    )
    add = found.add_argument
    text = f"folder, list, table ({', '.join(TABLE_SUFFIXES)}) or video"
    add("source", nargs="?", metavar="SOURCE", help=text)
    add("--out", metavar="FOLDER", help="folder to make the set in")
    add("--seconds", type=float, default=4.0, help="length of a shot (default 4)")
    add("--shots", type=int, default=1, help="shots per source at most, spread over it (default 1)")
    text = "larger shots are scaled down to this short side (default 540)"
    add("--short-side", type=int, default=540, metavar="PIXELS", help=text)
    add("--fps", type=float, help="frames per second at most; default: each source's own")
    add("--seed", type=int, default=0, help="seed for recipes, their strengths and the pairs")
    add("--split", default="70/15/15", metavar="TRAIN/VAL/TEST", help="percentages of contents")
    add("--unlabelled", action="store_true", help="a pool: no VMAF; noise and dropped frames too")
    text = "pairs of one content / of two, per 122 contents of a split (default: KVQ's 169/231)"
    add("--pairs", default="/".join(map(str, PER_CONTENTS)), metavar="N/M", help=text)
    text = "a pair's labels differ by more than this, on the scale 1 to 5 (default 0.25)"
    add("--margin", type=float, default=0.25, help=text)
    add("--ladder", metavar="FILE", help="another ladder, in the format of --print-ladder")
    add("--print-ladder", action="store_true", help="print the default ladder as YAML and stop")
    add("--dry-run", action="store_true", help="check, count and estimate; write nothing")
    add("--workers", type=int, help="FFmpeg processes at a time; default: one per core")
    add("--reader", default="auto", help="to check the sources: auto, pyav, decord or torchcodec")
    add("--time-limit", **time_limit_option())
    return found


def check(options: argparse.Namespace) -> tuple[list[int], tuple[int, int]]:
    """Check the options; shares of the splits, and numbers of pairs.

    Raises:
        ConfigError: a value that cannot be used.
    """
    above("--seconds", options.seconds, 0)
    at_least("--shots", options.shots, 1)
    at_least("--short-side", options.short_side, MIN_SIDE)
    if options.fps is not None:
        above("--fps", options.fps, 0)
    at_least("--margin", options.margin, 0)
    at_least("--workers", options.workers, 1)
    shares = _numbers(options.split, 3)
    if not shares or sum(shares) != 100:
        raise ConfigError(
            f"--split {options.split}: give the percentages of train/val/test, as in 70/15/15; "
            "100/0/0 takes all for training"
        )
    pairs = _numbers(options.pairs, 2)
    if not pairs:
        raise ConfigError(f"--pairs {options.pairs}: give two numbers, as in 169/231, or 0/0")
    return shares, (pairs[0], pairs[1])


def _numbers(text: str, count: int) -> list[int]:
    """Numbers with slashes between them; none where it is anything else."""
    found = re.fullmatch("/".join([r"(\d{1,6})"] * count), text)
    return [int(part) for part in found.groups()] if found else []


def cut_of(options: argparse.Namespace) -> Cut:
    """What the options take from each source."""
    return Cut(options.seconds, options.shots, options.short_side, options.fps)


def command(options: argparse.Namespace) -> str:
    """The command with every option that changes the outcome, the defaults too."""
    words = ["python", "make_ladder.py", options.source]
    for name in "out seconds shots short_side fps seed split pairs margin ladder".split():
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    limit = options.time_limit
    words += ["--time-limit", "none" if limit is None else f"{limit:g}"]
    return shlex.join([*words, "--unlabelled"] if options.unlabelled else words)
