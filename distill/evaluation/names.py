"""Short unique names of folders and tables, for columns and sentences that people read."""

import re
from collections.abc import Sequence
from pathlib import Path

from distill.errors import ConfigError

_DATE = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?")  # of a run: tells nobody what it is
_SAY_NOTHING = {"bundle", "manifest", "videos", "labels"}  # as the last part, without suffix


def short_names(paths: Sequence[Path], option: str) -> list[str]:
    """The shortest parts of paths that tell them apart.

    Of ``runs/train_student/a/bundle`` and ``runs/train_teacher/a/bundle`` these are
    ``train_student`` and ``train_teacher``; of ``real/manifest.csv`` alone it is ``real``.

    Args:
        paths: absolute, one or more; of tables without their suffix.
        option: for the message.

    Returns:
        As many names, all different and none empty.

    Raises:
        ConfigError: a path is there twice.
    """
    twice = next((path for at, path in enumerate(paths) if path in paths[:at]), None)
    if twice is not None:
        raise ConfigError(f"{option}: {twice} is given twice; give each one once")
    parts = [_telling(path) for path in paths]
    undated = [[part for part in own if not _DATE.fullmatch(part)] for own in parts]
    if len({tuple(own) for own in undated}) == len(parts) and all(undated):
        parts = undated
    if len({tuple(part) for part in parts}) < len(parts):
        parts = [list(path.parts) for path in paths]
    longest = max(len(part) for part in parts)
    for count in range(1, longest + 1):
        tails = [["", *part][-count:] for part in parts]
        columns = list(zip(*([""] * (count - len(tail)) + tail for tail in tails), strict=True))
        # A part that all have at the same place says nothing, unless it is all there is.
        kept = [column for column in columns if len(set(column)) > 1] or columns[-1:]
        names = ["/".join(part for part in name if part) for name in zip(*kept, strict=True)]
        if len(set(names)) == len(names) and all(names):
            return names
    return [str(path) for path in paths]


def _telling(path: Path) -> list[str]:
    """Parts of a path without a last one that any path could have."""
    parts = list(path.parts)
    return parts[:-1] if len(parts) > 2 and parts[-1].lower() in _SAY_NOTHING else parts
