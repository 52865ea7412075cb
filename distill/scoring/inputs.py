"""Which videos score.py scores: what was typed and what standard input names, in that order."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.config import place
from distill.data.manifest import VIDEO_SUFFIXES, escaped
from distill.data.places import RemotePath
from distill.data.pool_sources import MAGIC, read_names, read_pool, refusal
from distill.data.rows import Manifest
from distill.errors import ConfigError, ManifestError
from distill.terminal import for_terminal

STDIN = "-"
_SHOWN = 5  # reasons in a message, and repeated names of a list that are told


@dataclass(frozen=True)
class Item:
    """One video.

    Attributes:
        video: its name in every output.
        path: where it is; None where it cannot be scored.
        reason: why not.
    """

    video: str
    path: Path | None = None
    reason: str = ""


def gather(
    names: Sequence[str], null: bool = False, stdin: Callable[[], bytes] | None = None
) -> tuple[list[Item], list[str]]:
    """Every video once, in the order in which it is first named.

    A video is named as it was typed, one of a list as the list names it, one of a folder with the
    folder in front, one of a pattern as a shell would name it.

    Args:
        names: files, folders, lists, tables, archives, patterns, URLs, and ``-`` for standard
            input.
        null: standard input separates its names with NUL, as ``find -print0`` does.
        stdin: reads standard input.

    Returns:
        The videos, and what is to be told of those that were named again.

    Raises:
        ManifestError: a folder, list or pattern without videos, a list that cannot be read, or
            nothing that can be scored.
        ConfigError: standard input is read twice, or its names are not separated as ``null`` says.
    """
    if null and STDIN not in names:
        raise ConfigError("-0 applies to names from standard input; give - in place of a video")
    if names.count(STDIN) > 1:
        raise ConfigError("-: standard input can be read only once; give one -")
    items: dict[str, Item] = {}
    notes: list[str] = []
    again = 0
    for name in names:
        if name == STDIN:
            found, told = _items(name, "", read_names("standard input", _piped(null, stdin)))
        elif _is_one_file(name):
            found, told = [_file(name)], []
        else:
            found, told = _items(name, _prefix(name), read_pool(place(name), remote=True))
        notes += told
        for item in found:
            # Of one that has no place, its name is all that is known.
            key = str(item.path) if item.path else f"\0{item.video}"
            again += key in items
            items.setdefault(key, item)
    if again:
        notes.append(f"{again} videos are named by more than one argument; each is scored once")
    if not any(item.path for item in items.values()):
        shown = [f"{item.video}: {item.reason}" for item in items.values()][:_SHOWN]
        reasons = "".join(f"\n  {for_terminal(text)}" for text in shown)
        raise ManifestError(
            f"nothing to score; none of the {len(items)} names is a video:{reasons}"
        )
    return list(items.values()), notes


def _piped(null: bool, stdin: Callable[[], bytes] | None) -> list[str]:
    """The names on standard input."""
    if stdin is None:
        if sys.stdin.isatty():
            sys.stderr.write("reading names of videos from the terminal; end with Ctrl-D\n")
        stdin = sys.stdin.buffer.read
    text = stdin()
    if not null and b"\0" in text:
        raise ConfigError("standard input holds NUL bytes: names of find -print0 need -0")
    names = text.split(b"\0") if null else [line.removesuffix(b"\r") for line in text.split(b"\n")]
    if not any(names):
        raise ManifestError("standard input: it has no names of videos")
    return [os.fsdecode(name) for name in names]


def _is_pattern(name: str) -> bool:
    """A file may have the letters of a pattern in its name; then it is that file."""
    return MAGIC.search(name) is not None and not os.path.exists(place(name))


def _is_one_file(name: str) -> bool:
    """Whether it is the name of one video here, by its suffix, and no folder or pattern."""
    path = place(name)
    known = path.suffix.lower() in VIDEO_SUFFIXES and not isinstance(path, RemotePath)
    return known and not _is_pattern(name) and not os.path.isdir(path)


def _file(name: str) -> Item:
    """One that is missing, or cannot be taken, is a row and stops no other."""
    reason = refusal(place(name), remote=True)
    return Item(escaped(name), None, reason) if reason else Item(name, place(name))


def _prefix(name: str) -> str:
    """What stands before the names of the videos that one argument gives."""
    path = place(name)
    if path.is_dir():
        return f"{name.rstrip('/')}/"
    if not isinstance(path, RemotePath) and _is_pattern(name):
        fixed = MAGIC.split(name, maxsplit=1)[0]
        return fixed[: fixed.rfind("/") + 1]
    return ""


def _items(name: str, prefix: str, pool: Manifest) -> tuple[list[Item], list[str]]:
    """The videos of one argument, in its order, and what is to be told of repeated ones."""
    alone = not (prefix or _is_pattern(name)) and Path(name).suffix.lower() in VIDEO_SUFFIXES
    found = [(row.line, Item(name if alone else prefix + row.video, row.path)) for row in pool.rows]
    for problem in pool.problems:
        if not problem.repeated:
            video = problem.video or f"{name}, line {problem.line}"
            found.append((problem.line, Item(prefix + video, None, problem.reason)))
    items = [item for _, item in sorted(found, key=lambda each: each[0])]
    repeated = [problem for problem in pool.problems if problem.repeated]
    told = [str(problem) for problem in repeated[:_SHOWN]]
    if len(repeated) > _SHOWN:
        told.append(f"{pool.path}: {len(repeated) - _SHOWN} more are listed twice; used once")
    return items, told
