"""Pseudo-labels on two levels: how good a content is, and how good a version is of its content.

A teacher of few contents knows the second far better than the first: which of two encodings of a
video is better can be seen, how good the source was can hardly. Its errors between contents then
drown what it knows within them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_CONTENTS = 5  # of two versions or more: a slope over fewer says nothing


@dataclass(frozen=True)
class ContentSlopes:
    """By how much MOS rises where a teacher's score rises by one, on videos it did not learn from.

    Attributes:
        between: over the contents' means, in [0, 1.5].
        within: over what sets the versions of a content apart, in [0.5, 2].
        contents: of two versions or more, that they were found on.
    """

    between: float
    within: float
    contents: int

    @classmethod
    def of(
        cls, predicted: Sequence[float], mos: Sequence[float], content: Sequence[str]
    ) -> "ContentSlopes | None":
        """Least squares on both levels.

        Args:
            predicted: (N,) calibrated scores of validation videos.
            mos: (N,) their MOS.
            content: (N,) source content of each.

        Returns:
            None for fewer than ``LEAST_CONTENTS`` contents of two versions or more, or where scores
            do not vary on a level.

        Source: the best linear prediction of a group's and of an item's effect, as in small-area
            estimation (Battese, Harter and Fuller, JASA 1988); slopes by regression on held-out
            videos in place of variances from a model.
        """
        x, y = np.asarray(predicted, float), np.asarray(mos, float)
        number = np.unique(np.asarray(content, dtype=str), return_inverse=True)[1]
        size = np.bincount(number, minlength=1)
        many = (size > 1)[number]
        contents = int((size > 1).sum())
        if contents < LEAST_CONTENTS:
            return None
        x, y, number = x[many], y[many], number[many]
        means = [_means(values, number) for values in (x, y)]
        between = _slope(means[0] - x.mean(), means[1] - y.mean())
        within = _slope(x - means[0], y - means[1])
        if math.isnan(between) or math.isnan(within):
            return None
        return cls(float(np.clip(between, 0, 1.5)), float(np.clip(within, 0.5, 2)), contents)


def level_contents(
    score: np.ndarray, content: Sequence[str], between: float, within: float = 1.0
) -> np.ndarray:
    """Scores with the differences between contents and within them scaled apart.

    Args:
        score: (N,) pseudo-labels.
        content: (N,) name of the source content of each.
        between: factor of the contents' means around the mean of all scores, which stays.
        within: factor of what sets a content's versions apart.

    Returns:
        (N,) mean + between * (mean of the content - mean) + within * (score - mean of the content).
    """
    score = np.asarray(score, float)
    if not len(score):
        return score
    means = _means(score, np.unique(np.asarray(content, dtype=str), return_inverse=True)[1])
    return score + (between - 1) * (means - score.mean()) + (within - 1) * (score - means)


def _means(values: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(N,) mean of the content of each."""
    counts = np.maximum(np.bincount(number), 1)
    return (np.bincount(number, values) / counts)[number]


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    square = float(x @ x)
    return float(x @ y) / square if square > 1e-12 * max(1.0, float(y @ y)) else math.nan
