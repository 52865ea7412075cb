"""Statistics of many weightings of the same rows at once.

A resample is a whole-numbered weight per row, so nothing is copied: with W (D, N) the statistics
of D resamples come from a few array operations, exactly as on the repeated rows.
"""

import difflib
from collections.abc import Callable

import numpy as np
from numpy.polynomial import Polynomial
from scipy.stats import kendalltau

from distill.logistic import fit_logistic4

OfGroups = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Statistic = str | OfGroups  # a name, or a function of what ``statistic_of_groups`` takes after it
PAIR_GAP = 0.04  # labels of a pair must differ by more to count as ordered


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
    """Root mean squared errors (D,) of x (N,) or (D, N)."""
    # Not a matrix product, whose rounding depends on how many draws there are.
    return np.sqrt((weights * (x - y) ** 2).sum(1) / weights.sum(1))


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


def ntire2023_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of SRCC and of PLCC after a cubic fit (D,); see ``distill.metrics.ntire2023``."""
    fitted = np.stack([_cubic(x, y, row)(x) for row in weights])
    return (srcc_rows(x, y, weights) + plcc_rows(fitted, y, weights)) / 2


def plcc_fitted_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson correlations (D,) after a 4-parameter logistic that is fitted to each draw."""
    return plcc_rows(_logistic(x, y, weights), y, weights)


def rmse_fitted_rows(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root mean squared errors (D,) after a 4-parameter logistic that is fitted to each draw."""
    return rmse_rows(_logistic(x, y, weights), y, weights)


def _logistic(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fitted scores (D, N)."""
    whole = fit_logistic4(x, y)
    draws = (np.repeat(np.arange(len(x)), row.astype(np.int64)) for row in weights)
    return np.stack([fit_logistic4(x[draw], y[draw], near=whole)(x) for draw in draws])


def _cubic(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Polynomial:
    """Least squares; of a lower degree where there are fewer than 4 distinct predictions."""
    used = weights > 0
    degree = min(3, len(np.unique(x[used])) - 1)
    if degree == 0:
        return Polynomial([np.average(y, weights=weights)])
    # The weights of numpy's fit multiply the residuals before they are squared.
    return Polynomial.fit(x[used], y[used], degree, w=np.sqrt(weights[used]))


_ROWS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "srcc": srcc_rows,
    "krcc": krcc_rows,
    "plcc": plcc_rows,
    "plcc_fitted": plcc_fitted_rows,
    "rmse": rmse_rows,
    "rmse_fitted": rmse_fitted_rows,
    "ntire2023": ntire2023_rows,
}
STATISTICS = (*_ROWS, "pair_accuracy")


def check_statistic(name: str) -> None:
    """Raises ValueError, with the nearest name, for a statistic that there is not."""
    if name not in STATISTICS:
        near = difflib.get_close_matches(str(name), STATISTICS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(STATISTICS)}."
        raise ValueError(f"statistic {name!r} is unknown: {hint}")


def statistic_of_groups(
    statistic: Statistic,
    x: np.ndarray,
    y: np.ndarray,
    codes: np.ndarray,
    multiplicity: np.ndarray,
) -> np.ndarray:
    """A statistic of resamples of whole groups.

    Args:
        statistic: one of ``STATISTICS``, or a function of the other arguments.
        x, y: (N,) predictions and labels.
        codes: (N,) group of each row, from 0 to G - 1.
        multiplicity: (D, G), how often each resample has each group; whole numbers.

    Returns:
        (D,); nan where the statistic is undefined.
    """
    if callable(statistic):
        return statistic(x, y, codes, multiplicity)
    if statistic != "pair_accuracy":
        return _ROWS[statistic](x, y, multiplicity[:, codes])
    right, pairs = group_pairs(x, y, codes, PAIR_GAP)
    with np.errstate(invalid="ignore"):
        return (multiplicity @ right) / (multiplicity @ pairs)
