"""The switches of training, each held against what it says, on a fit of less than a second."""

import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from distill.bundle import read_weights
from distill.callbacks import MovingAverage, Patience, epoch_weights, mean_weights, save_weights
from distill.errors import ConfigError, Interrupted
from distill.options import TrainingConfig
from distill.training import SELECT, QualityModule
from students.frames import FramesStudent
from tests.helpers.toy_training import Toy, module_of, toy_fit

BATCHES = 6  # an epoch: 22 videos in batches of 4


def _trained(folder: Path) -> dict[str, Tensor]:
    """What a run keeps."""
    return read_weights(folder / "checkpoints" / "last.ckpt")


def _same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    assert found.keys() == expected.keys()
    return all(torch.equal(found[name], tensor) for name, tensor in expected.items())


class Recorder(pl.Callback):
    """Batches and gradients of every step, weights at its start, losses, and weights per epoch."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.losses: list[Tensor] = []
        self.epochs: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.steps.append({"batches": [], "state": deepcopy(module.state_dict())})
        self.steps[-1]["batches"].append(deepcopy(batch))

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        self.steps[-1]["gradients"] = [p.grad.clone() for p in module.parameters()]

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(outputs["loss"])

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.epochs.append(read_weights(Path(trainer.default_root_dir) / "checkpoints/last.ckpt"))


class Scripted(pl.Callback):
    """Validation values as given, by epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
        def told(module: QualityModule) -> None:
            module.agreement.reset()
            module.log(SELECT, torch.tensor(values[module.current_epoch]))

        monkeypatch.setattr(QualityModule, "on_validation_epoch_end", told)


def _without_dropout() -> Toy:
    torch.manual_seed(3)
    model = Toy()
    model.drop.p = 0.0
    return model


def test_accumulated_gradients_are_the_mean_over_the_batches_of_a_step(tmp_path: Path) -> None:
    seen = Recorder()
    toy_fit(tmp_path, _without_dropout(), accumulate=4, epochs=1, callbacks=[seen])
    assert [len(step["batches"]) for step in seen.steps] == [4, 2]  # the last ones are a step too
    for step in seen.steps:
        module = module_of(TrainingConfig(), _without_dropout())
        module.load_state_dict(step["state"])
        losses = []
        for batch in step["batches"]:
            total, _ = module.loss(module.model(batch.views).score, batch.target, batch.weight)
            losses.append(total)
        expected = torch.autograd.grad(torch.stack(losses).mean(), list(module.parameters()))
        for gradient, reference in zip(step["gradients"], expected, strict=True):
            torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-6)


def test_schedule_and_average_count_steps_of_the_optimiser(tmp_path: Path) -> None:
    _, trainer = toy_fit(tmp_path, accumulate=4, epochs=3, ema_decay=0.5)
    assert trainer.global_step == 3 * 2
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    (average,) = [c for c in trainer.callbacks if isinstance(c, MovingAverage)]  # type: ignore[attr-defined]
    assert average._average_model is not None
    assert int(average._average_model.n_averaged) == 6


@pytest.mark.parametrize(("asked", "used"), [(0.999, 1 - 1 / 12), (0.9, 0.9)])
def test_an_average_reaches_over_two_thirds_of_a_short_training_at_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, asked: float, used: float
) -> None:
    seen: list[Tensor] = []
    end = QualityModule.on_train_batch_end

    def noted(self: QualityModule, *args: Any) -> None:
        end(self, *args)
        seen.append(next(self.model.parameters()).detach().clone().double())

    caplog.set_level("INFO", "distill.callbacks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QualityModule, "on_train_batch_end", noted)
        _, trainer = toy_fit(tmp_path, epochs=3, ema_decay=asked)
    (average,) = [c for c in trainer.callbacks if isinstance(c, MovingAverage)]  # type: ignore[attr-defined]
    assert len(seen) == 3 * BATCHES == 18
    expected = seen[0]
    for weights in seen[1:]:
        expected = used * expected + (1 - used) * weights
    kept = next(average.averaged.model.parameters()).detach().double()
    torch.testing.assert_close(kept, expected, rtol=1e-5, atol=1e-7)
    assert ("training.ema_decay=0.999 averages over 1000 steps" in caplog.text) == (asked > used)


def test_a_run_does_not_go_on_with_another_number_of_processes(tmp_path: Path) -> None:
    toy_fit(tmp_path, epochs=1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["processes"] == 1
    torch.save(checkpoint | {"processes": 4}, last)
    with pytest.raises(
        ConfigError, match=r"began with 4 processes, and now there are 1.*devices=4"
    ):
        toy_fit(tmp_path, epochs=2, resume=True)
    del checkpoint["processes"]  # of an older version
    torch.save(checkpoint, last)
    _, trainer = toy_fit(tmp_path, epochs=2, resume=True)
    assert trainer.global_step == 2 * BATCHES


def test_batches_of_one_step_have_dropout_masks_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    step = QualityModule.training_step

    def noted(self: QualityModule, batch: Any, batch_idx: int) -> Tensor:
        seeds.append(torch.initial_seed())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(QualityModule, "training_step", noted)
    toy_fit(tmp_path, accumulate=3, epochs=2)
    assert len(set(seeds)) == len(seeds) == 2 * BATCHES


SWITCHES: dict[str, dict[str, Any]] = {
    "accumulate": {"accumulate": 4},
    "accumulate and ema": {"accumulate": 4, "ema_decay": 0.6},
    "average_last": {"average_last": 2, "ema_decay": 0.6},
    "patience": {"patience": 1, "epochs": 6},
    "all": {"accumulate": 2, "average_last": 2, "patience": 2, "ema_decay": 0.6, "epochs": 5},
}


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("at", [0, 1, 4, BATCHES - 1, BATCHES, BATCHES + 2, 2 * BATCHES + 3])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    options = SWITCHES[name]
    Scripted(monkeypatch, [0.1, 0.3, 0.2, 0.2, 0.1, 0.5])
    _, whole = toy_fit(tmp_path / "whole", **options)
    start = QualityModule.on_train_batch_start

    def hit(self: QualityModule, batch: Any, batch_idx: int) -> None:
        if self.current_epoch * BATCHES + batch_idx == at:
            os.kill(os.getpid(), signal.SIGTERM)
        start(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(QualityModule, "on_train_batch_start", hit)
        with pytest.raises(Interrupted):
            toy_fit(tmp_path / "broken", **options)
    _, resumed = toy_fit(tmp_path / "broken", resume=True, **options)
    assert resumed.global_step == whole.global_step
    assert _same(_trained(tmp_path / "broken"), _trained(tmp_path / "whole"))
    kept = [epoch_weights(tmp_path / run / "checkpoints") for run in ("broken", "whole")]
    assert [f.name for f in kept[0]] == [f.name for f in kept[1]]
    assert len(kept[0]) == options.get("average_last", 0)
    for mine, theirs in zip(*kept, strict=True):
        assert _same(read_weights(mine), read_weights(theirs))


KILLED = """
import os, signal, sys
from pathlib import Path
from distill.training import QualityModule
from tests.helpers.toy_training import toy_fit

start = QualityModule.on_train_batch_start
def hit(self, batch, batch_idx):
    if self.current_epoch * 6 + batch_idx == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    start(self, batch, batch_idx)
QualityModule.on_train_batch_start = hit
toy_fit(Path(sys.argv[1]), **eval(sys.argv[3]))
"""


def test_sigkill_costs_no_average_no_counter_and_no_half_step(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    options = {**SWITCHES["all"], "accumulate": 4, "checkpoint_every": 1e-6}
    toy_fit(tmp_path / "whole", **options)
    words = [sys.executable, "-c", KILLED, str(tmp_path / "broken"), "15", str(options)]
    done = subprocess.run(words, cwd=pytestconfig.rootpath, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    state = torch.load(tmp_path / "broken/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] == 4  # 15 is within the step that began at batch 12
    toy_fit(tmp_path / "broken", resume=True, **options)
    assert _same(_trained(tmp_path / "broken"), _trained(tmp_path / "whole"))
    kept = [epoch_weights(tmp_path / run / "checkpoints") for run in ("broken", "whole")]
    assert _same(mean_weights(kept[0]), mean_weights(kept[1]))


def test_patience_stops_after_as_many_validations_without_a_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scripted(monkeypatch, [0.1, 0.5, float("nan"), 0.5, 0.9, 0.9, 0.9])
    _, trainer = toy_fit(tmp_path, epochs=7, patience=2)
    assert trainer.global_step == 4 * BATCHES  # NaN and a tie with the best are no better
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 1
    # The rate is where a run of seven epochs has it, not where one of four would end.
    assert trainer.optimizers[0].param_groups[0]["lr"] > 0.2 * 0.02
    _, again = toy_fit(tmp_path, resume=True, epochs=7, patience=2)  # killed after its last epoch
    assert again.global_step == 4 * BATCHES


def test_without_patience_every_epoch_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scripted(monkeypatch, [0.5, 0.4, 0.3, 0.2])
    _, trainer = toy_fit(tmp_path, epochs=4)
    assert trainer.global_step == 4 * BATCHES
    assert not [c for c in trainer.callbacks if isinstance(c, Patience)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("ema_decay", [0.0, 0.7])
def test_the_mean_is_of_what_each_of_the_last_epochs_would_have_kept(
    tmp_path: Path, ema_decay: float
) -> None:
    seen = Recorder()
    module, _ = toy_fit(
        tmp_path, epochs=5, average_last=3, ema_decay=ema_decay, callbacks=[seen]
    )  # fmt: skip
    files = epoch_weights(tmp_path / "checkpoints")
    assert [file.name for file in files] == [f"epoch-{n:04}.ckpt" for n in (2, 3, 4)]
    save_weights(mean_weights(files), tmp_path / "mean.ckpt")
    mean = read_weights(tmp_path / "mean.ckpt")
    for name, tensor in mean.items():
        each = [epoch[name].double().numpy() for epoch in seen.epochs[2:]]
        reference = np.mean(each, axis=0)
        if not tensor.is_floating_point():
            reference = each[-1]
        np.testing.assert_allclose(tensor.numpy(), reference, rtol=1e-6, atol=1e-7)
    assert mean["norm.num_batches_tracked"].dtype == torch.int64
    assert not torch.equal(mean["head.weight"], seen.epochs[-1]["head.weight"])
    module.model.load_state_dict(mean, strict=True)


def test_weights_that_stand_still_keep_every_bit_in_a_mean(tmp_path: Path) -> None:
    still, files = torch.randn(1000), []
    for number in range(3):
        files.append(tmp_path / f"{number}.ckpt")
        save_weights({"still": still, "moves": torch.full((2,), float(number))}, files[-1])
    mean = mean_weights(files)
    assert torch.equal(mean["still"], still)
    assert torch.equal(mean["moves"], torch.ones(2))


def test_bfloat16_training_has_float32_losses_and_no_ties(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FramesStudent(
        "test_efficientnet", num_frames=2, size=64, short_side=64, grid=2, hidden=8, weights="none"
    )
    inside: list[torch.dtype] = []
    model.tower.register_forward_hook(lambda *_: inside.append(torch.get_autocast_dtype("cpu")))
    scores: list[Tensor] = []
    model.register_forward_hook(lambda _, __, found: scores.append(found.score.detach()))
    seen = Recorder()
    before = deepcopy(model.state_dict())
    toy_fit(tmp_path, model, epochs=1, precision="bf16-mixed", callbacks=[seen], lr=1e-3)
    assert set(inside) == {torch.bfloat16} and torch.is_autocast_enabled("cpu") is False
    assert {loss.dtype for loss in seen.losses} == {torch.float32}
    assert all(torch.isfinite(loss) for loss in seen.losses)
    assert {score.dtype for score in scores} == {torch.float32}
    trained = scores[0]
    assert not torch.equal(trained, trained.bfloat16().float())  # more than 8 bits of them
    after = _trained(tmp_path)
    assert {t.dtype for t in after.values() if t.is_floating_point()} == {torch.float32}
    assert not _same(after, {name: before[name] for name in after})
