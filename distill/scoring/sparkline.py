"""A line of text that shows how a number goes over time."""

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-=*#"  # for terminals without those letters


def sparkline(
    values: Sequence[float], low: float, high: float, marks: str = BLOCKS, width: int = 40
) -> str:
    """One mark for each value, or for the mean of each of ``width`` parts where there are more.

    Args:
        values: in the order of time, finite.
        low, high: values of the lowest and the highest mark; what lies beyond has these marks.
            Where they are equal, every mark is the middle one.
        marks: from low to high.
        width: largest number of marks, >= 1.
    """
    return "".join(_mark(value, low, high, marks) for value in _parts(values, width))


def marks_for(encoding: str | None) -> str:
    """The marks that a stream of this encoding can show."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def _mark(value: float, low: float, high: float, marks: str) -> str:
    if high <= low:
        return marks[len(marks) // 2]
    level = int((value - low) / (high - low) * len(marks))
    return marks[min(max(level, 0), len(marks) - 1)]


def _parts(values: Sequence[float], width: int) -> list[float]:
    """Means of as equal parts as there can be; all values where they are few enough."""
    if len(values) <= width:
        return list(values)
    ends = [len(values) * part // width for part in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
