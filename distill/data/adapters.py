"""Public data sets as manifests: records of an adapter, checked, and the videos they name."""

import importlib
import inspect
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from distill.checks import unknown_option
from distill.data.locate import NOT_THERE, Finder
from distill.data.published import Published, Record
from distill.data.rows import SPLITS, Manifest, Problem, Row, check_groups, split_by_group
from distill.errors import ConfigError, ManifestError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Size:
    """How many rows of a part there are, and how many were published."""

    part: str
    rows: int
    unscored: int
    low: int
    high: int

    @property
    def agrees(self) -> bool:
        """Whether the number of rows is a published one."""
        return self.low <= self.rows <= self.high

    def __str__(self) -> str:
        published = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
        unscored = f", {self.unscored} of them without a score" if self.unscored else ""
        return f"{self.part}: {self.rows} rows{unscored}, published {published}"


def read_published(
    adapter: str, root: Path, labels: Path | None = None, options: Mapping[str, Any] | None = None
) -> Manifest:
    """A data set's manifest.

    Args:
        adapter: module of ``distill/datasets``.
        root: folder that the videos lie in, in any sub-folders.
        labels: a label file, or a folder that label files are searched in; None is ``root``.
        options: the adapter's own.

    Returns:
        Its rows with a video; missing videos and rows without a score are problems.

    Raises:
        ConfigError: no such adapter or option.
        ManifestError: no label file, a score out of range, one video with two scores, or none
            of the videos.
    """
    module, source = find_adapter(adapter), labels or root
    records, problems = read_labels(module, source, options or {})
    for size in sizes(module.PUBLISHED, records):
        if not size.agrees:
            log.warning("%s, %s", module.PUBLISHED.title, size)
    return place(module.PUBLISHED, source, records, problems, root)


def place(
    published: Published,
    source: Path,
    records: Sequence[Record],
    problems: Sequence[Problem],
    root: Path,
) -> Manifest:
    """The manifest of records whose videos lie below a folder.

    Args:
        published: facts of the data set.
        source: of the records, for messages.
        records, problems: of ``read_labels``.
        root: folder that the videos lie in.

    Raises:
        ManifestError: none of the videos, or two rows for one of them.
    """
    if not root.is_dir():
        raise ManifestError(f"data.root={root}: no such folder")
    names = [record.video for record in records]
    finder = Finder(root, names, published.key, published.folders)
    rows: list[Row] = []
    problems = list(problems)
    for record in records:
        unlabelled = math.isnan(record.mos)
        if unlabelled and record.split in ("val", "test"):
            reason = record.why or "it has no published score"
            problems.append(_problem(record, f"{reason}; held out, so not in the pool either"))
            continue
        video, reason = finder.find(record.video)
        if reason:
            problems.append(_problem(record, reason))
            continue
        rows.append(
            Row(
                video, root / video, record.mos, math.nan if unlabelled else record.mos_std,
                "pool" if unlabelled else record.split or "train", record.content,
                record.line, {"name": record.video, **record.extra},
            )
        )  # fmt: skip
    if not rows:
        raise ManifestError(_none_found(published, root, source, records, finder, problems))
    if finder.moved:
        name, video = finder.moved[0]
        log.info(
            "%s: %d videos are in other folders than the labels say; for example, %s is taken"
            " for %s", published.title, len(finder.moved), video, name,
        )  # fmt: skip
    manifest = Manifest(source, rows, problems)
    if not any(record.split for record in records):
        labelled = (record.content for record in records if not math.isnan(record.mos))
        manifest = split_by_group(manifest, labelled)
    check_groups(source, manifest.rows)
    return manifest


def find_adapter(name: str) -> ModuleType:
    """The adapter of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        if not name.isidentifier():
            raise ImportError("not a name")
        module = importlib.import_module(f"distill.datasets.{name}")
        if not isinstance(module.PUBLISHED, Published):
            raise AttributeError("PUBLISHED")
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"data.adapter={name}: no adapter in distill/datasets") from error
    return module


def read_labels(
    module: ModuleType, source: Path, options: Mapping[str, Any]
) -> tuple[list[Record], list[Problem]]:
    """An adapter's records, each video once, and the problems of the others.

    Raises:
        ConfigError: the adapter has no such option.
        ManifestError: see ``read_published``.
    """
    known = list(inspect.signature(module.read).parameters)[1:]
    for name in options:
        if name not in known:
            raise ConfigError(
                unknown_option(f"data.options.{name}", [f"data.options.{k}" for k in known])
                if known
                else f"data.options.{name}: {module.PUBLISHED.title} has no options"
            )
    records: dict[str, Record] = {}
    problems: list[Problem] = []
    for record in module.read(source, **options):
        _check(module.PUBLISHED, record)
        first = records.setdefault(record.video, record)
        if first is record:
            continue
        if math.isnan(first.mos) and not math.isnan(record.mos) and first.split == record.split:
            records[record.video] = record
        elif not math.isnan(record.mos) and abs(first.mos - record.mos) > 1e-6:
            raise ManifestError(
                f"{record.file}, line {record.line}: {record.video!r} has mos {record.mos:g},"
                f" but {first.mos:g} in {first.file}, line {first.line}; remove the wrong one"
            )
        elif first.split != record.split:
            raise ManifestError(
                f"{record.file}, line {record.line}: {record.video!r} is in split"
                f" {record.split!r}, but in {first.split!r} in {first.file}, line {first.line}"
            )
        elif first.file == record.file:
            problems.append(_problem(record, f"the same row as line {first.line}; used once"))
    return list(records.values()), problems


def sizes(published: Published, records: Sequence[Record]) -> list[Size]:
    """Rows by part; a part of which there is nothing is not there."""
    rows = Counter(record.part for record in records)
    unscored = Counter(record.part for record in records if math.isnan(record.mos))
    return [
        Size(part, rows[part], unscored[part], *published.sizes[part])
        for part in published.sizes
        if rows[part]
    ]


def _check(published: Published, record: Record) -> None:
    where = f"{record.file}, line {record.line}: {record.video!r}"
    low, high = published.scores
    if not math.isnan(record.mos) and not low <= record.mos <= high:
        raise ManifestError(
            f"{where}: mos {record.mos:g}, but those of {published.title} lie between {low:g}"
            f" and {high:g}; is this its label file? If your scale differs, use data=manifest"
        )
    if record.mos_std < 0:
        raise ManifestError(f"{where}: mos_std {record.mos_std:g} is negative")
    if record.split and record.split not in SPLITS:
        raise ManifestError(f"{where}: unknown split {record.split!r}")


def _problem(record: Record, reason: str) -> Problem:
    return Problem(str(record.file), record.line, record.video, reason)


def _none_found(
    published: Published,
    root: Path,
    source: Path,
    records: Sequence[Record],
    finder: Finder,
    problems: Sequence[Problem],
) -> str:
    wanted = [r for r in records if not (math.isnan(r.mos) and r.split in ("val", "test"))]
    if not wanted:
        return f"{source}: none of the {len(records)} rows has a score; {problems[-1].reason}"
    name = PurePosixPath(wanted[0].video)
    reasons = {problem.video: problem.reason for problem in problems}
    other = [r.video for r in wanted if not reasons[r.video].startswith(NOT_THERE)]
    if other:
        return (
            f"{root}: none of {published.title}'s {len(wanted)} videos can be used; for example"
            f" {other[0]!r}: {reasons[other[0]]}"
        )
    there = next((str(v) for videos in finder.videos.values() for v in videos), "")
    seen = f"it has {finder.count} videos, for example {there}" if there else "it has no video"
    return (
        f"{root}: none of {published.title}'s {len(wanted)} videos is there; tried for example"
        f" {root / name} and {root}/**/{name.name}; {seen}; set data.root=FOLDER to where they"
        f" are (labels: {source})"
    )
