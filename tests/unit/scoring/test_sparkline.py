"""The course over time in a line of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.scoring.sparkline import BLOCKS, PLAIN, marks_for, sparkline


@pytest.mark.parametrize(
    ("values", "low", "high", "blocks", "plain"),
    [
        ([1, 2, 3, 4, 5], 1, 5, "▁▃▅▇█", "_.=*#"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 0, 8, "▁▂▃▄▅▆▇█", "__.-==*#"),
        ([2.0, 2.0], 2, 2, "▅▅", "=="),
        ([-9, 9], 0, 1, "▁█", "_#"),
        ([], 0, 1, "", ""),
    ],
)
def test_lines_worked_by_hand(
    values: list[float], low: float, high: float, blocks: str, plain: str
) -> None:
    # A mark for each of 8 (6) equal parts from low to high: of 1..5, 2 is a quarter, so the third
    # block (0.25 * 8 = 2) and the second sign (0.25 * 6 = 1.5).
    assert sparkline(values, low, high) == blocks
    assert sparkline(values, low, high, PLAIN) == plain


def test_more_values_than_marks_are_averaged_in_parts() -> None:
    # 5 in 2: the first two, mean 0, and the last three, mean 6.
    assert sparkline([0, 0, 3, 6, 9], 0, 8, width=2) == "▁▇"


@pytest.mark.parametrize(
    ("encoding", "marks"),
    [("utf-8", BLOCKS), ("UTF8", BLOCKS), ("cp437", PLAIN), ("ascii", PLAIN), ("latin-1", PLAIN),
     (None, PLAIN), ("no such", PLAIN)],
)  # fmt: skip
def test_marks_are_those_that_the_terminal_has(encoding: str | None, marks: str) -> None:
    assert marks_for(encoding) == marks


@given(st.lists(st.floats(-1e6, 1e6), max_size=200), st.integers(1, 50))
def test_it_is_never_too_long_and_rises_with_the_values(values: list[float], width: int) -> None:
    low, high = min(values, default=0.0), max(values, default=0.0)
    line = sparkline(values, low, high, width=width)
    assert len(line) == min(len(values), width)
    if len(values) <= width and high > low:
        ranks = [BLOCKS.index(mark) for mark in line]
        pairs = sorted(zip(values, ranks, strict=True))
        assert [rank for _, rank in pairs] == sorted(ranks)
        assert line[values.index(high)] == "█" and line[values.index(low)] == "▁"
