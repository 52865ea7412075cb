"""What a report is about: one model on one table of videos, its scores and its predictions."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.evaluation.names import short_names
from distill.evaluation.predictions import HEADER
from distill.logistic import fit_logistic4
from distill.report.text import is_number, number
from distill.resampling import interval_over_contents
from distill.runs import PREDICTIONS

SPLITS = {"val": "validation", "test": "test", "train": "training"}


@dataclass(frozen=True)
class Video:
    """A row of ``distill.evaluation.predictions``; missing numbers are NaN."""

    video: str
    path: str
    group: str
    mos: float
    score: float
    spread: float = math.nan
    frame_scores: tuple[float, ...] = ()
    duration: float = math.nan
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def residual(self) -> float:
        """Score minus MOS."""
        return self.score - self.mos


@dataclass
class Subject:
    """One model on one table.

    Attributes:
        name: of the model.
        table: short name of the table.
        split: of the table.
        row: the scores, by the names of an evaluation's ``rows``.
        videos: predictions; empty in folders of older versions.
        picture: scatter that such a folder has instead; None without.
    """

    name: str
    table: str
    split: str
    row: dict[str, Any]
    videos: list[Video] = field(default_factory=list)
    picture: Path | None = None

    @property
    def where(self) -> str:
        """Table and split, in words."""
        words = SPLITS.get(self.split, self.split)
        return f"{self.table}, {words}" if self.table else words

    @property
    def mos(self) -> np.ndarray:
        """(N,)."""
        return np.array([video.mos for video in self.videos])

    @property
    def scores(self) -> np.ndarray:
        """(N,)."""
        return np.array([video.score for video in self.videos])

    @property
    def groups(self) -> list[str]:
        """Source content of each video; the video itself where none is known."""
        return [video.group or video.video for video in self.videos]


def evaluated(path: Path, result: dict[str, Any]) -> list[Subject]:
    """The models and tables of an evaluation.

    Scores that are on no MOS scale are taken after the logistic that is fitted to these very
    videos: plots and errors would show nothing but the scale.
    """
    found = []
    rows = result.get("rows") or []
    bundles = list(dict.fromkeys(Path(str(row.get("bundle", ""))) for row in rows))
    # Evaluations have had names since they compare every pair.
    names = dict(zip(bundles, short_names(bundles, "bundles"), strict=True)) if bundles else {}
    for number_, row in enumerate(rows, 1):
        file = path / Path(str(row.get("predictions") or PREDICTIONS.format(number_))).name
        table = Path(str(row.get("table", "")))
        picture = path / "plots" / Path(str(row.get("plot") or "none")).name
        found.append(
            Subject(
                name=str(row.get("name") or names[Path(str(row.get("bundle", "")))]),
                table=str(row.get("table_name") or table.parent.name or table.stem),
                split=str(row.get("split", "")),
                row=row,
                videos=_fitted(read_videos(file)) if off_scale(row) else read_videos(file),
                picture=picture if picture.is_file() else None,
            )
        )
    return found


def off_scale(row: dict[str, Any]) -> bool:
    """Whether the scores of a row are on no MOS scale."""
    return row.get("calibrated") is False


def _fitted(videos: list[Video]) -> list[Video]:
    if not videos:
        return []
    curve = fit_logistic4([v.score for v in videos], [v.mos for v in videos])
    return [
        replace(
            video,
            score=float(curve(video.score)),
            frame_scores=tuple(curve(np.array(video.frame_scores)).tolist()),
        )
        for video in videos
    ]


def trained(path: Path, role: str, result: dict[str, Any], spec: dict[str, Any]) -> list[Subject]:
    """What a training measured: validation, and the test split where it has one.

    Args:
        path: of the run.
        role: teacher or student.
        result: of the run.
        spec: of its bundle.
    """
    found = []
    cost = {name: result.get(name) for name in ("gmacs", "params_m")}
    data = (spec.get("provenance") or {}).get("data")
    table = Path(str(data)).parent.name if data else ""
    for split in ("test", "val"):  # what the training never saw comes first
        measured = result.get(split) or {}
        row = {key.removeprefix(f"{split} "): value for key, value in measured.items()}
        row |= {"low": row.get("srcc low"), "high": row.get("srcc high"), **cost}
        picture = path / "plots" / f"{split}_scatter.png"
        videos = read_videos(path / PREDICTIONS.format(split))
        if measured or videos:
            row["contents"] = len({video.group for video in videos}) or None
            shown_ = picture if picture.is_file() else None
            subject = Subject(role, table, split, row, videos, shown_)
            if not is_number(row["low"]) and len(videos) > 2:
                ends = interval_over_contents(subject.scores, subject.mos, subject.groups)
                row |= {"low": ends.low, "high": ends.high}
            found.append(subject)
    return found


def read_videos(path: Path) -> list[Video]:
    """Rows of a table of predictions that have a score and a MOS; none where there is no table."""
    if not path.is_file():
        return []
    videos = []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            mos, score = number(row.get("mos")), number(row.get("score"))
            if not (math.isfinite(mos) and math.isfinite(score)):
                continue
            frames = [number(word) for word in (row.get("frame_scores") or "").split()]
            videos.append(
                Video(
                    video=row.get("video") or "",
                    path=row.get("path") or "",
                    group=row.get("group") or "",
                    mos=mos,
                    score=score,
                    spread=number(row.get("spread")),
                    frame_scores=tuple(value for value in frames if math.isfinite(value)),
                    duration=number(row.get("duration")),
                    extra={k: v for k, v in row.items() if k and k not in HEADER and v},
                )
            )
    return videos


def by_place(videos: Sequence[Video]) -> dict[str, Video]:
    """Videos by where they are: what two tables of the same videos have in common."""
    return {video.path or video.video: video for video in videos}


def shown(row: dict[str, Any], *names: str) -> float:
    """The first of these numbers that a row has; NaN without."""
    return next((float(row[name]) for name in names if is_number(row.get(name))), math.nan)
