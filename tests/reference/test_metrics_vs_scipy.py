"""Metrics against scipy and plain loops, on random, tied and tiny data."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import curve_fit, minimize

from distill.metrics import (
    difference_over_contents,
    fit_logistic4,
    interval_over_contents,
    krcc,
    ntire2023,
    pair_accuracy,
    plcc,
    rmse,
    srcc,
)
from distill.weighted_statistics import ntire2023_rows

SCIPY = {"srcc": stats.spearmanr, "krcc": stats.kendalltau, "plcc": stats.pearsonr}
OURS = {"srcc": srcc, "krcc": krcc, "plcc": plcc, "rmse": rmse}


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("n", [2, 3, 5, 50, 3000])
@pytest.mark.parametrize("kind", ["random", "tied", "offset", "float32"])
def test_correlations_equal_scipy(name: str, n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    mos = rng.normal(size=n)
    pred = 0.7 * mos + 0.7 * rng.normal(size=n)
    if kind == "tied":
        pred, mos = np.floor(pred * 3), np.floor(mos * 2)
        pred[0], mos[0] = 9, -9  # never constant
    if kind == "offset":
        pred = pred * 1e-3 + 1e4
    if kind == "float32":
        pred, mos = pred.astype(np.float32), mos.astype(np.float32)
    expected = SCIPY[name](pred.astype(float), mos.astype(float)).statistic
    assert OURS[name](pred, mos) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=9))
@settings(max_examples=150)
def test_small_tied_data(rows) -> None:
    pred, mos = np.array(rows, dtype=float).T
    if np.ptp(pred) == 0 or np.ptp(mos) == 0:
        assert all(math.isnan(OURS[name](pred, mos)) for name in SCIPY)
        return
    for name, reference in SCIPY.items():
        assert OURS[name](pred, mos) == pytest.approx(reference(pred, mos).statistic, abs=1e-9)
    # tau-b once more, by its definition.
    i, j = np.triu_indices(len(pred), 1)
    a, b = np.sign(pred[i] - pred[j]), np.sign(mos[i] - mos[j])
    assert krcc(pred, mos) == pytest.approx((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()))


def test_logistic_is_as_good_as_the_fields_curve_fit() -> None:
    def field(x, b1, b2, b3, b4):
        return b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / np.abs(b4)))

    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=120)
        mos = 3 + 1.5 * np.tanh(x) + 0.3 * rng.normal(size=120)
        start = [mos.max(), mos.min(), x.mean(), 0.5]
        expected = field(x, *curve_fit(field, x, mos, p0=start, maxfev=10000)[0])
        fit = fit_logistic4(x, mos)
        assert fit(x) == pytest.approx(expected, abs=1e-3)
        assert rmse(fit(x), mos) <= rmse(expected, mos) + 1e-7


def ladder(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups of unequal size, in mixed order, with ties."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat([f"c{i}" for i in range(9)], [1, 2, 3, 4, 5, 6, 7, 7, 7]))
    level = {name: rng.normal() for name in np.unique(groups)}
    mos = np.round(3 + np.array([level[g] for g in groups]) + rng.normal(size=len(groups)), 1)
    return np.round(mos + rng.normal(size=len(groups)), 1), mos, groups


def slow_draws(pred, mos, groups, statistic: str, draws: int, seed: int) -> list[float]:
    """The statistic of each draw, the rows of the drawn groups copied one after the other."""
    names = np.unique(groups)
    taken = np.random.default_rng(seed).random((draws, len(names)))
    values = []
    for draw in np.floor(taken * len(names)).astype(int):
        rows = [np.flatnonzero(groups == names[i]) for i in draw]
        if statistic == "pair_accuracy":  # a copy is a group of its own
            copies = np.concatenate([np.full(len(r), k) for k, r in enumerate(rows)])
            flat = np.concatenate(rows)
            values.append(pair_accuracy(pred[flat], mos[flat], copies))
            continue
        flat = np.concatenate(rows)
        if statistic == "rmse":
            values.append(math.sqrt(np.mean((pred[flat] - mos[flat]) ** 2)))
        else:
            values.append(SCIPY[statistic](pred[flat], mos[flat]).statistic)
    return values


@pytest.mark.parametrize("statistic", ["srcc", "krcc", "plcc", "rmse", "pair_accuracy"])
def test_bootstrap_equals_a_plain_loop(statistic: str) -> None:
    pred, mos, groups = ladder(1)
    values = slow_draws(pred, mos, groups, statistic, draws=60, seed=3)
    options = {"draws": 60, "seed": 3, "method": "percentile"}
    found = interval_over_contents(pred, mos, groups, statistic, level=0.8, **options)
    assert [found.low, found.high] == pytest.approx(np.quantile(values, [0.1, 0.9]), abs=1e-12)
    reference = OURS.get(statistic)
    whole = reference(pred, mos) if reference else pair_accuracy(pred, mos, groups)
    assert found.estimate == pytest.approx(whole, abs=1e-12) and found.n_groups == 9

    other = np.round(mos + np.random.default_rng(9).normal(size=len(mos)), 1)
    others = slow_draws(other, mos, groups, statistic, draws=60, seed=3)
    found = difference_over_contents(pred, other, mos, groups, statistic, **options)
    ends = np.quantile(np.subtract(values, others), [0.025, 0.975])
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-12)


def reference(statistic: str, pred, mos, groups) -> float:
    """A statistic by somebody else's code, or by a plain loop."""
    if statistic == "pair_accuracy":
        return pair_accuracy(pred, mos, groups)
    if statistic == "rmse":
        return math.sqrt(np.mean((pred - mos) ** 2))
    return SCIPY[statistic](pred, mos).statistic


@pytest.mark.parametrize("statistic", ["srcc", "krcc", "plcc", "rmse", "pair_accuracy"])
def test_jackknife_equals_a_plain_loop(statistic: str) -> None:
    pred, mos, groups = ladder(2)
    other = np.round(mos + np.random.default_rng(9).normal(size=len(mos)), 1)
    names = np.unique(groups)

    def without(column):
        rows = [groups != name for name in names]
        return np.array([reference(statistic, column[r], mos[r], groups[r]) for r in rows])

    def pseudo_of(value, values):
        return len(names) * value - (len(names) - 1) * values

    def freedom(pseudo):
        """Student's; of errors, by how much the squares spread that their variance is made of."""
        squares = (pseudo - pseudo.mean()) ** 2
        satterthwaite = 2 * len(names) * squares.mean() ** 2 / squares.var(ddof=1)
        most = len(names) - 1
        return min(most, satterthwaite) if statistic == "rmse" else most

    def ends(value, values):
        # scipy's standard error of the mean of pseudo-values is the jackknife's, and for errors
        # their mean is where the interval lies.
        pseudo = pseudo_of(value, values)
        centre = pseudo.mean() if statistic == "rmse" else value
        return stats.t.interval(0.9, freedom(pseudo), loc=centre, scale=stats.sem(pseudo))

    scales = {"rmse": (np.log, np.exp), "pair_accuracy": (np.positive, np.positive)}
    forward, back = scales.get(statistic, (np.arctanh, np.tanh))
    found = interval_over_contents(pred, mos, groups, statistic, level=0.9)
    whole = reference(statistic, pred, mos, groups)
    expected = [float(back(end)) for end in ends(forward(whole), forward(without(pred)))]
    assert [found.low, found.high] == pytest.approx(expected, abs=1e-9)

    found = difference_over_contents(pred, other, mos, groups, statistic, level=0.9)
    difference = whole - reference(statistic, other, mos, groups)
    assert found.estimate == pytest.approx(difference, abs=1e-12)
    # The same by scipy: extremes under the constraint that Hotelling's distance is t or less.
    values = np.stack([forward(without(column)) for column in (pred, other)])
    cov = np.cov(values) * (len(names) - 1) ** 2 / len(names)
    centre = np.array([forward(whole), forward(reference(statistic, other, mos, groups))])
    pseudo = pseudo_of(centre[:, None], values)
    degrees = freedom(pseudo[0] - pseudo[1])
    if statistic == "rmse":
        centre = pseudo.mean(axis=1)
    most = stats.t.ppf(0.95, degrees) ** 2
    within = {
        "type": "ineq",
        "fun": lambda z: most - (z - centre) @ np.linalg.solve(cov, z - centre),
    }
    ends_by_scipy = [
        sign * minimize(lambda z, s=sign: s * (back(z[0]) - back(z[1])), centre,
                        constraints=within, options={"ftol": 1e-12}).fun
        for sign in (1, -1)
    ]  # fmt: skip
    assert [found.low, found.high] == pytest.approx(ends_by_scipy, abs=1e-5)
    # Zero lies outside just where t on the scale says so.
    t = abs(centre[0] - centre[1]) / np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    sure = 1 - 2 * stats.t.sf(t, degrees)
    for level, apart in ((sure * 0.98, True), (sure * 0.98 + 0.02, False)):
        found = difference_over_contents(pred, other, mos, groups, statistic, level=level)
        assert (found.low > 0 or found.high < 0) == apart


def test_ntire2023_is_the_mean_of_srcc_and_of_plcc_after_a_cubic() -> None:
    rng = np.random.default_rng(0)
    pred = rng.uniform(-1, 2, 60)
    mos = pred**3 - pred + 0.3 * rng.normal(size=60)
    fitted = np.polyval(np.polyfit(pred, mos, 3), pred)
    expected = (stats.spearmanr(pred, mos)[0] + stats.pearsonr(fitted, mos)[0]) / 2
    assert ntire2023(pred, mos) == pytest.approx(expected)
    assert ntire2023(pred, mos) > (srcc(pred, mos) + plcc(pred, mos)) / 2
    # Weights are copies.
    doubled = np.concatenate([pred, pred[:20]]), np.concatenate([mos, mos[:20]])
    fitted = np.polyval(np.polyfit(*doubled, 3), doubled[0])
    expected = (stats.spearmanr(*doubled)[0] + stats.pearsonr(fitted, doubled[1])[0]) / 2
    weights = np.r_[np.full(20, 2.0), np.ones(40)][None]
    assert ntire2023_rows(pred, mos, weights) == pytest.approx(expected)
    # Two distinct predictions have a line for a cubic, a constant has no correlation.
    assert ntire2023([1, 1, 2, 2], [1, 2, 3, 4]) == pytest.approx(2 / math.sqrt(5))
    assert math.isnan(ntire2023([1, 1, 1], [1, 2, 3]))
