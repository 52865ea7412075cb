"""The weighted sum of loss terms in one process."""

import math

import pytest
import torch

from distill.errors import ConfigError
from distill.losses import (
    LossTerm,
    WeightedLoss,
    distribution_loss,
    fidelity_loss,
    huber_loss,
    mse_loss,
    plcc_loss,
    srcc_loss,
)
from tests.helpers.loss_terms import CENTRES, bin_logits


def test_weighted_loss_adds_its_terms() -> None:
    pred, mos = torch.randn(2, 16, generator=torch.Generator().manual_seed(4))
    weight = torch.arange(16.0)
    loss = WeightedLoss(
        {"plcc": 1.0, "srcc": 2, "mse": 0.1, "fidelity": 0.5, "rank_hinge": 0.0},
        srcc_tau=0.3,
        srcc_eps=1e-3,
        floor=0.1,
        fidelity_sigma=0.5,
        fidelity_hard=True,
    )
    pred = pred.clone().requires_grad_()
    total, parts = loss(pred, mos, weight)
    expected = {
        "plcc": plcc_loss(pred, mos, weight=weight, floor=0.1),
        "srcc": srcc_loss(pred, mos, weight=weight, tau=0.3, eps=1e-3, floor=0.1),
        "mse": mse_loss(pred, mos, weight=weight),
        "fidelity": fidelity_loss(pred, mos, weight=weight, sigma=0.5, hard=True),
    }
    assert parts == expected
    assert not any(part.requires_grad for part in parts.values()) and total.requires_grad
    factors = {"plcc": 1.0, "srcc": 2.0, "mse": 0.1, "fidelity": 0.5}
    assert total.item() == pytest.approx(sum(factors[k] * v.item() for k, v in expected.items()))

    loss.srcc_tau = 0.1
    assert loss(pred, mos, weight)[1]["srcc"] != parts["srcc"]
    assert loss(pred, mos)[1]["mse"] == mse_loss(pred, mos)


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({"plc": 1.0}, {}, "loss term 'plc' is unknown: did you mean 'plcc'?"),
        ({"zzz": 1.0}, {}, "known are plcc, srcc, mse, huber, rank_hinge, rank_within"),
        ({"mse": -0.1}, {}, "'mse' must be a finite number >= 0, got -0.1"),
        ({"mse": math.nan}, {}, "'mse' must be a finite number >= 0, got nan"),
        ({"mse": "1"}, {}, "'mse' must be a finite number >= 0, got '1'"),
        ({"mse": True}, {}, "'mse' must be a finite number >= 0, got True"),
        ({}, {}, "no loss term weighs more than 0"),
        ({"mse": 0}, {}, "no loss term weighs more than 0"),
        ({"srcc": 1}, {"srcc_tau": 0.0}, "srcc_tau must be a finite number > 0, got 0.0"),
        ({"srcc": 1}, {"floor": -1.0}, "floor must be a finite number > 0"),
        ({"srcc": 1}, {"fidelity_sigma": math.inf}, "fidelity_sigma must be a finite number > 0"),
    ],
)
def test_weighted_loss_refuses(terms, options, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        WeightedLoss(terms, **options)
    assert message in str(error.value)


def test_a_mix_holds_terms_and_options() -> None:
    mix = {"srcc": 1.0, "distribution": 0.5, "srcc_tau": 0.3, "fidelity_hard": 1.0,
           "distribution_sigma": 0.4, "huber_delta": 2.0}  # fmt: skip
    loss = WeightedLoss.of(mix)
    assert [term.name for term in loss.terms] == ["srcc", "distribution"] and loss.needs_bins
    assert (loss.srcc_tau, loss.fidelity_hard, loss.distribution_sigma) == (0.3, 1.0, 0.4)
    assert loss.huber_delta == 2.0 and loss.srcc_eps == 1e-2
    assert not WeightedLoss.of({"srcc": 1.0, "distribution": 0.0}).needs_bins
    for bad, message in (
        ({"srcc": 1.0, "srcc_tua": 0.3}, "'srcc_tua' is unknown: did you mean 'srcc_tau'?"),
        ({"srcc": 1.0, "srcc_tau": -1.0}, "srcc_tau must be a finite number > 0"),
        ({"fidelity": 1.0, "fidelity_hard": 0.5}, "fidelity_hard must be 0 or 1, got 0.5"),
        ({"srcc_tau": 0.3}, "no loss term weighs more than 0"),
    ):
        with pytest.raises(ConfigError) as error:
            WeightedLoss.of(bad)
        assert message in str(error.value)


def test_options_reach_their_terms() -> None:
    pred, mos = torch.randn(2, 16, generator=torch.Generator().manual_seed(4))
    bins = bin_logits(pred), CENTRES
    loss = WeightedLoss(
        {"huber": 1.0, "distribution": 1.0}, huber_delta=0.2, distribution_sigma=0.9
    )
    total, parts = loss(pred, mos, bins=bins)
    assert parts["huber"] == huber_loss(pred, mos, delta=0.2)
    expected = distribution_loss(*bins[:1], mos, CENTRES, sigma=0.9)
    torch.testing.assert_close(parts["distribution"], expected)
    total, parts = loss(pred, mos)
    assert list(parts) == ["huber"] and total == parts["huber"]  # a score alone has no bins


def test_loss_term_is_a_checked_pair() -> None:
    assert LossTerm("mse", 0.5) == LossTerm(name="mse", weight=0.5)
    with pytest.raises(ConfigError):
        LossTerm("mse", -1)
