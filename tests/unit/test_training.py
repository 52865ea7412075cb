"""Schedules, parameter groups, and samples without influence."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import nn

from distill.data.dataset import Example, Sample, collate
from distill.data.manifest import Row
from distill.errors import ConfigError, TrainingError
from distill.losses import WeightedLoss, distribution_loss
from distill.optimiser import WarmupCosine, parameter_groups
from distill.options import TrainingConfig
from distill.training import QualityModule, make_trainer
from distill.weights import WeightsInfo
from students.frames import FramesStudent
from teachers.ensemble import TeacherEnsemble


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
    failed = [(3, "broken.mp4: no video")]
    batch = collate([Sample(3, Example(Row("a", Path("a"))), {}, error=failed[0][1])])
    assert batch.failed == failed
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


def test_averaging_keeps_integers_and_frozen_weights_to_the_bit(tmp_path: Path) -> None:
    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Parameter(torch.randn(1000), requires_grad=False)
            self.moving = nn.Parameter(torch.zeros(3))
            self.register_buffer("index", torch.arange(1000), persistent=False)

    trainer = make_trainer(TrainingConfig(ema_decay=0.95, accelerator="cpu"), tmp_path, [])
    (callback,) = [c for c in trainer.callbacks if isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
    net, expected = Net(), torch.zeros(3)
    frozen = net.frozen.clone()
    callback.setup(trainer, net, "fit")
    average = callback._average_model
    assert average is not None
    for step in range(30):
        net.moving.data += 1
        average.update_parameters(net)
        expected = net.moving.data.clone() if step == 0 else 0.95 * expected + 0.05 * net.moving
    assert torch.equal(average.module.index, torch.arange(1000))
    assert torch.equal(average.module.frozen, frozen)
    torch.testing.assert_close(average.module.moving.data, expected.data)


@pytest.mark.parametrize("epochs", range(1, 14))
@pytest.mark.parametrize("val_every", [1, 2, 4, 20])
def test_the_last_epoch_is_validated(tmp_path: Path, epochs: int, val_every: int) -> None:
    training = TrainingConfig(epochs=epochs, val_every=val_every, accelerator="cpu")
    every = make_trainer(training, tmp_path, []).check_val_every_n_epoch
    assert every is not None and every <= val_every and epochs % every == 0
    assert not any(epochs % n == 0 for n in range(every + 1, min(epochs, val_every) + 1))


def test_a_loss_that_is_no_number_stops_and_says_what_to_change() -> None:
    module = QualityModule(_student(), WeightedLoss({"mse": 1}), TrainingConfig(), 0)
    views = {n: torch.zeros(2, *v.shape, dtype=torch.uint8) for n, v in module.model.views.items()}
    rows = [Example(Row("a", Path("a")), target) for target in (1.0, float("inf"))]
    one = {name: view[0] for name, view in views.items()}
    batch = collate([Sample(at, example, one) for at, example in enumerate(rows)])
    with pytest.raises(TrainingError, match=r"the loss is (inf|nan) at step 0 .*training\.lr"):
        module.training_step(batch, 0)


def test_a_distribution_wants_bins_and_names_the_option() -> None:
    with pytest.raises(
        ConfigError, match=r"FramesStudent\) predicts only a score.*student\.bins=16"
    ):
        QualityModule(_student(), WeightedLoss({"distribution": 1}), TrainingConfig(), 0)


class _Binned(FramesStudent):
    @property
    def bin_centres(self) -> torch.Tensor:
        return torch.arange(5.0)


def test_bins_of_a_further_set_lie_where_its_scores_do() -> None:
    plain = _student()
    plain.__class__ = _Binned
    module = QualityModule(plain, WeightedLoss({"distribution": 1}), TrainingConfig(), 0, sets=2)
    assert module.scales is not None
    torch.nn.init.constant_(module.scales.shift, 0.5)
    rows = [Example(Row(n, Path(n)), 2.0, dataset=n == "b") for n in "ab"]
    batch = collate([Sample(at, example, {}) for at, example in enumerate(rows)])
    logits = torch.randn(2, 5)
    _, parts = module._loss(torch.zeros(2), batch, logits)
    centres = torch.arange(5.0)
    each = [
        distribution_loss(logits[k : k + 1], torch.tensor([2.0]), centres + 0.5 * k)
        for k in range(2)
    ]
    torch.testing.assert_close(parts["distribution"], sum(each) / 2)


def test_contents_of_a_batch_have_codes() -> None:
    rows = [Row("a", Path("a"), group="x"), Row("b", Path("b"), group="x"), Row("c", Path("c")),
            Row("d", Path("d")), Row("e", Path("e"), group="c")]  # fmt: skip
    batch = collate([Sample(at, Example(row), {}) for at, row in enumerate(rows)])
    assert batch.group.dtype == torch.int64 and batch.group[0] == batch.group[1]
    assert len(batch.group.unique()) == 4 and bool((batch.group >= 0).all())
    assert batch.to("cpu").group.tolist() == batch.group.tolist()
    again = collate([Sample(9, Example(rows[1]), {})])
    assert again.group[0] == batch.group[0]  # on any rank, on any day


def test_heads_keep_full_precision_under_autocast() -> None:
    torch.manual_seed(0)
    model = _student().eval()
    views = {
        n: torch.randint(0, 256, (64, *v.shape), dtype=torch.uint8) for n, v in model.views.items()
    }
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        score = model(views).score
    assert score.dtype == torch.float32
    assert len(score.unique()) == 64  # bfloat16 has 128 values in an octave: some would tie


def test_a_member_may_have_a_rate_of_its_own() -> None:
    toy = {"backbone": "test_efficientnet", "weights": "none", "trainable": True}
    view = {"kind": "key_frames", "num_frames": 1, "size": 64}
    own, other = {**toy, "view": view, "lr": 3e-6}, {**toy, "view": {**view, "num_frames": 2}}
    model = TeacherEnsemble({"own": own, "other": other, "still": {**own, "lr": 0.0}}, hidden=4)
    training = TrainingConfig(lr=1e-3, backbone_lr=1e-5, weight_decay=0.05)
    model.members["other"].info = WeightsInfo("wheel", "x", "y")
    groups = {(g["lr"], g["weight_decay"]): g["params"] for g in parameter_groups(model, training)}
    assert set(groups) == {(lr, decay) for lr in (3e-6, 1e-5, 1e-3) for decay in (0.05, 0.0)}
    for name, rate in (("own", 3e-6), ("other", 1e-5), ("still", 0.0)):
        member = {id(p) for p in model.members[name].parameters()}
        for (lr, decay), parameters in groups.items():
            assert any(id(p) in member for p in parameters) == (lr == rate)
            assert all((p.ndim > 1) == (decay > 0) for p in parameters)
    everything = [p for g in groups.values() for p in g]
    assert len({id(p) for p in everything}) == len(everything)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable": True, "lr": -1e-5}, "members.a: lr=-1e-05 must be at least 0"),
        ({"lr": 1e-5}, "members.a: lr=1e-05: the member is frozen; set trainable=true"),
    ],
)
def test_rates_that_say_nothing_are_refused(options: dict[str, object], message: str) -> None:
    view = {"kind": "key_frames", "num_frames": 1, "size": 64}
    toy = {"backbone": "test_efficientnet", "weights": "none", "view": view}
    with pytest.raises(ConfigError) as caught:
        TeacherEnsemble({"a": {**toy, **options}})
    assert message in str(caught.value)
