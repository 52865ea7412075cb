"""Rows of the one table, their splits and their contents; no file is read here."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from distill.data.identity import seed_of
from distill.errors import ManifestError

SPLITS = ("train", "val", "test", "pool")


@dataclass(frozen=True)
class Row:
    """One video.

    Attributes:
        video: as the table writes it.
        path: where it is.
        mos: mean opinion score; NaN where unknown.
        mos_std: standard deviation of the opinions; NaN where unknown.
        split: one of ``train``, ``val``, ``test``, ``pool`` (unlabelled).
        group: source content; splits never cut a group.
        line: line of the table, 1 is the header; 0 where there is no table.
        extra: the table's other columns.
    """

    video: str
    path: Path
    mos: float = math.nan
    mos_std: float = math.nan
    split: str = "pool"
    group: str = ""
    line: int = 0
    extra: dict[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Problem:
    """A row that is not used, and why.

    Attributes:
        file, line: where it stands; line 0 where there is no table.
        video: as the table writes it.
        reason: one line.
        repeated: an earlier row has the same video, so that nothing is lost.
    """

    file: str
    line: int
    video: str
    reason: str
    repeated: bool = False

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}: {self.video!r}: {self.reason}"


@dataclass
class Manifest:
    """The sound rows of a table, and the problems of the others.

    Attributes:
        path: of the table.
        rows: those that can be used.
        problems: of the others.
        contents_known: whether the table says which videos share a source content; else every
            video counts as a content of its own.
        columns: of the table, by the names that it is read with; empty where it is no table.
        split_made_up: whether ``split_by_group`` drew train, val and test, because nobody gave a
            split.
    """

    path: Path
    rows: list[Row]
    problems: list[Problem] = field(default_factory=list)
    contents_known: bool = True
    columns: Sequence[str] = ()
    split_made_up: bool = False

    def split(self, name: str) -> list[Row]:
        """Rows of one split, in the table's order."""
        return [row for row in self.rows if row.split == name]

    @property
    def labels(self) -> str:
        """``vmaf`` where each is ``mos_of_vmaf`` of the row's column ``vmaf``; else ``mos``.

        make_ladder.py writes such tables: nobody has given an opinion on their videos.
        """
        labelled = [row for row in self.rows if math.isfinite(row.mos)]
        computed = bool(labelled) and all(map(_is_vmaf, labelled))
        return "vmaf" if computed else "mos"

    def hide_labels(self, keep_groups: int) -> "Manifest":
        """Keep the labels of the first ``keep_groups`` train contents (sorted by name).

        The other train rows move to the pool without their scores: the usual way to measure
        what pseudo-labels are worth.

        Raises:
            ManifestError: fewer train contents than that.
        """
        groups = sorted({row.group for row in self.split("train")})
        if not 1 <= keep_groups <= len(groups):
            raise ManifestError(
                f"{self.path}: data.labelled_groups={keep_groups}, but the train split has"
                f" {len(groups)} contents; give a number from 1 to {len(groups)}"
            )
        hidden = set(groups[keep_groups:])
        rows = [
            replace(row, split="pool", mos=math.nan, mos_std=math.nan)
            if row.split == "train" and row.group in hidden
            else row
            for row in self.rows
        ]
        return replace(self, rows=rows)

    def as_split(self, name: str) -> "Manifest":
        """Put every labelled video into one split, as a test on a whole data set needs it.

        Unlabelled videos of the same contents are left out where the split is held out.

        Raises:
            ManifestError: no video has a label.
        """
        groups = {row.group for row in self.rows if row.split != "pool"}
        if not groups:
            raise ManifestError(f"{self.path}: data.as_split={name}, but no video has a mos")
        rows, problems = [], list(self.problems)
        for row in self.rows:
            if row.split != "pool":
                rows.append(replace(row, split=name))
            elif name == "train" or row.group not in groups:
                rows.append(row)
            else:
                problems.append(_held_out(self.path, row, name))
        return replace(self, rows=rows, problems=problems, split_made_up=False)


def mos_of_vmaf(vmaf: float) -> float:
    """The label that stands for a VMAF of 0 to 100 on the MOS scale, 1 to 5."""
    return 1 + 4 * vmaf / 100


def _is_vmaf(row: Row) -> bool:
    try:
        return abs(row.mos - mos_of_vmaf(float(row.extra.get("vmaf", "")))) < 1e-3
    except ValueError:
        return False


def split_by_group(manifest: Manifest, labelled: Iterable[str]) -> Manifest:
    """70/15/15 of the labelled groups; at least one group each where there are three.

    Unlabelled videos of a content that is held out are left out: a teacher's labels for them
    would tell the student of its test.

    Args:
        manifest: its rows are those whose videos are there.
        labelled: every group that the table has a score for, its videos there or not: a video
            that is added or lost must not move another one from train to test.
    """
    groups = sorted(set(labelled), key=lambda group: seed_of(group))
    held_out = max(1, round(0.15 * len(groups))) if len(groups) >= 3 else 0
    names = dict.fromkeys(groups[:held_out], "val") | dict.fromkeys(
        groups[held_out : 2 * held_out], "test"
    )
    rows, problems = [], list(manifest.problems)
    for row in manifest.rows:
        split = names.get(row.group, "train")
        if row.split != "pool":
            rows.append(replace(row, split=split))
        elif split == "train":
            rows.append(row)
        else:
            problems.append(_held_out(manifest.path, row, split))
    return replace(manifest, rows=rows, problems=problems, split_made_up=True)


def _held_out(path: Path, row: Row, split: str) -> Problem:
    reason = f"it has no mos, and its group {row.group!r} is held out for {split}"
    return Problem(str(path), row.line, row.video, reason)


def check_groups(path: Path, rows: list[Row]) -> None:
    """One content in two splits would let a model be tested on what it learned from.

    Raises:
        ManifestError: there is one.
    """
    lines: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        lines[row.group].setdefault(row.split, row.line)
    for group, where in lines.items():
        # A content may have labelled and unlabelled training videos; nothing else may be shared.
        if len(where.keys() - {"pool"}) > 1 or ("pool" in where and where.keys() & {"val", "test"}):
            at = ", ".join(f"{split} (line {line})" for split, line in where.items())
            raise ManifestError(
                f"{path}: group {group!r} is in more than one split: {at}; "
                "all versions of one content belong in one split"
            )
