"""Schedules, parameter groups, and samples without influence."""

from pathlib import Path

import pytest
import torch
from torch import nn

from distill.config import TrainingConfig
from distill.data.dataset import Batch
from distill.errors import ConfigError
from distill.losses import WeightedLoss
from distill.training import QualityModule, WarmupCosine, make_trainer, parameter_groups
from students.frames import FramesStudent


def _student(**options: object) -> FramesStudent:
    return FramesStudent(
        "test_efficientnet", num_frames=2, size=64, short_side=64, grid=2, hidden=8,
        weights="none", **options,
    )  # fmt: skip


def test_schedule_rises_linearly_then_follows_half_a_cosine() -> None:
    schedule = WarmupCosine(steps=100, warmup=0.1)
    assert [schedule(k) for k in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    for step in range(10, 100):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        reference.step()
    assert schedule(100) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.99)])
def test_schedule_of_few_steps_is_finite_and_never_above_one(steps: int, warmup: float) -> None:
    schedule = WarmupCosine(steps, warmup)
    assert all(0 <= schedule(k) <= 1 for k in range(steps + 2))
    assert schedule(0) > 0


def test_parameter_groups_split_by_origin_and_shape() -> None:
    model = _student()
    training = TrainingConfig(lr=1e-3, backbone_lr=1e-5, weight_decay=0.05)
    rates = {g["lr"] for g in parameter_groups(model, training)}
    assert rates == {1e-3}  # random weights are new weights
    model.tower.info = type(model.tower.info)("wheel", "x", "y")
    groups = {(g["lr"], g["weight_decay"]): g["params"] for g in parameter_groups(model, training)}
    assert set(groups) == {(1e-3, 0.05), (1e-3, 0.0), (1e-5, 0.05), (1e-5, 0.0)}
    tower = {id(p) for p in model.tower.parameters()}
    for (lr, decay), parameters in groups.items():
        assert all((id(p) in tower) == (lr == 1e-5) for p in parameters)
        assert all((p.ndim > 1) == (decay > 0) for p in parameters)
    everything = [p for g in groups.values() for p in g]
    assert len({id(p) for p in everything}) == len(everything) == len(list(model.parameters()))


def test_a_batch_of_broken_videos_moves_nothing() -> None:
    torch.manual_seed(0)
    module = QualityModule(_student(), WeightedLoss({"plcc": 1, "mse": 1}), TrainingConfig(), 0)
    module.log = module.log_dict = lambda *a, **k: None  # type: ignore[method-assign,assignment]
    none = torch.zeros(0)
    batch = Batch({}, none.long(), none, none, none.bool(), [], [], [(3, "broken.mp4: no video")])
    loss = module.training_step(batch, 0)
    loss.backward()
    assert float(loss) == 0
    assert all(float(p.grad.abs().max()) == 0 for p in module.parameters() if p.grad is not None)
    assert module.failed == {3: "broken.mp4: no video"}


@pytest.mark.parametrize("devices", [0, "many"])
def test_impossible_devices_are_named(tmp_path: Path, devices: object) -> None:
    training = TrainingConfig(accelerator="cpu", devices=devices)
    with pytest.raises(ConfigError, match=rf"training\.accelerator=cpu.*devices={devices}"):
        make_trainer(training, tmp_path, [])
