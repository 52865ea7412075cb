"""Intervals of a statistic over source contents: by a jackknife, or by a bootstrap.

Rows of one content are not independent, so whole contents (groups) are left out or resampled;
treating rows as independent would promise too much.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.columns import group_codes, paired
from distill.jackknife import ERRORS, jackknife_ends, paired_ends
from distill.weighted_statistics import Statistic, check_statistic, statistic_of_groups

METHODS = ("jackknife", "percentile")
FEW_CONTENTS = 10
"""Fewest contents at which the jackknife's 95% intervals of SRCC, PLCC and their differences hold.

Lowest share, in %, of 2000 simulated intervals that held the true value, over six pairs of models
with SRCC 0.75 to 0.93 (``benchmarks/coverage.py --draws 2``). A content of 7 versions holds with
fewer, but its interval is then up to 0.9 wide.

| contents | SRCC | its difference | PLCC | its difference | one video each: SRCC, its difference |
|---|---|---|---|---|---|
| 5 | 94.8 | 94.7 | 94.6 | 94.3 | 99.3, 80.8 |
| 8 | 95.4 | 95.2 | 94.2 | 95.2 | 98.0, 97.0 |
| 10 | 95.2 | 95.1 | 94.0 | 94.2 | 97.5, 98.2 |
| 12 | 95.1 | 95.2 | 93.8 | 94.5 | 96.9, 97.5 |
| 16 | 95.5 | 94.9 | 95.2 | 94.8 | |
| 60 | 94.5 | 94.3 | 94.7 | 94.8 | |
"""
FEW_FOR_ERRORS = 20
"""The same of RMSE. Lowest shares, in %, over three models (docs/evaluation.md):

| contents of 7 | RMSE | after the fit |
|---|---|---|
| 10 | 91.8 | |
| 16 | 93.3 | 92.4 |
| 20 | 94.1 | 94.4 |
"""
BLOCKS = 200  # more groups than that are left out in so many blocks, which bounds the time
_CELLS = 2_000_000  # of (resamples, rows) held at once: 16 MB per float64 array


@dataclass(frozen=True)
class Interval:
    """An interval over groups; its ends are nan where there is none, as with fewer than 2 groups.

    Attributes:
        low, high: ends.
        estimate: the statistic of all rows.
        n_groups: G.
        needed: fewest groups at which it holds as often as it says.
    """

    low: float
    high: float
    estimate: float
    n_groups: int
    needed: int = FEW_CONTENTS

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def warning(self) -> str:
        """Why there are no ends, or why not to trust them; empty where there is no reason."""
        count = self.n_groups
        if count < 2:
            return "no interval: only 1 content"
        if math.isnan(self.low):
            return (
                f"no interval: with one of the {count} contents left out, the statistic stays as it"
                " is or is undefined"
            )
        if count < self.needed:
            return (
                f"only {count} contents: too few to trust the intervals, {self.needed} are needed"
            )
        return ""


def interval_over_contents(
    pred: Any,
    mos: Any,
    groups: Any,
    statistic: Statistic = "srcc",
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    method: str = "jackknife",
) -> Interval:
    """Interval of a statistic over whole groups; the same data give the same interval.

    ``jackknife`` leaves out one group at a time and takes Student's t with G - 1 degrees of
    freedom: on Fisher's z for correlations, on the logarithm for errors, as it is for the pair
    accuracy. With more than ``BLOCKS`` groups it leaves out one of so many blocks of groups,
    which ``seed`` draws. ``percentile`` takes the quantiles of a bootstrap, which
    cover too little with few groups: see ``benchmarks/coverage.py`` and docs/evaluation.md.

    Args:
        pred, mos: (N,).
        groups: (N,) source contents, G different ones.
        statistic: one of ``distill.weighted_statistics.STATISTICS``; ``rmse`` is of the
            predictions as they are. Or a function, which is taken for a correlation.
        draws: of ``percentile``, >= 1; those that leave the statistic undefined are left out.
        seed: of ``percentile``: draw d takes the groups floor(G * default_rng(seed).random((draws,
            G))[d]) of the sorted ones; and of blocks.
        level: what share of such intervals holds the true value, in (0, 1).
        method: one of ``METHODS``.

    Returns:
        Its ends are nan with fewer than 2 groups, and with a jackknife where leaving out makes the
        statistic undefined or changes nothing, as where it is perfect.

    Raises:
        ValueError: data or options cannot be used; the text says which.

    Source: Efron and Stein 1981, The Jackknife Estimate of Variance, with whole groups left out.
    """
    return _interval([pred], mos, groups, statistic, draws, seed, level, method)


def difference_over_contents(
    pred_a: Any,
    pred_b: Any,
    mos: Any,
    groups: Any,
    statistic: Statistic = "srcc",
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    method: str = "jackknife",
) -> Interval:
    """Interval of statistic(a) - statistic(b) on the same groups; see ``interval_over_contents``.

    The jackknife's is that of ``paired_ends``: a difference of correlations is skewed, and an
    interval that is symmetric about it is wrong on one side (docs/evaluation.md).
    """
    return _interval([pred_a, pred_b], mos, groups, statistic, draws, seed, level, method)


def _interval(
    preds: list[Any], mos: Any, groups: Any, statistic: Statistic, draws: int, seed: int,
    level: float, method: str,
) -> Interval:  # fmt: skip
    if isinstance(statistic, str):
        check_statistic(statistic)
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown: known are {', '.join(METHODS)}")
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws must be >= 1 and level in (0, 1), got {draws} and {level}")

    columns = [paired(pred, mos) for pred in preds]
    codes = group_codes(groups, len(columns[0][0]))
    count = int(codes.max()) + 1

    def values(make: Callable[[int, int], np.ndarray], total: int) -> list[np.ndarray]:
        """Per model (total,): the statistic of the resamples that ``make(start, stop)`` gives."""
        step = max(1, _CELLS // len(codes))
        chunks = [make(at, min(at + step, total)) for at in range(0, total, step)]
        return [
            np.concatenate([statistic_of_groups(statistic, x, y, codes, some) for some in chunks])
            for x, y in columns
        ]

    whole = [float(value[0]) for value in values(lambda *_: np.ones((1, count)), 1)]
    estimate = whole[0] - whole[1] if len(whole) == 2 else whole[0]
    needed = FEW_FOR_ERRORS if statistic in ERRORS else FEW_CONTENTS
    none = Interval(math.nan, math.nan, estimate, count, needed)
    if count < 2:
        return none
    rng = np.random.default_rng(seed)
    if method == "jackknife":
        blocks = _blocks(rng, count)

        def left_out(start: int, stop: int) -> np.ndarray:
            return (blocks != np.arange(start, stop)[:, None]).astype(np.float64)

        found = values(left_out, int(blocks.max()) + 1)
        if len(found) == 2:
            both = (whole[0], whole[1]), (found[0], found[1])
            low, high = paired_ends(*both, statistic, level)
        else:
            low, high = jackknife_ends(estimate, found[0], statistic, level)
        return replace(none, low=low, high=high)
    found = values(lambda start, stop: _multiplicity(rng, stop - start, count), draws)
    drawn = found[0] - found[1] if len(found) == 2 else found[0]
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return none
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return replace(none, low=float(low), high=float(high))


def _blocks(rng: np.random.Generator, count: int) -> np.ndarray:
    """Block of each group (count,): one each, or, with many groups, of nearly equal size."""
    if count <= BLOCKS:
        return np.arange(count)
    return rng.permutation(np.arange(count) % BLOCKS)


def _multiplicity(rng: np.random.Generator, draws: int, count: int) -> np.ndarray:
    """How often each draw takes each group, (draws, count)."""
    # Not rng.integers: its stream would depend on how many draws are made at once.
    taken = (rng.random((draws, count)) * count).astype(np.int64)
    flat = (taken + count * np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=draws * count).reshape(draws, count).astype(np.float64)
