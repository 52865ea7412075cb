"""Losses against closed forms, and their behaviour where batches are degenerate."""

import math
from itertools import permutations
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from distill.losses import (
    WeightedLoss,
    fidelity_loss,
    mse_loss,
    plcc_loss,
    rank_hinge_loss,
    srcc_loss,
)
from tests.helpers.loss_terms import CALLS

every_term = pytest.mark.parametrize("term", CALLS.values(), ids=CALLS.keys())


def doubles(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that correlate with their labels at 0.8."""
    rng = np.random.default_rng(seed)
    mos = rng.normal(size=n)
    return 0.8 * mos + 0.6 * rng.normal(size=n), mos


@pytest.mark.parametrize("n", [2, 3, 17, 200, 4096])
def test_plcc_loss_is_pearson(n: int) -> None:
    pred, mos = noisy(n, n)
    rho = pearsonr(pred, mos).statistic
    loss = plcc_loss(doubles(pred), doubles(mos))
    assert loss.item() == pytest.approx((1 - rho) / 2, abs=1e-12)
    # Offsets that would eat the digits of a float32 sum of squares.
    single = plcc_loss(torch.tensor(pred + 1e3).float(), torch.tensor(mos + 1e3).float())
    assert float(single) == pytest.approx((1 - rho) / 2, abs=1e-4)


def test_plcc_loss_relates_to_the_fields_form_as_documented() -> None:
    pred, mos = (doubles(x) for x in noisy(50, 0))
    z, y = ((x - x.mean()) / x.std(correction=0) for x in (pred, mos))
    rho = (z * y).mean()
    field = ((z - y).square().mean() / 4 + (rho * z - y).square().mean() / 4) / 2
    ours = plcc_loss(pred, mos)
    assert float(field) == pytest.approx(float((1 - rho) * (3 + rho) / 8), abs=1e-12)
    assert float(field) == pytest.approx(float(ours * (3 + rho) / 4), abs=1e-12)


def test_mse_loss_closed_form() -> None:
    pred, mos, weight = doubles([1, 2, 4]), doubles([1, 4, 1]), doubles([1, 1, 2])
    assert float(mse_loss(pred, mos)) == pytest.approx((0 + 4 + 9) / 3)
    assert float(mse_loss(pred, mos, weight=weight)) == pytest.approx((0 + 4 + 18) / 4)
    assert float(mse_loss(doubles([3.0]), doubles([1.0]))) == pytest.approx(4)


def test_rank_hinge_loss_closed_form() -> None:
    pred, mos = noisy(9, 1)
    mos[3] = mos[4]
    table = np.zeros((9, 9))
    for i, j in permutations(range(9), 2):
        table[i, j] = max(0.0, (pred[i] - pred[j]) * np.sign(mos[j] - mos[i]))
    expected = table.sum() / (9 * 8) / (1 + table.max())
    assert float(rank_hinge_loss(doubles(pred), doubles(mos))) == pytest.approx(expected)
    assert float(rank_hinge_loss(doubles(mos), doubles(mos))) == 0


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 0.4])
def test_fidelity_loss_closed_form(hard: bool, sigma: float) -> None:
    pred, mos = noisy(7, 2)
    mos[3] = mos[4]
    phi = NormalDist(sigma=sigma * math.sqrt(2)).cdf
    losses = []
    for i, j in permutations(range(7), 2):
        p, gap = phi(pred[i] - pred[j]), mos[i] - mos[j]
        g = (1 + np.sign(gap)) / 2 if hard else phi(gap)
        losses.append(1 - math.sqrt(p * g) - math.sqrt((1 - p) * (1 - g)))
    loss = fidelity_loss(doubles(pred), doubles(mos), sigma=sigma, hard=hard)
    assert loss.item() == pytest.approx(np.mean(losses), abs=1e-12)


def test_perfect_predictions_cost_nothing() -> None:
    mos = doubles([1.0, 2.5, 3.0, 4.9])
    for term in CALLS.values():
        assert float(term(mos, mos)) == pytest.approx(0, abs=1e-3)
        assert float(term(-mos, mos)) > 0.1


@every_term
def test_gradcheck(term) -> None:
    pred, mos = noisy(7, 5)
    weight = doubles([1, 0.5, 2, 0, 1, 3, 1])
    # soft_srcc takes its scale without gradient, which numeric differences would see: with so
    # large a floor the scale is constant.
    options = {"floor": 10.0, "tau": 0.05} if term is srcc_loss else {}
    inputs = doubles(pred).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: term(p, doubles(mos), weight=weight, **options), inputs
    )


@every_term
@pytest.mark.parametrize("shapes", [((4,), (4, 1)), ((4, 1), (4, 1)), ((4,), (3,)), ((), ())])
def test_shapes_that_would_broadcast_are_refused(term, shapes) -> None:
    pred, target = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"flat tensors \(B,\)"):
        term(pred, target)
    with pytest.raises(ValueError, match=r"flat tensors \(B,\)"):
        WeightedLoss({"mse": 1.0})(pred, target)


@every_term
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bad_weights_are_refused(term, bad: float) -> None:
    with pytest.raises(ValueError, match="finite and >= 0"):
        term(torch.arange(3.0), torch.arange(3.0), weight=torch.tensor([1, bad, 1]))
    with pytest.raises(ValueError, match=r"flat tensors \(B,\)"):
        term(torch.arange(3.0), torch.arange(3.0), weight=torch.ones(3, 1))


@every_term
def test_weight_zero_has_no_influence(term) -> None:
    pred, mos = (torch.tensor(x).float() for x in noisy(12, 7))
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5] * 3)
    keep = weight > 0
    few = pred[keep].clone().requires_grad_()
    expected = term(few, mos[keep], weight=weight[keep])
    expected.backward()

    pred[~keep], mos[~keep] = 1e6, math.nan
    pred[1] = math.nan
    every = pred.clone().requires_grad_()
    loss = term(every, mos, weight=weight)
    loss.backward()
    assert torch.equal(loss, expected)
    assert torch.equal(every.grad[keep], few.grad)
    assert torch.equal(every.grad[~keep], torch.zeros(3))


@every_term
def test_scaling_all_weights_changes_nothing(term) -> None:
    pred, mos = (doubles(x) for x in noisy(8, 8))
    weight = doubles([1, 2, 3, 1, 2, 3, 1, 2])
    plain = term(pred, mos, weight=weight)
    for factor in (1e-30, 1e30, 1e300):
        assert float(term(pred, mos, weight=weight * factor)) == pytest.approx(float(plain))
    assert float(term(pred, mos, weight=torch.full((8,), 7.0))) == pytest.approx(
        float(term(pred, mos))
    )


@pytest.mark.parametrize("term", [srcc_loss, plcc_loss, mse_loss])
def test_whole_weights_are_copies(term) -> None:
    pred, mos = (doubles(x) for x in noisy(9, 9))
    copies = torch.tensor([1, 2, 3, 1, 1, 2, 1, 1, 1])
    repeated = term(pred.repeat_interleave(copies), mos.repeat_interleave(copies))
    assert float(term(pred, mos, weight=copies)) == pytest.approx(float(repeated), abs=1e-12)


@every_term
@pytest.mark.parametrize("kept", [0, 1])
def test_too_few_samples_cost_nothing_but_keep_the_graph(term, kept: int) -> None:
    for n in {kept, 3}:  # by size, and by weight
        pred = torch.full((n,), 2.0, requires_grad=True)
        weight = (torch.arange(n) < kept).float()
        loss = term(pred, torch.full((n,), 2.0), weight=weight)
        loss.backward()
        exact = 1e-5 if term is CALLS["distribution"] else 0  # as its logits are
        assert loss.item() == pytest.approx(0, abs=exact)
        torch.testing.assert_close(pred.grad, torch.zeros(n), rtol=0, atol=exact)


DEGENERATE = {
    "constant": [3.3] * 6,
    "nearly constant": [3.3, 3.3, 3.3, 3.3000002, 3.3, 3.3],
    "one apart": [3.3, 3.3, 3.3, 3.3, 3.3, 5.0],
    "rising": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "falling": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
    "huge": [1e12, -1e12, 0.0, 1e6, 1.0, 2.0],
    "tiny": [1e-12, -1e-12, 0.0, 1e-9, 2e-9, 3e-9],
}
LABELS = {"constant": [3.3] * 6, "tied": [1.0, 1, 2, 2, 3, 3], "plain": [2.0, 4.1, 1.3, 3.3, 5, 1]}


@every_term
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_batches_have_bounded_gradients(term, kind: str, labels: str) -> None:
    for n in (2, 3, 6):
        pred = torch.tensor(DEGENERATE[kind][-n:], requires_grad=True)
        target = torch.tensor(LABELS[labels][-n:], dtype=torch.float32)
        loss = term(pred, target)
        loss.backward()
        assert math.isfinite(loss.item()) and torch.isfinite(pred.grad).all()
        spread = target.std(correction=0).item() or 1.0
        bound = {
            srcc_loss: 2 / (0.1 * 1e-2 * 1e-1 * spread),
            plcc_loss: 1 / (2 * 1e-2 * spread),
            rank_hinge_loss: 1.0,
            fidelity_loss: 1.0,
        }.get(term, 2e13)
        assert float(pred.grad.abs().max()) <= bound
        if labels == "constant" and term in (srcc_loss, plcc_loss):
            assert torch.equal(pred.grad, torch.zeros(n))
            assert loss.item() == {srcc_loss: 1.0, plcc_loss: 0.5}[term]


def test_constant_predictions_learn_without_clipping() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(256, 16)
    mos = inputs @ torch.randn(16) + 0.3 * torch.randn(256)
    head = torch.nn.Linear(16, 1)
    torch.nn.init.zeros_(head.weight)
    optimizer = torch.optim.Adam(head.parameters(), 1e-3)
    for _ in range(50):
        batch = torch.randint(256, (32,))
        loss = srcc_loss(head(inputs[batch]).squeeze(1), mos[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert spearmanr(head(inputs).detach().squeeze(1), mos).statistic > 0.97


@every_term
def test_nan_predictions_show(term) -> None:
    assert math.isnan(float(term(torch.tensor([1.0, math.nan, 3.0]), torch.arange(3.0))))


@every_term
def test_half_precision_is_computed_in_float32(term) -> None:
    pred, mos = (torch.tensor(x).float() for x in noisy(16, 4))
    plain = term(pred, mos)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(term(pred, mos), plain)
    half = pred.bfloat16()
    assert term(half, mos).dtype == torch.float32
    assert torch.equal(term(half, mos), term(half.float(), mos))
    assert term(pred, mos.double()).dtype == torch.float32


def test_targets_get_no_gradient() -> None:
    pred, mos = torch.arange(4.0).requires_grad_(), torch.arange(4.0).flip(0).requires_grad_()
    for term in CALLS.values():
        term(pred, mos).backward()
    assert mos.grad is None and pred.grad is not None


scores = st.lists(st.integers(-500, 500), min_size=2, max_size=12).map(lambda x: doubles(x) / 100)


@settings(max_examples=50)
@given(scores, st.randoms(use_true_random=False), st.floats(0.1, 50), st.floats(-9, 9))
def test_properties(pred: Tensor, random, factor: float, shift: float) -> None:
    n = len(pred)
    target = doubles([random.randint(0, 20) / 4 for _ in range(n)])
    weight = doubles([random.randint(0, 3) for _ in range(n)])
    order = torch.tensor(random.sample(range(n), n))
    for name, term in CALLS.items():
        loss = term(pred, target, weight=weight)
        upper = {"srcc": 2, "plcc": 1, "rank_hinge": 1, "fidelity": 1}.get(name, 400)
        assert -1e-9 <= loss.item() <= upper + 1e-9
        shuffled = term(pred[order], target[order], weight=weight[order])
        assert float(shuffled) == pytest.approx(loss.item(), abs=1e-9)
        if name != "distribution":  # its bins stay where they are
            both = term(pred + shift, target + shift, weight=weight)
            assert float(both) == pytest.approx(loss.item(), abs=1e-6)
        if name in ("srcc", "plcc"):  # without the floors: invariant to both scales
            moved = term(factor * pred + shift, 3 * target - 1, weight=weight, floor=1e-9)
            plain = term(pred, target, weight=weight, floor=1e-9)
            assert float(moved) == pytest.approx(float(plain), abs=1e-5)
