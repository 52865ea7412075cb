"""Ends of an interval from a statistic without each of several blocks of rows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import t as student_t

from distill.weighted_statistics import Statistic

ERRORS = ("rmse", "rmse_fitted")
_AROUND = 1441  # points on an ellipse: within 1e-5 of the extremes in the tests
_CORRELATIONS = ("srcc", "krcc", "plcc", "plcc_fitted", "ntire2023")
_SAME = 1e-12  # what rounding makes of equal statistics, as of one model on two scales
_NOTHING = 1e-6  # of an error; a fit through all points leaves less, videos that differ far more


def jackknife_ends(
    estimate: float, left_out: np.ndarray, statistic: Statistic, level: float = 0.95
) -> tuple[float, float]:
    """Ends of the interval from a statistic without each of G blocks.

    Args:
        estimate: of everything.
        left_out: (G,) of everything but one block, G >= 2.
        statistic: decides the scale.
        level: in (0, 1).

    Returns:
        Nan twice where one of the values is, or where all are equal: that tells no error; and of
        RMSE where it vanishes without one block, as of three videos, through which the fit goes.
    """
    centre, deviations = _located(estimate, left_out, statistic)
    if np.ptp(deviations) == 0 or _vanishes(estimate, left_out, statistic):
        return math.nan, math.nan
    _, back = _scale(statistic)
    reach = _reach(deviations, statistic, level) * np.linalg.norm(deviations)
    low, high = back(centre - reach), back(centre + reach)
    if statistic == "pair_accuracy":
        low, high = max(low, 0.0), min(high, 1.0)
    return float(low), float(high)


def paired_ends(
    estimates: tuple[float, float],
    left_out: tuple[np.ndarray, np.ndarray],
    statistic: Statistic,
    level: float = 0.95,
) -> tuple[float, float]:
    """Ends of the interval of a statistic of one model minus that of another.

    Both statistics, on their scale, lie in an ellipse whose axes are the jackknife's errors and
    whose tilt is their correlation: the ends are the least and the largest difference in it. So
    zero lies outside just where Student's t finds the two different on that scale.

    Args, Returns: as ``jackknife_ends``, of both models and the same blocks.
    """
    both = list(zip(estimates, left_out, strict=True))
    if np.allclose(*left_out, rtol=0, atol=_SAME) or any(
        _vanishes(*one, statistic) for one in both
    ):
        return math.nan, math.nan
    _, back = _scale(statistic)
    (centre_a, a), (centre_b, b) = (_located(*one, statistic) for one in both)
    reach = _reach(a - b, statistic, level)
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b)
    tilt = np.pi / 2
    if size_a * size_b > 0:  # the angle whose cosine is the correlation
        tilt = 2 * np.arcsin(np.minimum(np.linalg.norm(a / size_a - b / size_b) / 2, 1))
    around = np.linspace(0, 2 * np.pi, _AROUND)
    inside = back(centre_a + reach * size_a * np.cos(around)) - back(
        centre_b + reach * size_b * np.cos(around - tilt)
    )
    return float(inside.min()), float(inside.max())


def _located(
    estimate: float, left_out: np.ndarray, statistic: Statistic
) -> tuple[float, np.ndarray]:
    """Where an interval is centred on its scale, and the deviations (G,) that make its width.

    An error comes out too small on average: few contents make most of it, and a curve was fitted
    to these very videos. So it is moved by the jackknife's estimate of that.
    """
    forward, _ = _scale(statistic)
    centre, values = float(forward(np.array(estimate))), forward(left_out)
    if statistic in ERRORS:
        centre += (len(values) - 1) * (centre - values.mean())
    return centre, values - values.mean()


def _reach(deviations: np.ndarray, statistic: Statistic, level: float) -> float:
    """Half an interval, in norms of the deviations (G,): Student's t times the jackknife's factor.

    Of an error it takes fewer degrees of freedom than G - 1 where few contents make most of the
    deviations: the squares' own spread tells how sure their sum is (Satterthwaite 1946).
    """
    count, squares = len(deviations), deviations**2
    freedom = count - 1.0
    if statistic in ERRORS and squares.any():
        sure = count * squares.mean() ** 2 / max(squares.var(ddof=1), 1e-300)
        freedom = float(np.clip(2 * sure, 1, freedom))
    return float(student_t.ppf((1 + level) / 2, freedom) * np.sqrt((count - 1) / count))


def _vanishes(estimate: float, left_out: np.ndarray, statistic: Statistic) -> bool:
    """Whether one block makes all of an error, so that its logarithm knows no bounds."""
    return statistic in ERRORS and bool(left_out.min() < _NOTHING * estimate)


def _scale(statistic: Statistic) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A map to where errors are more nearly symmetric, and its inverse."""
    if callable(statistic) or statistic in _CORRELATIONS:
        most = 1 - 1e-12  # the z of a perfect correlation is infinite
        return lambda r: np.arctanh(np.clip(r, -most, most)), np.tanh
    if statistic in ERRORS:
        return lambda e: np.log(np.maximum(e, 1e-300)), np.exp
    return lambda value: value, lambda value: value
