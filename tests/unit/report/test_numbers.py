"""What the plots are made of: axes, bins, means, words, curves, panels."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from distill.report import cost_plots, learning_plots
from distill.report.axes import Axis
from distill.report.blocks import Cell, Table
from distill.report.cost_plots import Point
from distill.report.statistics import equal_bins, mean_over_contents, running_mean, thinned
from distill.report.text import clean, count, fixed, gmacs, interval, short, short_names

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


def test_means_over_contents_equal_scipys_bootstrap_of_contents() -> None:
    random = np.random.default_rng(1)
    contents = random.normal(0, 1, 40)
    groups = [f"c{at}" for at in range(40) for _ in range(5)]
    values = np.repeat(contents, 5)  # versions of a content that do not differ
    found = mean_over_contents(values, groups)
    reference = bootstrap((contents,), np.mean, method="percentile", rng=0).confidence_interval
    assert found.value == pytest.approx(contents.mean())
    assert (found.n, found.contents) == (200, 40)
    assert found.low == pytest.approx(reference.low, abs=0.03)
    assert found.high == pytest.approx(reference.high, abs=0.03)
    naive = bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
    assert found.high - found.low > 1.8 * (naive.high - naive.low)
    few = mean_over_contents([1.0, 2.0, 6.0], ["a", "a", "b"])
    assert few.value == 3 and math.isnan(few.low)


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


def test_published_and_measured_points_have_sources() -> None:
    for point in [*cost_plots.published(), *cost_plots.measured()]:
        assert point.source and 0 < point.srcc < 1, point
    found = {p.name: p for p in cost_plots.published()}
    assert (found["SharpMind"].gmacs, found["SharpMind"].params_m) == (47.39, 33.01)
    assert (found["E-VQA"].gmacs, found["E-VQA"].params_m) == (114.8, 55.24)
    rung = next(p for p in cost_plots.measured() if p.name == "mixed_lite0_1x224, MOS alone")
    assert rung.srcc == pytest.approx((0.7476 + 0.7595 + 0.7659) / 3)
