"""Which pseudo-labelled videos are of a content that is held out: every version must stay out.

A video is found by its name, by its file's bytes or by its looks; where one version of a content
of the pool is found, the others go with it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.manifest import Row
from distill.data.perceptual import THRESHOLD, versions
from distill.labels import Label


@dataclass(frozen=True)
class Leak:
    """Why a video is kept out.

    Attributes:
        reason: one line.
        match: the held-out video, as its table writes it.
        distance: of their looks, in bits of 64; NaN where they were not compared.
    """

    reason: str
    match: str
    distance: float = math.nan


def find_leaks(
    labels: Sequence[Label],
    held_out: Sequence[Row],
    contents: Mapping[Path, str],
    signatures: Mapping[Path, np.ndarray],
    threshold: float = THRESHOLD,
) -> dict[int, Leak]:
    """Labels whose content is held out.

    Args:
        labels: of the pool.
        held_out: validation and test videos.
        contents: content hashes of held-out videos; without them bytes are not compared.
        signatures: of held-out videos and of the labels', see ``distill.data.perceptual``;
            videos without one are not compared by looks.
        threshold: largest distance of versions of one content, in bits of 64.

    Returns:
        Position in ``labels`` -> why; the surest reason that there is.
    """
    paths = {str(row.path): row for row in held_out}
    groups = {row.group: row for row in held_out if row.group}
    files = {contents[row.path]: row for row in held_out if contents.get(row.path)}
    found: dict[int, Leak] = {}
    for at, label in enumerate(labels):
        if row := paths.get(label.path):
            found[at] = Leak(f"it is a {_split(row)} video", row.video)
        elif row := files.get(label.content):
            found[at] = Leak(f"the same file as a {_split(row)} video", row.video)
        elif row := groups.get(label.group):
            found[at] = Leak(f"its content {row.group!r} is in {_split(row)}", row.video)
    found = _by_looks(labels, held_out, signatures, threshold, found) | found
    return _with_versions(labels, found) | found


def _by_looks(
    labels: Sequence[Label],
    held_out: Sequence[Row],
    signatures: Mapping[Path, np.ndarray],
    threshold: float,
    known: Mapping[int, Leak],
) -> dict[int, Leak]:
    asked = [at for at in range(len(labels)) if at not in known]
    places = [labels[at].place for at in asked]
    found = versions(places, [row.path for row in held_out], signatures, threshold)
    return {
        asked[at]: Leak(
            f"it looks like a {_split(held_out[like])} video", held_out[like].video, bits
        )
        for at, (like, bits) in found.items()
    }


def _with_versions(labels: Sequence[Label], found: Mapping[int, Leak]) -> dict[int, Leak]:
    """The other versions, in the pool, of contents of which one was found."""
    first: dict[str, int] = {}
    for at in sorted(found, key=lambda at: labels[at].path):
        first.setdefault(labels[at].group, at)
    others = {}
    for at, label in enumerate(labels):
        if at not in found and label.group and label.group in first:
            one = first[label.group]
            reason = f"a version of {labels[one].video}, of which: {found[one].reason}"
            others[at] = Leak(reason, found[one].match)
    return others


def _split(row: Row) -> str:
    """Without a val split, train contents are held out as one."""
    return row.split if row.split in ("val", "test") else "val"
