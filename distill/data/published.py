"""What an adapter of a public data set is made of: published facts, records, label files.

An adapter is a module of ``distill/datasets`` with ``PUBLISHED``, the facts, and
``read(source, **options)``, which reads label files into records. ``distill.data.adapters`` does
everything else.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from distill.data.locate import files_below
from distill.data.tables import parse_number
from distill.errors import ManifestError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """What is published of a data set.

    Attributes:
        title: for messages.
        sizes: part -> lowest and highest published number of its labels.
        scores: lowest and highest MOS that the set can hold.
        key, folders: how its videos are found, see ``Finder``.
    """

    title: str
    sizes: Mapping[str, tuple[int, int]]
    scores: tuple[float, float]
    key: Callable[[str], str] = str
    folders: str = ""


@dataclass(frozen=True)
class Record:
    """One row of a label file.

    Attributes:
        file, line: where it stands.
        video: name, with ``/`` between folders; the suffix may be absent.
        mos, mos_std: NaN where there is none.
        part: which of the published parts it belongs to.
        split: official split; '' where the set has none.
        group: source content; '' is the video itself.
        why: reason for a missing mos.
        extra: other columns worth keeping.
    """

    file: Path
    line: int
    video: str
    mos: float = math.nan
    mos_std: float = math.nan
    part: str = "all"
    split: str = ""
    group: str = ""
    why: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The group, from the labels alone: where the video lies must not change its split."""
        return self.group or self.video


def label_files(source: Path, patterns: Sequence[str], title: str) -> list[Path]:
    """The label files that a data set comes with.

    Args:
        source: a file, which is taken whatever its name, or a folder with its sub-folders, linked
            ones too.
        patterns: of file names, in any case.
        title: of the data set, for messages.

    Returns:
        A file for each pattern that matches, in the order of the patterns.

    Raises:
        ManifestError: no such folder, no such file in it, or two for one pattern.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ManifestError(f"data.labels={source}: no such file or folder")
    found: dict[str, Path] = {}
    kinds = {Path(pattern).suffix.lower() for pattern in patterns}
    files = sorted(source / path for path in files_below(source, kinds))
    for pattern in patterns:
        for path in files:
            if not path.is_file() or not fnmatch(path.name.lower(), pattern.lower()):
                continue
            first = found.setdefault(pattern, path)
            if first != path and first.read_bytes() != path.read_bytes():
                raise ManifestError(
                    f"{title}: two label files, {first} and {path}; name one: data.labels=FILE"
                )
    if not found:
        raise ManifestError(
            f"{source}: no labels of {title}; looked for {', '.join(patterns)} there and in its"
            " sub-folders; set data.labels=FOLDER_OR_FILE"
        )
    return list(dict.fromkeys(found.values()))


def first_label_file(source: Path, patterns: Sequence[str], title: str) -> Path:
    """The first of ``label_files``, for sets whose files repeat each other; the others are told.

    Raises:
        ManifestError: see ``label_files``.
    """
    first, *others = label_files(source, patterns, title)
    if others:
        names = ", ".join(path.name for path in others)
        log.info("%s: labels from %s; not read: %s", title, first.name, names)
    return first


def number(path: Path, line: int, text: str, option: str = "mos") -> float:
    """A finite number, or NaN for an empty cell.

    Raises:
        ManifestError: it is something else; labels are published, so a bad one is a wrong file.
    """
    try:
        value = parse_number(text) if text.strip() else math.nan
    except ValueError as error:
        raise ManifestError(f"{path}, line {line}: {option} {text!r} is not a number") from error
    if text.strip() and not math.isfinite(value):
        raise ManifestError(f"{path}, line {line}: {option} {text!r} is not a finite number")
    return value
