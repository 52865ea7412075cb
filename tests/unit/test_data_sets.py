"""Two studies in one training: on one scale, compared within themselves, with a map between."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.data.dataset import Example
from distill.data.manifest import Row
from distill.data_sets import SetScales, on_scale
from distill.losses import TERMS, WeightedLoss, mse_loss
from tests.helpers.loss_terms import CENTRES, bin_logits


def test_labels_of_another_study_come_to_the_main_scale() -> None:
    row = Row("a", Path("a"))
    examples = [Example(row, target, 0.5, error=4.0) for target in (20.0, 60.0)]
    found = on_scale(examples, (40.0, 20.0), (3.0, 0.5), 2)
    assert [(e.target, e.error, e.weight, e.dataset) for e in found] == [
        (2.5, 0.1, 0.5, 2),
        (3.5, 0.1, 0.5, 2),
    ]


def test_a_new_map_changes_nothing_and_the_main_set_has_none() -> None:
    scales = SetScales(3, 3.1, 0.7)
    score, dataset = torch.randn(64), torch.arange(64) % 3
    torch.testing.assert_close(scales(score, dataset), score)
    torch.nn.init.normal_(scales.log_scale)
    torch.nn.init.normal_(scales.shift)
    moved = scales(score, dataset)
    assert torch.equal(moved[dataset == 0], score[dataset == 0])
    for number in (1, 2):
        a = scales.log_scale[number - 1].exp()
        b = 3.1 * (1 - a) + 0.7 * scales.shift[number - 1]
        of = dataset == number
        torch.testing.assert_close(moved[of], a * score[of] + b)


def test_the_map_learns_what_a_regression_finds() -> None:
    rng = np.random.default_rng(0)
    score = torch.tensor(rng.normal(3.0, 0.7, 60), dtype=torch.float64)
    dataset = torch.arange(60) % 2
    labels = torch.where(dataset == 1, 1.7 * score - 1.2, score)
    labels = labels + torch.tensor(0.1 * rng.standard_normal(60))
    of = dataset == 1
    slope, intercept = np.polyfit(score[of].numpy(), labels[of].numpy(), 1)
    scales = SetScales(2, 3.0, 0.7).double()
    optimizer = torch.optim.LBFGS(scales.parameters(), max_iter=200, line_search_fn="strong_wolfe",
                                  tolerance_grad=1e-10, tolerance_change=1e-14)  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = mse_loss(scales(score, dataset), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    a = scales.log_scale.exp().item()
    assert a == pytest.approx(slope, rel=1e-4)
    b = 3.0 * (1 - a) + 0.7 * scales.shift.item()
    assert b == pytest.approx(intercept, abs=1e-3)


def test_every_parameter_has_a_gradient_whatever_sets_a_batch_has() -> None:
    scales = SetScales(3, 3.0, 1.0)
    scales(torch.randn(4), torch.zeros(4, dtype=torch.int64)).sum().backward()
    for parameter in scales.parameters():
        assert parameter.grad is not None and not parameter.grad.any()


def _batch() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    pred, mos = torch.randn(2, 14, generator=generator)
    weight = 0.5 + torch.rand(14, generator=generator)
    error = 0.2 + torch.rand(14, generator=generator)
    return pred, mos, weight, error, torch.arange(14) % 3 // 2  # 10 of the main set, 4 others


@pytest.mark.parametrize("name", TERMS)
def test_terms_are_taken_of_each_set_and_weighted_by_its_share(name: str) -> None:
    pred, mos, weight, error, dataset = _batch()
    loss = WeightedLoss({name: 0.7})
    group, logits = torch.arange(14) // 5, bin_logits(pred)
    centres = CENTRES + 0.3 * dataset[:, None]
    expected = 0.0
    for number in (0, 1):
        of = dataset == number
        bins = logits[of], centres[of]
        _, parts = loss(pred[of], mos[of], weight[of], error[of], None, group[of], bins)
        expected += (weight[of].sum() / weight.sum() * parts[name]).item()
    total, parts = loss(pred, mos, weight, error, dataset, group, (logits, centres))
    assert parts[name].item() == pytest.approx(expected, rel=1e-5)
    assert total.item() == pytest.approx(0.7 * expected, rel=1e-5)
    if name not in ("mse", "huber", "distribution"):  # sums over videos, whoever stands beside
        together = loss(pred, mos, weight, error, None, group)[1][name].item()
        assert parts[name].item() != pytest.approx(together)


@pytest.mark.parametrize("name", ["plcc", "srcc"])
def test_the_level_of_another_study_says_nothing(name: str) -> None:
    pred, mos, weight, error, dataset = _batch()
    loss = WeightedLoss({name: 1.0})
    lifted = torch.where(dataset == 1, 5 * mos + 40, mos)
    before, after = (loss(pred, y, weight, error, dataset)[0] for y in (mos, lifted))
    torch.testing.assert_close(after, before)


def test_a_set_without_weight_or_with_one_video_costs_nothing() -> None:
    pred, mos, weight, error, dataset = _batch()
    loss = WeightedLoss({"plcc": 1.0, "mse": 1.0})
    silent = torch.where(dataset == 1, 0.0, weight)
    main = dataset == 0
    expected = loss(pred[main], mos[main], weight[main], error[main])[0]
    torch.testing.assert_close(loss(pred, mos, silent, error, dataset)[0], expected)
    lonely = torch.tensor([0] * 13 + [1])
    _, parts = loss(pred, mos, weight, error, lonely)
    share = (weight[:13].sum() / weight.sum()).item()
    alone = loss(pred[:13], mos[:13], weight[:13])[1]["plcc"].item()
    assert parts["plcc"].item() == pytest.approx(share * alone)


@pytest.mark.parametrize("bad", [float("nan"), -1.0, float("inf")])
def test_weights_that_are_none_are_refused_before_they_are_shared_out(bad: float) -> None:
    pred, mos, weight, error, dataset = _batch()
    weight[2] = bad
    with pytest.raises(ValueError, match="weight must be finite"):
        WeightedLoss({"mse": 1.0})(pred, mos, weight, error, dataset)
