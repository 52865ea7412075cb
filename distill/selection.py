"""Which pseudo-labels to take when there are too many: balanced over score and content.

Everything here is a function of the videos, not of their order: ties go to the key that comes
first, and keys are the videos' own.
"""

import heapq
from collections import Counter
from collections.abc import Sequence

import numpy as np

from distill.data.identity import seed_of
from distill.errors import ConfigError
from distill.labels import Label


def histogram(
    score: np.ndarray,
    content: Sequence[str],
    key: Sequence[int],
    count: int,
    bins: int,
    per_content: int | None = None,
) -> np.ndarray:
    """As flat over the range of scores as the pool allows.

    Takes from the bin that has given least, there a video of the content that has given least.

    Args:
        score: (N,) finite.
        content: (N,) source content of each video.
        key: (N,) distinct numbers that break ties.
        count: videos to take at the most.
        bins: of equal width, from the lowest score to the highest.
        per_content: videos of one content at the most; None is any number.

    Returns:
        Sorted positions of the chosen, fewer than ``count`` only where there are no more.
    """
    at = np.arange(len(score))
    low, width = (float(score.min()), float(np.ptp(score))) if len(score) else (0.0, 0.0)
    which = np.minimum((score - low) / (width or 1.0) * bins, bins - 1).astype(int)
    heaps: dict[int, list[tuple[int, int, int]]] = {}
    for i in sorted(at.tolist(), key=lambda i: key[i]):
        heaps.setdefault(int(which[i]), []).append((0, key[i], i))  # sorted, so a heap
    given, chosen = Counter[str](), list[int]()
    turn = [(0, number) for number in sorted(heaps)]
    while turn and len(chosen) < count:
        taken, number = turn[0]
        found = _next(heaps[number], content, given, per_content)
        if found is None:
            heapq.heappop(turn)
            continue
        given[content[found]] += 1
        chosen.append(found)
        heapq.heapreplace(turn, (taken + 1, number))
    return np.array(sorted(chosen), dtype=int)


def _next(
    heap: list[tuple[int, int, int]],
    content: Sequence[str],
    given: Counter[str],
    per_content: int | None,
) -> int | None:
    """The bin's next video; what a content has given since a video was filed moves it back."""
    while heap:
        filed, key, i = heapq.heappop(heap)
        now = given[content[i]]
        if per_content is not None and now >= per_content:
            continue
        if now == filed:
            return i
        heapq.heappush(heap, (now, key, i))
    return None


def k_center(
    features: np.ndarray,
    content: Sequence[str],
    key: Sequence[int],
    count: int,
    per_content: int | None = None,
) -> np.ndarray:
    """Greedy k-center: first the video nearest to the mean, then always the one farthest from all.

    Args:
        features: (N, D) finite, on one scale.
        content, key, count, per_content: see :func:`histogram`.

    Returns:
        Sorted positions of the chosen.

    Source: Gonzalez 1985, Clustering to minimize the maximum intercluster distance: at most twice
        the best possible largest distance to a chosen one.
    """
    order = np.argsort(np.asarray(key), kind="stable")
    points = features[order]
    numbers = np.unique(np.asarray(content, dtype=str)[order], return_inverse=True)[1]
    given = np.zeros(numbers.max(initial=-1) + 1, int)
    open_ = np.ones(len(points), bool)
    away = -np.square(points - points.mean(0)).sum(1) if len(points) else np.empty(0)
    chosen = list[int]()
    while len(chosen) < count and open_.any():
        at = int(np.where(open_, away, -np.inf).argmax())
        distance = np.square(points - points[at]).sum(1)
        away = distance if not chosen else np.minimum(away, distance)
        chosen.append(at)
        open_[at] = False
        given[numbers[at]] += 1
        if per_content is not None and given[numbers[at]] >= per_content:
            open_[numbers == numbers[at]] = False
    return np.sort(order[chosen])


def features_of(labels: Sequence[Label], kind: str) -> np.ndarray:
    """What k-center measures distances in, each column with mean 0 and standard deviation 1.

    Args:
        labels: N of them.
        kind: ``label``: score, spread, duration and log2 of the pixels; what is not known is the
            mean. ``members``: the members' scores.

    Returns:
        (N, D) float64; a column without differences is 0.

    Raises:
        ConfigError: ``members``, but the labels have none, or not all the same.
    """
    if kind == "members":
        names = sorted({name for label in labels for name in label.members})
        odd = next((x for x in labels if not names or set(x.members) != set(names)), None)
        if odd is not None:
            raise ConfigError(
                f"select.features=members: {odd.video} has the members {sorted(odd.members)},"
                f" others have {names}; choose select.features=label"
            )
        table = np.array([[label.members[name] for name in names] for label in labels], float)
    else:
        sizes = [x.width * x.height for x in labels]
        pixels = [np.log2(size) if size > 0 else np.nan for size in sizes]
        table = np.array(
            [(x.score, x.std, x.duration, p) for x, p in zip(labels, pixels, strict=True)], float
        )
    for column in table.T:  # views: in place
        known = np.isfinite(column)
        mean, std = (column[known].mean(), column[known].std()) if known.any() else (0.0, 0.0)
        column[:] = np.where(known, (column - mean) / std if std > 0 else 0.0, 0.0)
    return table


def keys_of_videos(labels: Sequence[Label]) -> list[int]:
    """A number per video that is the same in any pool and favours no name."""
    return [seed_of("select", label.content, label.path) for label in labels]
