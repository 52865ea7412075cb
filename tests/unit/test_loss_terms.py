"""The adaptive ranks, Huber's loss and the distribution against loops, scipy and torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import norm
from torch import Tensor

from distill.losses import (
    distribution_loss,
    huber_loss,
    rank_across_loss,
    rank_within_loss,
)
from tests.helpers.loss_terms import CENTRES, bin_logits


def doubles(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def by_loop(pred, mos, weight, group, within: bool) -> float:
    total = share = 0.0
    for i in range(len(pred)):
        for j in range(len(pred)):
            if i != j and (group[i] == group[j]) == within:
                gap = mos[i] - mos[j]
                short = max(0.0, abs(gap) - np.sign(gap) * (pred[i] - pred[j]))
                total += weight[i] * weight[j] * short
                share += weight[i] * weight[j]
    return total / share if share else 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.randoms(use_true_random=False))
def test_adaptive_ranks_against_a_loop_over_pairs(n: int, random) -> None:
    pred = [random.randint(-8, 8) / 4 for _ in range(n)]
    mos = [random.randint(0, 6) / 2 for _ in range(n)]
    weight = [random.randint(0, 3) for _ in range(n)]
    group = [random.randint(0, 2) for _ in range(n)]
    codes = 2**62 + torch.tensor(group)  # neighbours are one number in float64, too
    for term, within in ((rank_within_loss, True), (rank_across_loss, False)):
        found = term(doubles(pred), doubles(mos), weight=doubles(weight), group=codes)
        expected = by_loop(pred, mos, weight, group, within)
        assert found.item() == pytest.approx(expected, abs=1e-12)


def test_adaptive_ranks_pin_the_scale_from_below_only() -> None:
    mos, group = doubles([1.0, 2.0, 4.0, 4.0]), torch.zeros(4, dtype=torch.int64)
    mean = (1 + 3 + 3 + 2 + 2 + 0) / 6  # difference of a pair
    for factor, expected in ((-1, 2 * mean), (0, mean), (0.5, mean / 2), (1, 0), (3, 0)):
        found = rank_within_loss(factor * mos + 7, mos, group=group)
        assert found.item() == pytest.approx(expected)


def test_rows_of_unknown_contents_are_contents_of_their_own() -> None:
    pred, mos = doubles([1.0, 3.0, 2.0]), doubles([3.0, 1.0, 2.0])
    assert rank_within_loss(pred, mos).item() == 0
    alone = rank_across_loss(pred, mos, group=torch.arange(3))
    assert rank_across_loss(pred, mos) == alone and alone.item() > 1
    with pytest.raises(ValueError, match=r"flat tensors \(B,\).* group \(3, 1\)"):
        rank_within_loss(pred, mos, group=torch.zeros(3, 1))


@pytest.mark.parametrize("delta", [0.1, 1.0, 5.0])
def test_huber_is_torchs(delta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    pred, mos = 2 * torch.randn(2, 40, generator=generator)
    expected = torch.nn.functional.huber_loss(pred, mos, delta=delta)
    torch.testing.assert_close(huber_loss(pred, mos, delta=delta), expected)
    weight = torch.arange(40) % 3
    each = torch.nn.functional.huber_loss(pred, mos, delta=delta, reduction="none")
    expected = (weight * each).sum() / weight.sum()
    torch.testing.assert_close(huber_loss(pred, mos, weight=weight, delta=delta), expected)


def divergence(logits, mos: float, s: float, centres) -> float:
    """By scipy, bin by bin."""
    said, total = log_softmax(logits), 0.0
    edges = [-math.inf, *(np.array(centres[1:]) + np.array(centres[:-1])) / 2, math.inf]
    for k in range(len(centres)):
        mass = norm.cdf(edges[k + 1], mos, s) - norm.cdf(edges[k], mos, s)
        total += mass * (math.log(mass) - said[k]) if mass > 0 else 0.0
    return total


def test_distribution_against_scipy() -> None:
    rng = np.random.default_rng(0)
    centres = [1.0, 2.0, 2.5, 4.0, 5.0]  # a mean width of 1
    logits, weight = rng.normal(size=(6, 5)), [1.0, 2.0, 0.5, 1.0, 3.0, 1.0]
    mos, error = [2.2, 1.0, 4.9, 7.0, -1.0, 3.1], [0.8, math.nan, 0.01, 2.0, math.nan, 0.6]
    for sigma, unknown in ((None, 1.0), (0.7, 0.7)):
        spread = [unknown if math.isnan(e) else max(e, 0.5) for e in error]
        each = [divergence(*row, centres) for row in zip(logits, mos, spread, strict=True)]
        found = distribution_loss(
            doubles(logits), doubles(mos), doubles(centres),
            weight=doubles(weight), sigma=sigma, error=doubles(error),
        )  # fmt: skip
        assert found.item() == pytest.approx(np.average(each, weights=weight), rel=1e-9)


def test_distribution_of_a_perfect_model_costs_nothing_and_tells_the_label() -> None:
    centres = torch.arange(1.0, 17.0, dtype=torch.float64)
    worst = 0.0
    for mos in np.linspace(4, 13, 91):
        logits = torch.zeros(1, 16, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

        def closure(mos=mos, logits=logits, optimizer=optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = distribution_loss(logits, doubles([mos]), centres, error=doubles([0.0]))
            loss.backward()
            return loss

        optimizer.step(closure)
        assert 0 <= closure().item() < 1e-4
        worst = max(worst, abs((logits.detach().softmax(1) @ centres).item() - mos))
    # Half a bin's width is the least spread: there the expectation misses the label by 0.0023 of
    # a bin, and more only for labels beyond the bins.
    assert worst < 0.01


def test_distribution_drops_rows_without_weight_and_refuses_shapes() -> None:
    logits, mos = doubles([[0.0, 1.0, 2.0]] * 3), doubles([1.0, 2.0, math.nan])
    logits[2] = math.nan
    logits.requires_grad_()
    centres = doubles([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [math.nan] * 3])
    loss = distribution_loss(logits, mos, centres, weight=doubles([1.0, 1.0, 0.0]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad is not None and torch.equal(logits.grad[2], torch.zeros(3).double())
    with pytest.raises(ValueError, match=r"logits must be \(B, K\) with K >= 2"):
        distribution_loss(torch.zeros(3, 1), mos, torch.zeros(1))
    with pytest.raises(ValueError, match=r"flat tensors \(B,\)"):
        distribution_loss(torch.zeros(3, 2), mos[:2], torch.zeros(2))


def test_distribution_passes_gradcheck_of_logits() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 6, generator=generator).double().requires_grad_()
    options = {"weight": doubles([1, 0, 2, 1]), "error": doubles([0.3, 1, math.nan, 2])}
    mos, centres = doubles([1, 2, 3, 9]), torch.arange(6.0).double()
    assert torch.autograd.gradcheck(
        lambda x: distribution_loss(x, mos, centres, **options), [logits]
    )


def test_the_helper_of_other_tests_is_the_distribution_it_says() -> None:
    mos = doubles(np.linspace(-6, 6, 25))
    assert distribution_loss(bin_logits(mos), mos, CENTRES, sigma=0.5).item() < 2e-6
