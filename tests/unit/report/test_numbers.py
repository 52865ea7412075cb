"""What the plots are made of: axes, bins, means, words, curves, panels."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from scipy.stats import ttest_1samp

from distill.report import cost_plots, learning_plots
from distill.report.axes import Axis
from distill.report.blocks import Cell, Table
from distill.report.cost_plots import Point
from distill.report.reasons import alike
from distill.report.statistics import equal_bins, mean_over_contents, running_mean, thinned
from distill.report.text import (
    breakable,
    clean,
    count,
    fixed,
    gmacs,
    interval,
    listed,
    minus,
    short,
    short_names,
)

ENDS = st.floats(-1e6, 1e6).map(lambda x: round(x, 4))


@given(ENDS, st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_are_inside_rising_and_say_their_value(low: float, long: float, count_: int) -> None:
    axis = Axis(low, low + long)
    ticks = axis.ticks(count_)
    values = [value for value, _ in ticks]
    assert 1 <= len(values) <= count_ + 1
    step = values[1] - values[0] if len(values) > 1 else long
    near = 1e-9 * max(abs(low), long)
    for value, text in ticks:
        assert low - near <= value <= low + long + near
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=1e-6 * step + 1e-9)
    assert len({text for _, text in ticks}) == len(ticks)


@given(st.floats(1e-3, 1e3), st.floats(1.2, 1e5))
def test_logarithmic_ticks_are_inside_and_differ(low: float, factor: float) -> None:
    axis = Axis(low, low * factor, log=True)
    values = [value for value, _ in axis.ticks()]
    assert all(low <= v <= low * factor for v in values) and values == sorted(set(values))
    assert axis.share(low) == 0 and axis.share(low * factor) == pytest.approx(1)
    assert axis.share(low * math.sqrt(factor)) == pytest.approx(0.5)


def test_axes_hold_what_they_are_made_around() -> None:
    axis = Axis.around([2, math.nan, 4, math.inf], "MOS", room=0.1)
    assert (axis.low, axis.high, axis.label) == (pytest.approx(1.8), pytest.approx(4.2), "MOS")
    same = Axis.around([3, 3])
    assert same.low < 3 < same.high
    assert Axis.around([0, -1, 10], log=True).low > 0
    empty = Axis.around([])
    assert empty.low < empty.high


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 9))
def test_bins_hold_every_row_once_and_part_no_ties(values: list[int], wanted: int) -> None:
    order = np.array(values, dtype=float)
    bins = equal_bins(order, wanted)
    assert sorted(np.concatenate(bins).tolist()) == list(range(len(values)))
    assert 1 <= len(bins) <= wanted
    for left, right in pairwise(bins):
        assert order[left].max() < order[right].min()


def test_bins_without_ties_are_equal() -> None:
    bins = equal_bins(np.random.default_rng(0).permutation(24).astype(float), 8)
    assert [len(part) for part in bins] == [3] * 8


def test_means_over_contents_are_students_of_the_contents() -> None:
    random = np.random.default_rng(1)
    contents = random.normal(0, 1, 40)
    groups = [f"c{at}" for at in range(40) for _ in range(5)]
    values = np.repeat(contents, 5)  # versions of a content that do not differ
    found = mean_over_contents(values, groups)
    reference = ttest_1samp(contents, 0).confidence_interval()
    assert found.value == pytest.approx(contents.mean())
    assert (found.n, found.contents) == (200, 40)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    naive = ttest_1samp(values, 0).confidence_interval()
    assert found.high - found.low > 1.8 * (naive.high - naive.low)
    # Unequal contents, by hand: the means without a, without b and without c.
    odd = mean_over_contents([1.0, 1.0, 2.0, 2.0, 5.0, 5.0, 2.0], list("aabcccb"))
    left_out = np.array([16 / 5, 14 / 5, 6 / 4])
    error = math.sqrt(2 / 3 * ((left_out - left_out.mean()) ** 2).sum())
    assert odd.high - odd.value == pytest.approx(4.302653 * error, rel=1e-6)
    assert odd.value - odd.low == pytest.approx(4.302653 * error, rel=1e-6)
    few = mean_over_contents([1.0, 2.0, 6.0], ["a", "a", "b"])
    assert few.value == 3 and math.isnan(few.low)


@given(st.lists(st.text(alphabet="0123456789. :a_/", min_size=1), min_size=1, max_size=8))
def test_like_reasons_keep_their_videos(reasons: list[str]) -> None:
    counts = {reason: 1 + at for at, reason in enumerate(reasons)}
    found = alike(counts)
    assert found.total() == sum(counts.values()) and len(found) <= len(counts)


def test_reasons_that_differ_in_a_measurement_are_one() -> None:
    text = "quantile: {} of spread, the limit is 0.137"
    found = alike({text.format("0.5"): 2, text.format("0.21"): 1, text.format("0.1234"): 1, "x": 3})
    assert found == {text.format("0.1234 to 0.5"): 4, "x": 3}
    # A count, and a number in a name, are no measurements.
    two = {"only 3 frames": 1, "only 4 frames": 1, "v1.5x": 1, "v2.5x": 1}
    assert alike(two) == two


@given(st.text())
def test_names_that_may_break_are_the_same_names(name: str) -> None:
    assert breakable(name).replace("<wbr>", "") == escape(clean(name))


def test_hyphens_before_numbers_are_minus_signs() -> None:
    assert minus("a-1 -0.5 [-0.25, 3] x -y") == "a-1 −0.5 [−0.25, 3] x -y"
    assert [listed(list("abcdef"[:n])) for n in (1, 2, 3, 6)] == [
        "a", "a and b", "a, b and c", "a, b, c and 3 others",
    ]  # fmt: skip


def test_noise_does_not_fill_an_axis() -> None:
    axis = Axis.around([0.81, 0.82], least=0.1)
    assert (axis.low, axis.high) == (pytest.approx(0.765), pytest.approx(0.865))
    wide = Axis.around([0.0, 1.0], least=0.1, room=0.05)
    assert (wide.low, wide.high) == (pytest.approx(-0.05), pytest.approx(1.05))


def test_running_means_by_hand() -> None:
    assert running_mean([4, 2, 6, 8], window=2).tolist() == [4, 3, 4, 7]
    assert running_mean([1.0], window=10).tolist() == [1]


@given(st.integers(1, 5000), st.integers(2, 600))
def test_thinned_rows_keep_both_ends(rows: int, most: int) -> None:
    kept = thinned(rows, most)
    assert len(kept) == min(rows, most) == len(set(kept.tolist()))
    assert kept[0] == 0 and kept[-1] == rows - 1


def test_numbers_as_written() -> None:
    assert fixed(-0.12345) == "−0.123" and fixed(-0.0001) == "0.000"
    assert fixed(0.5, 2, sign=True) == "+0.50" and fixed(None) == fixed(math.nan) == "–"
    assert interval(0.5, None) == "" and interval(-0.1, 0.25, 2) == "[−0.10, 0.25]"
    assert [gmacs(v) for v in (0.3774, 1.5098, 47.39, 114.83, 1060)] == [
        "0.377", "1.51", "47.4", "115", "1 060",
    ]  # fmt: skip
    assert count(1, "video") == "1 video" and count(0, "video") == "0 videos"


def test_names_as_written() -> None:
    assert clean("a\u202eb\u0000c\ud800d é 電") == "a\ufffdb\ufffdc\ufffdd é 電"
    assert short("0123456789", 5) == "…6789" and short("01234", 5) == "01234"
    assert short_names(["a/b/1.mp4", "a/b/2.mp4"]) == {"a/b/1.mp4": "1.mp4", "a/b/2.mp4": "2.mp4"}
    assert short_names(["a/1.mp4", "b/1.mp4"]) == {"a/1.mp4": "a/1.mp4", "b/1.mp4": "b/1.mp4"}
    assert short_names(["a/1.mp4", "a/1.mp4"]) == {"a/1.mp4": "1.mp4"}
    assert short_names([]) == {}


def test_columns_that_say_one_thing_can_go() -> None:
    cells = [[Cell("1"), Cell("x"), Cell("y")], [Cell("1"), Cell("z"), Cell("y")]]
    table = Table(["a", "b", "c"], cells)
    found = table.without_constant("a", "b")
    assert found.columns == ["b", "c"]
    assert [[cell.text for cell in row] for row in found.rows] == [["x", "y"], ["z", "y"]]


def test_metrics_of_a_resumed_training_count_once(tmp_path: Path) -> None:
    first, again = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("step,train/loss,val/srcc\n0,3,\n1,2,0.5\n2,9,\n")
    again.write_text("step,train/loss,val/srcc\n2,1,\n3,0.5,0.7\n4,nan,\n")
    found = learning_plots.read_metrics([first, again])
    assert found == {
        "train/loss": {0: 3.0, 1: 2.0, 2: 1.0, 3: 0.5},
        "val/srcc": {1: 0.5, 3: 0.7},
    }


def test_data_sets_never_share_a_panel() -> None:
    own = [Point("mine", "clips, test", 1.5, 0.9), Point("mine", "KVQ, test", 1.5, 0.8)]
    panels = cost_plots.front([*own, *cost_plots.published()], wide=False)
    assert [data for data, _ in panels] == ["clips, test", "KVQ, test"]
    assert "SharpMind" not in panels[0][1] and "SharpMind" in panels[1][1]
    assert panels[1][1].count("c2 solid") == 4  # those with a known cost
    assert "RQ-VQA" not in panels[1][1]


def test_intervals_of_one_cost_stand_beside_each_other() -> None:
    axis = Axis(0.1, 100, log=True)
    points = [Point("a", "d", 1.5, 0.8, low=0.7, high=0.9),
              Point("b", "d", 1.5, 0.7, low=0.6, high=0.8), Point("c", "d", 1.5, 0.7),
              Point("d", "d", 3.0, 0.7, low=0.6, high=0.8)]  # fmt: skip
    places = cost_plots.beside(points, axis, 0.01)
    assert places[2:] == [1.5, pytest.approx(3.0)]
    assert axis.share(places[1]) - axis.share(places[0]) == pytest.approx(0.01)
    assert axis.share(places[1]) + axis.share(places[0]) == pytest.approx(2 * axis.share(1.5))


def test_published_and_measured_points_have_sources() -> None:
    for point in [*cost_plots.published(), *cost_plots.measured()]:
        assert point.source and 0 < point.srcc < 1, point
    found = {p.name: p for p in cost_plots.published()}
    assert (found["SharpMind"].gmacs, found["SharpMind"].params_m) == (47.39, 33.01)
    assert (found["E-VQA"].gmacs, found["E-VQA"].params_m) == (114.8, 55.24)
    rung = next(p for p in cost_plots.measured() if p.name == "mixed_lite0_1x224, MOS alone")
    assert rung.srcc == pytest.approx((0.7476 + 0.7595 + 0.7659) / 3)
