"""Somebody's table of scores as a model that an evaluation can compare with bundles."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from distill.bundle import Bundle
from distill.data.tables import TABLE_SUFFIXES, read_records
from distill.data.views.table_scores import TableScores
from distill.errors import ConfigError
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
    """Whether scores may be meant as MOS: none lies farther outside their range than a quarter.

    Args:
        scores: (N,) of a table.
        mos: (N,) of the same videos.
    """
    least, most = min(mos), max(mos)
    room = (most - least) / 4
    return least - room <= min(scores) and max(scores) <= most + room


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
    header = read_records(path, (*_NAMES, "score"), ("score",))[0][1]
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
