"""How well predictions agree with MOS: correlations, the logistic fit, intervals, the KVQ score.

Functions take 1-d array-likes and return floats. Lengths that differ, other shapes and values that
are not finite are a ValueError; a correlation with a constant, or of one row, is nan.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from distill.columns import group_codes, paired
from distill.logistic import Logistic4, calibrate, fit_logistic4
from distill.resampling import Interval, difference_over_contents, interval_over_contents
from distill.weighted_statistics import (
    PAIR_GAP,
    group_pairs,
    krcc_rows,
    ntire2023_rows,
    plcc_rows,
    rmse_rows,
    srcc_rows,
)

__all__ = [
    "CorrelationMetric",
    "Interval",
    "KvqScore",
    "Logistic4",
    "Scores",
    "calibrate",
    "difference_over_contents",
    "evaluate",
    "fit_logistic4",
    "interval_over_contents",
    "krcc",
    "kvq_score",
    "ntire2023",
    "pair_accuracy",
    "plcc",
    "rmse",
    "srcc",
]


def srcc(pred: Any, mos: Any) -> float:
    """Spearman rank correlation, ties by average rank."""
    return _once(srcc_rows, pred, mos)


def krcc(pred: Any, mos: Any) -> float:
    """Kendall rank correlation, tau-b."""
    return _once(krcc_rows, pred, mos)


def plcc(pred: Any, mos: Any) -> float:
    """Pearson linear correlation, without a fit."""
    return _once(plcc_rows, pred, mos)


def rmse(pred: Any, mos: Any) -> float:
    """Root of the mean squared error, in units of the MOS."""
    return _once(rmse_rows, pred, mos)


def ntire2023(pred: Any, mos: Any) -> float:
    """Main score of the NTIRE 2023 challenge on enhanced videos: the mean of SRCC and PLCC.

    PLCC is taken after a least-squares cubic, which may fall as well as rise, so that it is never
    negative; SRCC keeps its sign.

    Source: the mean is in the code of the challenge's second place (k-zha14/Zoom-VQA,
        IQA/utils_single.py, which takes PLCC without a fit). The cubic is what we know of the
        challenge's own scorer at second hand; its report (Liu et al., CVPRW 2023) was not at hand.
    """
    return _once(ntire2023_rows, pred, mos)


def pair_accuracy(pred: Any, mos: Any, groups: Any, min_gap: float = PAIR_GAP) -> float:
    """Share of pairs of one group that are predicted in the order of their labels.

    Args:
        pred, mos: (N,).
        groups: (N,) source content of each row.
        min_gap: pairs whose labels differ by no more are left out. A tied prediction counts 1/2.

    Returns:
        In [0, 1]; nan where no pair is left.
    """
    x, y = paired(pred, mos)
    right, pairs = group_pairs(x, y, group_codes(groups, len(x)), min_gap)
    return float(right.sum() / pairs.sum()) if pairs.sum() else float("nan")


@dataclass(frozen=True)
class Scores:
    """Agreement of predictions with MOS on one data set.

    Attributes:
        srcc, krcc, plcc: of the predictions as they are.
        plcc_fitted, rmse: after ``fit_logistic4`` on these very rows.
        rmse_raw: of the predictions as they are.
        n: rows.
        pair_accuracy: see ``pair_accuracy``; nan without groups.
    """

    srcc: float
    krcc: float
    plcc: float
    plcc_fitted: float
    rmse: float
    rmse_raw: float
    n: int
    pair_accuracy: float


def evaluate(pred: Any, mos: Any, groups: Any = None) -> Scores:
    """All scores at once.

    Args:
        pred, mos: (N,).
        groups: (N,) source contents, or None.
    """
    x, y = paired(pred, mos)
    fitted = fit_logistic4(x, y)(x)
    return Scores(
        srcc=srcc(x, y),
        krcc=krcc(x, y),
        plcc=plcc(x, y),
        plcc_fitted=plcc(fitted, y),
        rmse=rmse(fitted, y),
        rmse_raw=rmse(x, y),
        n=len(x),
        pair_accuracy=float("nan") if groups is None else pair_accuracy(x, y, groups),
    )


@dataclass(frozen=True)
class KvqScore:
    """The KVQ challenge's figures.

    Attributes:
        srcc, plcc: of the scores as submitted, without a fit.
        acc_nonsource: accuracy on the ranked pairs of different contents.
        acc_source: accuracy on the ranked pairs of the same content.
    """

    srcc: float
    plcc: float
    acc_nonsource: float
    acc_source: float

    @property
    def score(self) -> float:
        """The number that the leaderboard is sorted by."""
        return kvq_weighted(self.srcc, self.plcc, self.acc_nonsource, self.acc_source)


def kvq_weighted(srcc: Any, plcc: Any, acc_nonsource: Any, acc_source: Any) -> Any:
    """The KVQ challenge's score from its four parts: numbers, or arrays of one shape."""
    return 0.45 * srcc + 0.45 * plcc + (0.05 * acc_nonsource + 0.05 * acc_source)


def kvq_score(pred: Any, mos: Any, pairs_source: Any, pairs_nonsource: Any) -> KvqScore:
    """The KVQ challenge's official score.

    Args:
        pred, mos: (N,).
        pairs_source: rows (first, second, rank) of videos of the same content: two row numbers
            into ``pred``, and 1 where the first is better, 2 where the second is.
        pairs_nonsource: the same for videos of different contents.

    Raises:
        ValueError: a table of pairs is empty, or names a row or rank that does not exist.

    Source: the challenge's ``metric_score.py``. Equal predictions count as rank 1.
    """
    x, y = paired(pred, mos)
    accuracy = []
    for name, table in (("pairs_nonsource", pairs_nonsource), ("pairs_source", pairs_source)):
        rows = np.asarray(table)
        if rows.ndim != 2 or rows.shape[1] != 3 or not len(rows):
            raise ValueError(f"{name} must be rows of (first, second, rank), got {rows.shape}")
        first, second, rank = rows.T.astype(np.int64)
        wrong = (np.minimum(first, second) < 0) | (np.maximum(first, second) >= len(x))
        wrong |= (rank != 1) & (rank != 2)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{name} row {row} is {rows[row].tolist()}: videos must be row numbers below "
                f"{len(x)} and the rank 1 or 2"
            )
        accuracy.append(float(np.mean(np.where(x[first] >= x[second], 1, 2) == rank)))
    return KvqScore(srcc(x, y), plcc(x, y), *accuracy)


class CorrelationMetric(Metric):
    """SRCC and PLCC of everything seen, over all ranks.

    ``compute`` gives ``{"srcc", "plcc"}``: nan while nothing was seen or a prediction is not
    finite, so that a diverged run does not die in the middle of validation.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    pred: list[Tensor]
    mos: list[Tensor]
    row: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("pred", "mos", "row"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, pred: Tensor, mos: Tensor, row: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            pred, mos: (B,).
            row: (B,) row numbers in the data set, below 2**24. A row that comes again is left
                out: distributed samplers repeat rows to fill the last batch.
        """
        row = torch.full_like(pred, -1) if row is None else row
        if not pred.dim() == 1 or not pred.shape == mos.shape == row.shape:
            raise ValueError(
                f"pred, mos and row must be (B,) of one length, got {tuple(pred.shape)}, "
                f"{tuple(mos.shape)} and {tuple(row.shape)}"
            )
        # All float32: torchmetrics gathers float32 from a rank that has seen nothing.
        self.pred.append(pred.detach().float())
        self.mos.append(mos.detach().float())
        self.row.append(row.detach().float())

    def compute(self) -> dict[str, Tensor]:
        """The correlations as scalars on the metric's device."""
        states = (self.pred, self.mos, self.row)
        # A list of batches, or nothing yet, or one tensor where ranks were gathered.
        columns = [dim_zero_cat(x) if len(x) else torch.zeros(0) for x in states]
        pred, mos, row = (column.cpu().numpy() for column in columns)
        first = np.unique(row, return_index=True)[1]
        keep = (row < 0) | np.isin(np.arange(len(row)), first)
        pred, mos = pred[keep], mos[keep]
        defined = len(pred) > 0 and bool(np.isfinite(pred).all())
        values = (srcc(pred, mos), plcc(pred, mos)) if defined else (float("nan"), float("nan"))
        both = torch.tensor(values, device=self.device)
        return {"srcc": both[0], "plcc": both[1]}


def _once(rows: Callable[..., np.ndarray], pred: Any, mos: Any) -> float:
    x, y = paired(pred, mos)
    return float(rows(x, y, np.ones((1, len(x))))[0])
