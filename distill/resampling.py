"""Statistics of many weightings of the same rows at once, and bootstrap intervals over groups.

A bootstrap draw is a whole-numbered weight per row, so nothing is copied: with W (D, N) the
statistics of D draws come from a few array operations, exactly as on the repeated rows.
"""

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

PAIR_GAP = 0.04  # labels of a pair must differ by more to count as ordered
_CELLS = 2_000_000  # of W held at once: 16 MB per float64 array


def paired(pred: Any, mos: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (N,), N >= 1.

    Raises:
        ValueError: not numbers, not 1-d, of different lengths, empty, or not finite.
    """
    arrays = []
    for name, values in (("pred", pred), ("mos", mos)):
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1 or not len(array):
            raise ValueError(f"{name} must be 1-d and not empty, got shape {array.shape}")
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"{name} must be finite, got {array[row]} in row {row}")
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(f"pred has {len(arrays[0])} rows and mos has {len(arrays[1])}")
    return arrays[0], arrays[1]


def group_codes(groups: Any, n: int) -> np.ndarray:
    """Group names (N,) as whole numbers from 0, in the order of the sorted names.

    Raises:
        ValueError: not ``n`` names, or a name is missing (None, NaN or empty).
    """
    names = list(groups)
    if len(names) != n:
        raise ValueError(f"groups has {len(names)} rows and pred has {n}")
    for row, name in enumerate(names):
        if name is None or name != name or name == "":
            raise ValueError(f"groups must name every row, got {name!r} in row {row}")
    return np.unique(np.asarray(names), return_inverse=True)[1]


def plcc_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlations (D,); nan where x or y is constant.

    Args:
        x, y: (N,) or (D, N).
        weights: (D, N) >= 0.
    """
    total = weights.sum(1, keepdims=True)
    centred, deviations, constant = [], [], np.zeros(len(weights), dtype=bool)
    for values in (x, y):
        difference = values - (weights * values).sum(1, keepdims=True) / total
        deviation = np.sqrt((weights * difference**2).sum(1) / total[:, 0])
        # The mean of equal numbers is off by rounding; that is no deviation.
        constant |= deviation <= 1e-12 * np.abs(np.where(weights > 0, values, 0)).max(1)
        centred.append(difference)
        deviations.append(np.where(constant, 1, deviation))
    rho = (weights * centred[0] * centred[1]).sum(1) / total[:, 0]
    return np.where(constant, np.nan, np.clip(rho / deviations[0] / deviations[1], -1, 1))


def srcc_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman correlations (D,) of (N,) x and y, a weight (D, N) being that many copies."""
    return plcc_rows(_ranks(x, weights), _ranks(y, weights), weights)


def _ranks(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average ranks (D, N) among the copies."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    tied = np.add.reduceat(weights[:, np.argsort(x, kind="stable")], starts, axis=1)
    return (np.cumsum(tied, axis=1) - (tied - 1) / 2)[:, inverse]


def rmse_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root mean squared errors (D,)."""
    return np.sqrt((weights @ (x - y) ** 2) / weights.sum(1))


def krcc_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b (D,), one draw after the other; nan where x or y is constant."""
    rows = (np.repeat(np.arange(len(x)), draw.astype(np.int64)) for draw in weights)
    return np.array(
        [
            kendalltau(x[row], y[row]).statistic if np.ptp(x[row]) and np.ptp(y[row]) else np.nan
            for row in rows
        ]
    )


def group_pairs(
    x: np.ndarray, y: np.ndarray, codes: np.ndarray, min_gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """Per group (G,): pairs predicted in the right order, and all pairs further apart in y."""
    right, pairs = np.zeros((2, codes.max() + 1))
    for code in np.flatnonzero(np.bincount(codes) > 1):
        i, j = np.triu_indices(int((codes == code).sum()), 1)
        px, py = x[codes == code], y[codes == code]
        far = np.abs(py[i] - py[j]) > min_gap + 1e-9  # labels are decimal: 0.04 is not above 0.04
        same = np.sign(px[i] - px[j]) * np.sign(py[i] - py[j])
        right[code], pairs[code] = ((1 + same[far]) / 2).sum(), far.sum()
    return right, pairs


_ROWS = {"srcc": srcc_rows, "krcc": krcc_rows, "plcc": plcc_rows, "rmse": rmse_rows}


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval over groups; its ends are nan with fewer than 2 groups."""

    low: float
    high: float
    estimate: float
    n_groups: int

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_groups(
    pred: Any,
    mos: Any,
    groups: Any,
    statistic: str = "srcc",
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic, resampling whole groups with replacement.

    Rows of one content are not independent; resampling rows would promise too much.

    Args:
        pred, mos: (N,).
        groups: (N,) source contents, G different ones.
        statistic: ``srcc``, ``krcc``, ``plcc``, ``rmse`` or ``pair_accuracy``.
        draws: resamples, >= 1; those that leave the statistic undefined are left out.
        seed: draw d takes the groups floor(G * default_rng(seed).random((draws, G))[d]) of the
            sorted ones.
        level: share of the draws between the ends, in (0, 1).

    Raises:
        ValueError: data or options cannot be used; the text says which.
    """
    return _interval([pred], mos, groups, statistic, draws, seed, level)


def paired_bootstrap(
    pred_a: Any,
    pred_b: Any,
    mos: Any,
    groups: Any,
    statistic: str = "srcc",
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of statistic(a) - statistic(b), both on the same draws; see ``bootstrap_groups``."""
    return _interval([pred_a, pred_b], mos, groups, statistic, draws, seed, level)


def _interval(
    preds: list[Any], mos: Any, groups: Any, statistic: str, draws: int, seed: int, level: float
) -> Interval:
    known = [*_ROWS, "pair_accuracy"]
    if statistic not in known:
        near = difflib.get_close_matches(str(statistic), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
        raise ValueError(f"statistic {statistic!r} is unknown: {hint}")
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"draws must be >= 1 and level in (0, 1), got {draws} and {level}")

    columns = [paired(pred, mos) for pred in preds]
    codes = group_codes(groups, len(columns[0][0]))
    count = int(codes.max()) + 1

    def difference(multiplicity: np.ndarray) -> np.ndarray:
        values = [_statistic(statistic, x, y, codes, multiplicity) for x, y in columns]
        return values[0] - values[1] if len(values) == 2 else values[0]

    estimate = float(difference(np.ones((1, count)))[0])
    if count < 2:
        return Interval(float("nan"), float("nan"), estimate, count)
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // len(codes))
    found = np.concatenate(
        [
            difference(_multiplicity(rng, min(step, draws - start), count))
            for start in range(0, draws, step)
        ]
    )
    found = found[np.isfinite(found)]
    if not len(found):
        return Interval(float("nan"), float("nan"), estimate, count)
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), estimate, count)


def _multiplicity(rng: np.random.Generator, draws: int, count: int) -> np.ndarray:
    """How often each draw takes each group, (draws, count)."""
    # Not rng.integers: its stream would depend on how many draws are made at once.
    taken = (rng.random((draws, count)) * count).astype(np.int64)
    flat = (taken + count * np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=draws * count).reshape(draws, count).astype(np.float64)


def _statistic(
    name: str, x: np.ndarray, y: np.ndarray, codes: np.ndarray, multiplicity: np.ndarray
) -> np.ndarray:
    if name != "pair_accuracy":
        return _ROWS[name](x, y, multiplicity[:, codes])
    right, pairs = group_pairs(x, y, codes, PAIR_GAP)
    with np.errstate(invalid="ignore"):
        return (multiplicity @ right) / (multiplicity @ pairs)
