"""Somebody's table of scores as a model that an evaluation can compare with bundles."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distill.bundle import Bundle
from distill.data.rows import Row
from distill.data.tables import TABLE_SUFFIXES, read_records
from distill.data.views.table_scores import TableScores
from distill.errors import ConfigError, ManifestError
from distill.model import Prediction, QualityModel

ROLE = "scores"  # in the place of teacher and student
_NAMES = ("filename", "video")  # of the column of names: challenges' files, score.py's
_VIEW = "scores"


class GivenScores(QualityModel):
    """Gives every video the score that a table has for it; no frame is decoded.

    Args:
        view: of the table, with one column.
    """

    def __init__(self, view: TableScores) -> None:
        super().__init__()
        self.views = {_VIEW: view}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Scores (B,) float64 of what the view says, the bytes (B, 1, 8) of a float64."""
        return Prediction(batch[_VIEW].contiguous().view(torch.float64).flatten())


def is_table(path: str | Path) -> bool:
    """Whether a path is a table's, not a bundle's."""
    return Path(path).suffix.lower() in TABLE_SUFFIXES and not Path(path).is_dir()


def on_scale(scores: Sequence[float], mos: Sequence[float]) -> bool:
    """Whether scores may be meant as MOS, by where most of them lie.

    Their median lies among the middle 90% of the MOS, so that 0 to 1 is none for 1 to 5; and the
    middle 90% of them lie no farther outside the range of the MOS than a quarter of it, so that 0
    to 100 is none. A model that errs widely on a few videos stays on the scale.

    Args:
        scores: (N,) of a table.
        mos: (N,) of the same videos.
    """
    least, below, above, most = np.quantile(mos, [0, 0.05, 0.95, 1])
    low, middle, high = np.quantile(scores, [0.05, 0.5, 0.95])
    room = (most - least) / 4
    return bool(below <= middle <= above and least - room <= low and high <= most + room)


def note_of(calibrated: bool, highest_srcc: float) -> str:
    """What to know before a table's numbers are believed.

    Args:
        calibrated: see ``on_scale``.
        highest_srcc: of its SRCC's interval, or its SRCC where there is none; nan: undefined.
    """
    parts = ["scores from a file, taken as they are; what they were made from is not known"]
    if not calibrated:
        parts.append("they are on a scale of their own, so only ranks and fitted numbers count")
    if highest_srcc < 0:
        parts.append("they fall where the MOS rises: if less is better there, change their signs")
    return "; ".join(parts)


def check_names(bundle: Bundle, rows: Iterable[Row]) -> None:
    """One name must not give its score to two videos, as ``0001`` would of two folders.

    Args:
        bundle: of ``given_scores``.
        rows: of all tables.

    Raises:
        ConfigError: it does; the text names both videos.
    """
    view = bundle.model.views[_VIEW]
    assert isinstance(view, TableScores)
    taken: dict[int, str] = {}
    for row in rows:
        try:
            line, _ = view.row_of(row.path)
        except ConfigError:  # told where the video is scored
            continue
        place = os.path.realpath(row.path)
        if taken.setdefault(line, place) != place:
            raise ConfigError(
                f"{bundle.folder}, line {line}: one name for two videos, {taken[line]} and {place};"
                " write names with their folders"
            )


def given_scores(path: Path) -> Bundle:
    """A table of scores in the place of a bundle.

    Nobody knows how the scores were made: they are taken as they are, without calibration, and
    cost nothing that could be told.

    Args:
        path: a CSV, TSV or Parquet file with a column ``score``, and ``filename`` or ``video``: the
            end of a video's path, with or without its suffix. What score.py writes is one.

    Raises:
        ConfigError: there is no such table or column, or it names a video twice.
        ManifestError: it cannot be read.
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; bundles= takes bundles and tables of scores")
    header = read_records(path, (*_NAMES, "score"), ())[0][1]
    if "score" not in header:
        raise ManifestError(
            f"{path}, line 1: no column `score` in {list(header)}; bundles= takes tables of scores,"
            " manifests= those of videos with their MOS"
        )
    name = next((name for name in _NAMES if name in header), None)
    if name is None:
        raise ConfigError(
            f"{path}, line 1: no column `{_NAMES[0]}` or `{_NAMES[1]}` in {list(header)}"
        )
    view = TableScores(str(path), ("score",), name)
    spec = {
        "role": ROLE,
        "fingerprint": view.sha256[:16],
        "sha256": view.sha256,
        "architecture": {"_target_": ROLE},
        "cost": {"gmacs": math.nan, "params_m": math.nan},
        "metrics": {},
        "provenance": {},
    }
    return Bundle(GivenScores(view).eval(), spec, path)
