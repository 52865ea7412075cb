"""Bootstrap intervals over groups: edge cases and options."""

import math
import warnings

import numpy as np
import pytest

from distill import resampling
from distill.metrics import (
    Interval,
    bootstrap_groups,
    evaluate,
    pair_accuracy,
    paired_bootstrap,
    srcc,
)


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
    codes = resampling.group_codes(test["group"], len(test))
    right, pairs = resampling.group_pairs(-test["mos"], test["mos"], codes, 0.04)
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
    for call in (pair_accuracy, bootstrap_groups, evaluate):
        with pytest.raises(ValueError, match=message):
            call([1, 2, 3], [1, 2, 3], groups)


def test_bootstrap_of_one_group_has_no_ends() -> None:
    found = bootstrap_groups([1, 2, 3], [1, 3, 2], ["a"] * 3)
    assert found.estimate == pytest.approx(0.5) and found.n_groups == 1
    assert math.isnan(found.low) and math.isnan(found.high)
    assert str(Interval(0.1, 0.25, 0.2, 3)) == "0.200 [0.100, 0.250]"


def test_bootstrap_leaves_out_undefined_draws() -> None:
    # Each group is constant: a draw of one group alone has no correlation.
    found = bootstrap_groups([1, 1, 2, 2], [1, 1, 2, 2], ["a", "a", "b", "b"])
    assert (found.low, found.high, found.estimate) == (1, 1, 1)
    nothing = bootstrap_groups([1, 1], [1, 2], ["a", "b"])
    assert math.isnan(nothing.estimate) and math.isnan(nothing.low)


@pytest.mark.parametrize("statistic", ["srcc", "plcc", "rmse", "pair_accuracy", "krcc"])
def test_bootstrap_does_not_depend_on_its_chunks(statistic: str, monkeypatch) -> None:
    x, mos = noisy(70, 0.5)
    groups = [f"g{i}" for i in np.arange(70) // 7]
    whole = bootstrap_groups(x, mos, groups, statistic, draws=50, seed=4)
    monkeypatch.setattr(resampling, "_CELLS", 500)
    assert bootstrap_groups(x, mos, groups, statistic, draws=50, seed=4) == whole
    assert bootstrap_groups(x, mos, groups, statistic, draws=50, seed=5) != whole


def test_pairing_narrows_the_difference() -> None:
    x, mos = noisy(140, 0.5)
    rng = np.random.default_rng(0)
    other = x + 0.3 * rng.normal(size=140)
    groups = np.arange(140) // 7
    same = paired_bootstrap(x, x, mos, groups, draws=200)
    assert (same.low, same.high, same.estimate) == (0, 0, 0)
    found = paired_bootstrap(x, other, mos, groups, draws=200)
    assert found.estimate == pytest.approx(srcc(x, mos) - srcc(other, mos))
    assert found.low < found.estimate < found.high
    flipped = paired_bootstrap(other, x, mos, groups, draws=200)
    assert (flipped.low, flipped.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "scc"}, "statistic 'scc' is unknown: did you mean 'srcc'?"),
        ({"draws": 0}, "draws must be >= 1"),
        ({"level": 1.0}, r"level in \(0, 1\)"),
    ],
)
def test_bootstrap_options(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_groups([1, 2], [1, 2], ["a", "b"], **options)
