"""Reasons why videos were left out, counted."""

import re
from collections import Counter
from collections.abc import Mapping

_NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")  # a measurement, and no name or count


def alike(reasons: Mapping[str, int]) -> Counter[str]:
    """Reasons that differ in their numbers alone are one, with the range of each number.

    Args:
        reasons: reason -> videos.
    """
    found: dict[str, list[tuple[list[str], int]]] = {}
    for reason, videos in reasons.items():
        found.setdefault(_NUMBER.sub("\0", reason), []).append((_NUMBER.findall(reason), videos))
    told: Counter[str] = Counter()
    for shape, cases in found.items():
        parts = shape.split("\0")
        text = parts[0]
        columns = zip(*(numbers for numbers, _ in cases), strict=True)
        for column, after in zip(columns, parts[1:], strict=True):
            low, high = min(column, key=float), max(column, key=float)
            text += (low if low == high else f"{low} to {high}") + after
        told[text] += sum(videos for _, videos in cases)
    return told
