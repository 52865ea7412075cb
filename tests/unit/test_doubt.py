"""Rules of doubt against closed forms, Monte Carlo, and what must hold for any labels."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill.doubt import expected_rank_change, judge

RULES = {"quantile": 0.7, "sigma": 1.5, "rank_change": 0.1}
# Whole hundredths: scores of people and teachers, and no denormal numbers.
_CENTS = st.integers(100, 500).map(lambda v: v / 100)
_SPREADS = st.integers(0, 200).map(lambda v: v / 100)


@st.composite
def _labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 30))
    return draw(arrays(float, n, elements=_CENTS)), draw(arrays(float, n, elements=_SPREADS))


def _phi(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_rank_change_of_three_labels_by_hand() -> None:
    found = expected_rank_change(np.array([1.0, 3.0, 2.0]), np.array([0.5, 0.0, 1.0]))
    assert found == pytest.approx([_phi(-2) + _phi(-4), 0.0, 2 * _phi(-1)])


def test_rank_change_equals_monte_carlo() -> None:
    rng = np.random.default_rng(0)
    score, std = rng.normal(3, 0.8, 40), rng.uniform(0.05, 0.8, 40)
    exact = expected_rank_change(score, std)
    draws = 20_000
    for i in range(0, 40, 7):
        others = np.sort(np.delete(score, i))
        moved = np.searchsorted(others, rng.normal(score[i], std[i], draws))
        change = np.abs(moved - np.searchsorted(others, score[i]))
        error = change.std() / math.sqrt(draws)
        assert abs(change.mean() - exact[i]) < 5 * error + 1e-9


def test_rank_change_of_equal_scores_and_of_unknown_spreads() -> None:
    found = expected_rank_change(np.full(5, 3.0), np.array([1.0, 0.1, 0.0, np.nan, 9.0]))
    np.testing.assert_allclose(found, [2, 2, 0, np.nan, 2])
    assert expected_rank_change(np.array([]), np.array([])).shape == (0,)


def test_rank_change_of_many_labels_is_near_the_exact_one_in_bounded_memory() -> None:
    rng = np.random.default_rng(1)
    score, std = rng.normal(3, 0.8, 3000), np.abs(rng.normal(0, 0.3, 3000))
    exact = expected_rank_change(score, std, atoms=3000)
    tracemalloc.start()
    coarse = expected_rank_change(score, std, atoms=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.abs(coarse - exact).max() < 3000 / 300
    assert peak < 60e6  # all at once would be 3000 * 3000 * 8 bytes several times over


@given(_labels(), st.randoms())
def test_order_makes_no_difference(labels: tuple[np.ndarray, np.ndarray], random: object) -> None:
    score, std = labels
    order = list(range(len(score)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for rule, threshold in RULES.items():
        for action in ("drop", "weigh"):
            weight = judge(score, std, rule, action, threshold).weight
            shuffled = judge(score[order], std[order], rule, action, threshold).weight
            np.testing.assert_allclose(shuffled, weight[order], atol=1e-9)


@given(_labels())
def test_weights_are_bounded_and_no_larger_for_a_larger_spread(
    labels: tuple[np.ndarray, np.ndarray],
) -> None:
    score, std = labels
    for rule, threshold in RULES.items():
        for action in ("drop", "weigh"):
            told = judge(score, std, rule, action, threshold)
            assert ((told.weight >= 0) & (told.weight <= 1)).all()
            assert (told.weight[std == 0] == 1).all()
            by_measure = told.weight[np.argsort(told.measure, kind="stable")]
            assert (np.diff(by_measure) <= 1e-12).all()
    # The same label with a larger spread moves at least as far.
    wider = expected_rank_change(score, std + 0.1)
    assert (wider >= expected_rank_change(score, std) - 1e-9).all()
    assert (wider <= (len(score) - 1) / 2 + 1e-9).all()


@given(_labels())
def test_units_make_no_difference(labels: tuple[np.ndarray, np.ndarray]) -> None:
    score, std = labels
    for rule, threshold in RULES.items():
        plain = judge(score, std, rule, "weigh", threshold).weight
        scaled = judge(64 * score, 64 * std, rule, "weigh", threshold).weight  # exact in binary
        np.testing.assert_allclose(scaled, plain, atol=1e-9)


def test_limits_by_hand() -> None:
    std = np.array([0.1, 0.2, 0.3, 0.4, 1.0])
    score = np.arange(5.0)
    told = judge(score, std, "quantile", "drop", 0.75)
    assert (told.limit, told.weight.tolist()) == (pytest.approx(0.4), [1, 1, 1, 1, 0])
    told = judge(score, std, "sigma", "drop", 1.3)
    assert (told.limit, told.weight.tolist()) == (pytest.approx(0.39), [1, 1, 1, 0, 0])
    told = judge(score, std, "sigma", "weigh", 1.0)
    np.testing.assert_allclose(told.weight, 1 / (1 + (std / 0.3) ** 2))
    assert told.weight[2] == pytest.approx(0.5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("action", ["drop", "weigh"])
def test_labels_without_a_spread_are_kept(rule: str, action: str) -> None:
    std = np.array([np.nan, 0.1, np.nan, 5.0])
    told = judge(np.arange(4.0), std, rule, action, RULES[rule] if rule != "sigma" else 1.0)
    assert told.weight[0] == told.weight[2] == 1
    assert np.isnan(told.measure[[0, 2]]).all()
    assert told.weight[3] < 1
    none = judge(np.arange(4.0), np.full(4, np.nan), rule, action, 0.5)
    assert none.weight.tolist() == [1, 1, 1, 1]


def test_a_limit_of_zero_leaves_those_who_agree() -> None:
    std = np.array([0.0, 0.0, 0.0, 0.2])
    for action in ("drop", "weigh"):
        weight = judge(np.arange(4.0), std, "sigma", action, 3.0).weight
        assert weight.tolist() == [1, 1, 1, 0]


def test_a_rule_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such rule: 'median'"):
        judge(np.ones(2), np.ones(2), "median", "drop", 1)
