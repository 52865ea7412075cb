"""Noisy labels weigh less: closed forms, and a fit that comes nearer to the truth."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from distill.data.dataset import Example
from distill.data.manifest import Row
from distill.label_noise import reliability, weigh_by_noise
from distill.losses import WeightedLoss, fidelity_loss, mse_loss

TABLE = Path("kvq.csv")


def _examples(mos: list[float], spread: list[float]) -> list[Example]:
    rows = [Row("a", Path("a"), m, s) for m, s in zip(mos, spread, strict=True)]
    return [Example(row, row.mos, weight=0.5) for row in rows]


def test_reliability_by_hand() -> None:
    # Variance of 1, 3, 5 is 8 / 3; the mean error variance (0 + 1 + 1) / 3, so true is 2.
    found = reliability(np.array([1.0, 3.0, 5.0]), np.array([0.0, 1.0, 1.0]))
    assert found.tolist() == pytest.approx([1, 2 / 3, 2 / 3])


def test_labels_of_unknown_error_get_the_mean_reliability_and_do_not_enter_the_estimate() -> None:
    found = reliability(np.array([1.0, 3.0, 5.0, 99.0]), np.array([0.0, 1.0, 1.0, np.nan]))
    assert found.tolist() == pytest.approx([1, 2 / 3, 2 / 3, 7 / 9])


def test_noise_beyond_all_variance_leaves_a_tenth() -> None:
    found = reliability(np.array([1.0, 3.0]), np.array([2.0, 0.1]))
    assert found.tolist() == pytest.approx([0.1 / 4.1, 0.1 / 0.11])


def test_equal_labels_and_labels_without_any_error_keep_their_weight() -> None:
    assert reliability(np.full(3, 2.0), np.array([0.0, 0.5, np.nan])).tolist() == [1, 1, 1]
    assert reliability(np.array([1.0, 2.0]), np.full(2, np.nan)).tolist() == [1, 1]


def test_examples_get_error_and_weight(caplog: pytest.LogCaptureFixture) -> None:
    examples = _examples([1.0, 3.0, 5.0], [0.0, 4.0, 4.0])
    assert weigh_by_noise(examples, 0.0, TABLE) == examples
    found = weigh_by_noise(examples, 0.25, TABLE)
    assert [e.error for e in found] == [0, 1, 1]
    assert [e.weight for e in found] == pytest.approx([0.5, 1 / 3, 1 / 3])
    silent = _examples([1.0, 3.0], [math.nan, math.nan])
    assert [e.weight for e in weigh_by_noise(silent, 0.25, TABLE)] == [0.5, 0.5]
    assert "kvq.csv: no mos_std, so training.label_noise=0.25 has no effect" in caplog.text


def test_fidelity_of_known_errors_against_scipy() -> None:
    pred, mos = torch.tensor([1.0, 2.5, 2.0]), torch.tensor([1.5, 2.0, 4.0])
    error = torch.tensor([0.3, math.nan, 0.4])
    s = [math.hypot(0.3, 0.7), 0.7, math.hypot(0.4, 0.7)]
    expected = 0.0
    for i, j in ((0, 1), (0, 2), (1, 2)):  # both orders of a pair cost the same
        scale = math.hypot(s[i], s[j])
        p, g = (norm.cdf((x[i] - x[j]).item() / scale) for x in (pred, mos))
        expected += (1 - math.sqrt(p * g) - math.sqrt((1 - p) * (1 - g))) / 3
    assert fidelity_loss(pred, mos, error=error, sigma=0.7).item() == pytest.approx(expected)
    assert fidelity_loss(mos, mos, error=error).item() == pytest.approx(0, abs=1e-6)
    unknown = torch.full((3,), math.nan)
    assert fidelity_loss(pred, mos, error=unknown) == fidelity_loss(pred, mos)


def test_a_label_of_known_error_never_pulls_more_than_one_without() -> None:
    # The members of a teacher may agree to 0.001 on what is 0.5 wrong.
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        mos = torch.randn(8, generator=generator, dtype=torch.float64)
        start = mos + 0.3 * torch.randn(8, generator=generator, dtype=torch.float64)
        pulls = []
        for error in (None, torch.full((8,), 1e-3), torch.full((8,), 1.0)):
            pred = start.clone().requires_grad_()
            fidelity_loss(pred, mos, error=error).backward()
            pulls.append(pred.grad.abs().sum().item())
        assert pulls[0] == pytest.approx(pulls[1], rel=1e-4) and pulls[2] < pulls[1]


def test_fidelity_drops_the_errors_of_samples_without_weight() -> None:
    pred, mos = torch.tensor([1.0, 9.0, 2.5, 2.0]), torch.tensor([1.5, math.nan, 2.0, 4.0])
    error, weight = torch.tensor([0.3, 8.0, 0.5, 0.4]), torch.tensor([1.0, 0.0, 1.0, 1.0])
    kept = weight > 0
    expected = fidelity_loss(pred[kept], mos[kept], error=error[kept])
    assert fidelity_loss(pred, mos, weight=weight, error=error) == expected
    total, parts = WeightedLoss({"fidelity": 2.0})(pred, mos, weight, error)
    assert parts["fidelity"] == expected and total == 2 * expected


def test_unanimous_opinions_have_a_finite_loss_and_gradient() -> None:
    pred = torch.tensor([1.0, 2.5, 2.5], requires_grad=True)
    mos = torch.tensor([4.0, 2.0, 2.0])
    loss = fidelity_loss(pred, mos, error=torch.zeros(3))
    loss.backward()
    assert math.isfinite(loss.item()) and bool(pred.grad.isfinite().all())
    with pytest.raises(ValueError, match="flat tensors"):
        fidelity_loss(pred, mos, error=torch.zeros(3, 1))


def _study(seed: int) -> tuple[torch.Tensor, torch.Tensor, list[Example]]:
    """Features, the true coefficients, and labels of very different noise."""
    rng = np.random.default_rng(seed)
    inputs, truth = rng.standard_normal((200, 8)), rng.standard_normal(8)
    spread = np.where(rng.random(200) < 0.5, 0.5, 10.0)
    mos = inputs @ truth + 0.25 * spread * rng.standard_normal(200)  # 16 raters
    examples = _examples(mos.tolist(), spread.tolist())
    return torch.tensor(inputs), torch.tensor(truth), weigh_by_noise(examples, 0.25, TABLE)


def _fit(loss: str, inputs: torch.Tensor, labels: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Coefficients that minimise the loss."""
    mos, weight, error = labels
    coefficients = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        pred = inputs @ coefficients
        if loss == "mse":
            value = mse_loss(pred, mos, weight=weight)
        else:
            value = fidelity_loss(pred, mos, weight=weight, error=error)
        value.backward()
        return value

    optimizer.step(closure)
    return coefficients.detach()


@pytest.mark.parametrize("loss", ["mse", "fidelity"])
def test_a_fit_that_knows_the_noise_is_nearer_to_the_truth(loss: str) -> None:
    blind, knowing = [], []
    for seed in range(5):
        inputs, truth, examples = _study(seed)
        mos = torch.tensor([e.target for e in examples], dtype=torch.float64)
        weight = torch.tensor([e.weight for e in examples], dtype=torch.float64)
        error = torch.tensor([e.error for e in examples], dtype=torch.float64)
        same = torch.ones_like(weight), torch.full_like(error, math.nan)
        blind.append((_fit(loss, inputs, (mos, *same)) - truth).norm().item())
        knowing.append((_fit(loss, inputs, (mos, weight, error)) - truth).norm().item())
    assert all(k < b for k, b in zip(knowing, blind, strict=True))
    assert sum(knowing) < 0.7 * sum(blind)
