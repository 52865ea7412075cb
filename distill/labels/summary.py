"""What a store holds, in numbers."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from distill.labels.store import LabelStore


@dataclass(frozen=True)
class Summary:
    """Of the rows of a store.

    Attributes:
        scores: (N,) of the usable rows.
        spreads: (M,) of the standard deviations over members, where there are any.
        reasons: why rows failed -> how many.
        seconds: spent on all rows.
    """

    scores: np.ndarray
    spreads: np.ndarray
    reasons: Counter[str]
    seconds: float

    @property
    def failed(self) -> int:
        """Rows without a score."""
        return self.reasons.total()

    @property
    def spread(self) -> float:
        """Mean standard deviation over members; NaN where there is none."""
        return float(self.spreads.mean()) if len(self.spreads) else math.nan


def summarise(store: LabelStore) -> Summary:
    """Reads four columns, part by part."""
    scores, spreads, spent = [np.zeros(0)], [np.zeros(0)], 0.0
    reasons: Counter[str] = Counter()
    for table in store.tables(["status", "score", "std", "seconds", "reason"]):
        ok = np.array([status == "ok" for status in table["status"].to_pylist()], bool)
        scores.append(table["score"].to_numpy()[ok])
        spreads.append(table["std"].to_numpy()[ok])
        spent += float(table["seconds"].to_numpy().sum())
        reasons.update(
            reason
            for reason, sound in zip(table["reason"].to_pylist(), ok, strict=True)
            if not sound
        )
    spread = np.concatenate(spreads)
    return Summary(np.concatenate(scores), spread[~np.isnan(spread)], reasons, spent)
