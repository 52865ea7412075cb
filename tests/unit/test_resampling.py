"""Bootstrap intervals over groups: edge cases and options."""

import math
import warnings

import numpy as np
import pytest

from distill import jackknife, resampling
from distill.columns import group_codes
from distill.logistic import fit_logistic4
from distill.metrics import (
    Interval,
    difference_over_contents,
    evaluate,
    interval_over_contents,
    ntire2023,
    pair_accuracy,
    plcc,
    rmse,
    srcc,
)
from distill.weighted_statistics import STATISTICS, group_pairs


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def noisy(n: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, and labels that rise with them along a logistic."""
    rng = np.random.default_rng(n)
    x = rng.uniform(-2, 4, n)
    return x + 5, 1.2 + 3.4 / (1 + np.exp(-(x - 0.7) / 0.6)) + noise * rng.normal(size=n)


def test_pairs_of_the_real_ladder(shared_dir) -> None:
    table = np.genfromtxt(
        shared_dir / "realladder" / "manifest.csv", delimiter=",", names=True, dtype=None
    )
    test = table[table["split"] == "test"]
    codes = group_codes(test["group"], len(test))
    right, pairs = group_pairs(-test["mos"], test["mos"], codes, 0.04)
    assert len(test) == 112 and pairs.sum() == 328  # as its README says
    assert right.sum() == 0
    assert pair_accuracy(test["mos"], test["mos"], test["group"]) == 1


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a", "b"], "groups has 2 rows and pred has 3"),
        (["a", None, "b"], "got None in row 1"),
        (["a", "b", math.nan], "got nan in row 2"),
        (["", "b", "c"], "got '' in row 0"),
    ],
)
def test_groups_must_be_named(groups, message) -> None:
    for call in (pair_accuracy, interval_over_contents, evaluate):
        with pytest.raises(ValueError, match=message):
            call([1, 2, 3], [1, 2, 3], groups)


def test_one_group_has_no_ends() -> None:
    found = interval_over_contents([1, 2, 3], [1, 3, 2], ["a"] * 3)
    assert found.estimate == pytest.approx(0.5) and found.n_groups == 1
    assert math.isnan(found.low) and math.isnan(found.high)
    assert str(Interval(0.1, 0.25, 0.2, 3)) == "0.200 [0.100, 0.250]"


def test_undefined_resamples() -> None:
    # Each group is constant: a draw of one group alone has no correlation, nor has what is left.
    data = ([1, 1, 2, 2], [1, 1, 2, 2], ["a", "a", "b", "b"])
    found = interval_over_contents(*data, method="percentile")
    assert (found.low, found.high, found.estimate) == (1, 1, 1)
    nothing = interval_over_contents([1, 1], [1, 2], ["a", "b"], method="percentile")
    assert math.isnan(nothing.estimate) and math.isnan(nothing.low)
    found = interval_over_contents(*data)
    assert found.estimate == 1 and math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("method", resampling.METHODS)
def test_intervals_do_not_depend_on_chunks(statistic: str, method: str, monkeypatch) -> None:
    x, mos = noisy(70, 0.5)
    groups = [f"g{i}" for i in np.arange(70) // 7]
    options = {"statistic": statistic, "draws": 12, "method": method}
    whole = interval_over_contents(x, mos, groups, seed=4, **options)
    monkeypatch.setattr(resampling, "_CELLS", 500)
    assert interval_over_contents(x, mos, groups, seed=4, **options) == whole
    same = interval_over_contents(x, mos, groups, seed=5, **options) == whole
    assert same == (method == "jackknife")  # which draws nothing with so few groups


def test_many_groups_are_left_out_in_blocks(monkeypatch) -> None:
    x, mos = noisy(90, 0.5)
    groups = np.arange(90) // 2
    one_by_one = interval_over_contents(x, mos, groups)
    monkeypatch.setattr(resampling, "BLOCKS", 15)
    blocks = resampling._blocks(np.random.default_rng(0), 45)
    assert (np.bincount(blocks) == 3).all()
    found = interval_over_contents(x, mos, groups)
    assert found != one_by_one and found.n_groups == 45
    assert found.high - found.low == pytest.approx(one_by_one.high - one_by_one.low, rel=0.4)
    left_out = [srcc(x[blocks[groups] != b], mos[blocks[groups] != b]) for b in range(15)]
    ends = jackknife.jackknife_ends(found.estimate, np.array(left_out), "srcc")
    assert (found.low, found.high) == pytest.approx(ends)


def test_intervals_stay_in_range() -> None:
    x, mos = noisy(28, 0.3)
    groups = np.arange(28) // 7
    for statistic in STATISTICS:
        found = interval_over_contents(x - 5, mos, groups, statistic)
        least = 0 if statistic in ("rmse", "rmse_fitted", "pair_accuracy") else -1
        assert least <= found.low <= found.estimate <= found.high, statistic
        assert "rmse" in statistic or found.high <= 1


def test_what_is_perfect_has_no_interval() -> None:
    _, mos = noisy(84, 0.05)
    groups = np.arange(84) // 7
    for statistic in ("srcc", "krcc", "plcc", "pair_accuracy"):
        found = interval_over_contents(mos, mos, groups, statistic)
        assert found.estimate == pytest.approx(1), statistic
        assert math.isnan(found.low) and math.isnan(found.high), statistic
        assert found.warning.startswith("no interval: with one of the 12 contents left out")
    wrong = interval_over_contents(-mos, mos, groups)
    assert wrong.estimate == pytest.approx(-1) and math.isnan(wrong.low)


@pytest.mark.parametrize("statistic", ["rmse", "rmse_fitted"])
def test_an_error_that_all_but_vanishes_has_no_half_interval(statistic: str) -> None:
    # Without the last content nothing is wrong: its logarithm has no end.
    data = ([1, 2, 3, 4, 5.0], [1, 2, 3, 4, 9.0], list("abcde"))
    found = interval_over_contents(*data, statistic)
    assert math.isnan(found.low) and math.isnan(found.high)
    ends = jackknife.jackknife_ends(0.3, np.array([0.3, 0.2, 1e-300]), statistic)
    assert all(map(math.isnan, ends))
    of_two = [np.array([0.3, 0.2, least]) for least in (1e-300, 0.1)]
    assert all(map(math.isnan, jackknife.paired_ends((0.3, 0.3), tuple(of_two), statistic)))


def test_too_few_contents_are_told() -> None:
    x, mos = noisy(84, 0.5)
    enough = resampling.FEW_CONTENTS
    assert enough == 10
    for count in range(1, 13):
        rows = slice(0, 7 * count)
        found = interval_over_contents(x[rows], mos[rows], (np.arange(84) // 7)[rows])
        told = f"only {count} contents: too few" if count < enough else ""
        told = "no interval: only 1 content" if count == 1 else told
        assert found.warning.startswith(told) and bool(found.warning) == bool(told)
        if count > 1:
            error = interval_over_contents(x[rows], mos[rows], (np.arange(84) // 7)[rows], "rmse")
            assert error.warning.endswith(f"{resampling.FEW_FOR_ERRORS} are needed")


def test_pairing_narrows_the_difference() -> None:
    x, mos = noisy(140, 0.5)
    rng = np.random.default_rng(0)
    other = x + 0.3 * rng.normal(size=140)
    groups = np.arange(140) // 7
    same = difference_over_contents(x, x, mos, groups)
    assert same.estimate == 0 and math.isnan(same.low) and math.isnan(same.high)
    alike = difference_over_contents(x, np.exp(x / 5), mos, groups, "srcc")  # the same order
    assert alike.estimate == 0 and math.isnan(alike.low)
    scaled = difference_over_contents(x, 20 * x - 3, mos, groups, "plcc")
    assert scaled.estimate == pytest.approx(0, abs=1e-12) and math.isnan(scaled.low)
    found = difference_over_contents(x, other, mos, groups)
    assert found.estimate == pytest.approx(srcc(x, mos) - srcc(other, mos))
    assert found.low < found.estimate < found.high
    flipped = difference_over_contents(other, x, mos, groups)
    assert (flipped.low, flipped.high) == pytest.approx((-found.high, -found.low), abs=1e-6)
    alone = interval_over_contents(x, mos, groups)
    assert found.high - found.low < alone.high - alone.low


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "scc"}, "statistic 'scc' is unknown: did you mean 'srcc'?"),
        ({"method": "bca"}, "method 'bca' is unknown: known are jackknife, percentile"),
        ({"draws": 0}, "draws must be >= 1"),
        ({"level": 1.0}, r"level in \(0, 1\)"),
    ],
)
def test_options_that_are_none_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        interval_over_contents([1, 2], [1, 2], ["a", "b"], **options)


def test_fitted_statistics_are_those_of_the_metrics() -> None:
    x, mos = noisy(70, 0.3)
    groups = np.arange(70) // 7
    fitted = fit_logistic4(x, mos)(x)
    for statistic, expected in (
        ("plcc_fitted", plcc(fitted, mos)),
        ("rmse_fitted", rmse(fitted, mos)),
        ("ntire2023", ntire2023(x, mos)),
    ):
        found = interval_over_contents(x, mos, groups, statistic)
        assert found.estimate == pytest.approx(expected, abs=1e-6), statistic
