"""What a teacher's disagreement with itself says of its pseudo-labels: weights from spreads.

Every rule is a measure of doubt per label and a limit on it. ``drop`` takes what is beyond the
limit away; ``weigh`` gives every label 1 / (1 + (measure / limit)^2), which is a half at the limit.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

_ATOMS = 4096
_CHUNK = 1 << 22  # probabilities at once: 32 MiB


@dataclass(frozen=True)
class Doubt:
    """What a rule says.

    Attributes:
        weight: (N,) in [0, 1]; 1 where there is no spread to judge by.
        measure: (N,) what the rule looked at; NaN where there is no spread.
        limit: of the measure.
    """

    weight: np.ndarray
    measure: np.ndarray
    limit: float


def judge(score: np.ndarray, std: np.ndarray, rule: str, action: str, threshold: float) -> Doubt:
    """Weights of pseudo-labels.

    Args:
        score: (N,) finite, any scale.
        std: (N,) spread of each score, >= 0, in its units; NaN where it is not known.
        rule: ``none``; ``quantile`` and ``sigma`` look at the spread, ``rank_change`` at
            :func:`expected_rank_change`.
        action: ``drop`` or ``weigh``.
        threshold: the limit. ``quantile``: in (0, 1), of the known spreads; ``sigma``: times
            their median, which a few wild teachers do not move; ``rank_change``: share of N, in
            places.

    Returns:
        Weights, measures and limit. Neither the order of the labels nor the unit of the scores
        makes a difference to the weights.
    """
    known = np.isfinite(std)
    measure = np.where(known, std, np.nan).astype(float)
    if rule == "none" or not known.any():
        return Doubt(np.ones(len(score)), measure, np.inf)
    if rule == "quantile":
        limit = float(np.quantile(measure[known], threshold))
    elif rule == "sigma":
        limit = threshold * float(np.median(measure[known]))
    elif rule == "rank_change":
        measure, limit = expected_rank_change(score, measure), threshold * len(score)
    else:
        raise ValueError(f"no such rule: {rule!r}")
    if action == "drop":
        weight = np.where(measure > limit, 0.0, 1.0)  # NaN is beyond nothing
    else:
        weight = np.ones(len(score))
        doubtful = measure > 0
        with np.errstate(divide="ignore", over="ignore"):  # a limit of 0 leaves nothing
            weight[doubtful] = 1 / (1 + np.square(measure[doubtful] / limit))
    return Doubt(weight, measure, limit)


def expected_rank_change(score: np.ndarray, std: np.ndarray, atoms: int = _ATOMS) -> np.ndarray:
    """How many places a label moves in the ranking, in expectation, when its own score is drawn.

    Score i becomes normal with its standard deviation while the others stay. It passes j where it
    lands beyond it, with probability Phi(-|s_i - s_j| / std_i), and the places it moves are the
    number of those it passes: the expectation is the sum of these probabilities over all j != i.

    Args:
        score: (N,) finite.
        std: (N,) >= 0; NaN where it is not known.
        atoms: with more labels than this, runs of neighbours in the ranking stand for themselves by
            their mean, so that 100,000 labels take N * atoms probabilities and not N squared.
            Exact up to this many.

    Returns:
        (N,) places in [0, (N - 1) / 2]; NaN where the spread is not known, 0 where it is 0.
    """
    order = np.argsort(score, kind="stable")
    ranked, spread = np.asarray(score, float)[order], np.asarray(std, float)[order]
    edges = np.linspace(0, len(ranked), min(len(ranked), atoms) + 1).round().astype(int)
    count = np.diff(edges)
    centre = np.add.reduceat(ranked, edges[:-1]) / count if len(ranked) else ranked
    own = np.repeat(np.arange(len(count)), count)
    places = np.where(np.isnan(spread), np.nan, 0.0)
    moving = np.flatnonzero(spread > 0)
    step = max(1, _CHUNK // max(1, len(count)))
    for start in range(0, len(moving), step):
        at = moving[start : start + step]
        passed = ndtr(-np.abs(ranked[at, None] - centre) / spread[at, None])
        itself = passed[np.arange(len(at)), own[at]]
        places[at] = passed @ count - itself
    out = np.empty(len(ranked))
    out[order] = places
    return out
