"""Means with intervals over source contents, for the plots of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t


@dataclass(frozen=True)
class Mean:
    """A mean and its 95% interval over contents.

    Attributes:
        value, low, high: in units of the values; low and high are nan of fewer than 3 contents.
        n: videos. contents: source contents.
    """

    value: float
    low: float
    high: float
    n: int
    contents: int


def mean_over_contents(values: Sequence[float] | np.ndarray, groups: Sequence[str]) -> Mean:
    """The mean of videos, with the jackknife's interval over contents.

    Each content is left out in turn, and Student's t with (contents - 1) degrees of freedom is put
    on the error. Of 4000 simulated sets of contents of 7 videos, normal with equal deviation
    between and within contents, it held the true mean in 94.9, 95.1 and 95.3% (3, 5 and 13
    contents); the quantiles of a bootstrap of contents in 74.5, 83.3 and 90.3%.

    Args:
        values: (N,), N >= 1.
        groups: (N,) source content of each.
    """
    numbers = np.asarray(values, dtype=np.float64)
    codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)[1]
    contents = int(codes.max()) + 1
    sums, sizes = np.bincount(codes, numbers), np.bincount(codes)
    if contents < 3:
        return Mean(float(numbers.mean()), np.nan, np.nan, len(numbers), contents)
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    error = np.sqrt((contents - 1) * left_out.var())
    mean, reach = float(numbers.mean()), float(student_t.ppf(0.975, contents - 1) * error)
    return Mean(mean, mean - reach, mean + reach, len(numbers), contents)


def equal_bins(order: np.ndarray, count: int) -> list[np.ndarray]:
    """Positions of (N,) numbers, sorted and cut into bins of equally many, ties kept together.

    Args:
        order: (N,) what is sorted by.
        count: bins wanted, >= 1; fewer come where many numbers are equal.
    """
    at = np.argsort(order, kind="stable")
    edges = [len(at) * n // count for n in range(1, count)]
    cuts: list[int] = []
    for edge in edges:
        while 0 < edge < len(at) and order[at[edge]] == order[at[edge - 1]]:
            edge += 1
        if edge < len(at) and (not cuts or edge > cuts[-1]) and edge > 0:
            cuts.append(edge)
    return [part for part in np.split(at, cuts) if len(part)]


def running_mean(values: Sequence[float], window: int = 10) -> np.ndarray:
    """(N,) means of the last ``window`` values, of fewer at the beginning."""
    total = np.cumsum(np.insert(np.asarray(values, dtype=np.float64), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (total[ends] - total[starts]) / (ends - starts)


def thinned(count: int, most: int) -> np.ndarray:
    """Positions of at most ``most`` of ``count`` rows, spread evenly."""
    return (
        np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(int)
    )


def histogram(values: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """(bins,) counts of equal bins between two ends; a value at the high end is in the last."""
    return np.histogram(values, bins=bins, range=(low, high))[0]
