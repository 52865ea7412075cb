"""A run that was stopped, in whatever way, ends where an unbroken one does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.errors import Interrupted
from distill.runs import unfinished
from distill.training import QualityModule
from tests.helpers.stages import TEACHER, TRAINING, run_stage

BATCHES = 4  # per epoch: 21 labelled videos of the tiny demo in batches of 6
WORDS = [*TEACHER, *TRAINING]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("unbroken")
    run_stage("train_teacher", out, *WORDS)
    return load_file(out / "bundle" / "model.safetensors")


def _same(out: Path, expected: dict[str, torch.Tensor]) -> None:
    found = load_file(out / "bundle" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_same_seed_same_weights_and_another_seed_others(
    tmp_path: Path, unbroken: dict[str, torch.Tensor]
) -> None:
    run_stage("train_teacher", tmp_path / "again", *WORDS)
    _same(tmp_path / "again", unbroken)
    run_stage("train_teacher", tmp_path / "other", *WORDS, "seed=1")
    with pytest.raises(AssertionError):
        _same(tmp_path / "other", unbroken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, BATCHES - 1, BATCHES, 2 * BATCHES + 2])
def test_signal_then_resume(
    number: int,
    step: int,
    tmp_path: Path,
    unbroken: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(number)
    start = QualityModule.on_train_batch_start

    def hit(self: QualityModule, batch: object, batch_idx: int) -> None:
        if self.global_step == step:
            os.kill(os.getpid(), number)
        start(self, batch, batch_idx)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(QualityModule, "on_train_batch_start", hit)
        with pytest.raises(Interrupted, match="resume=true") as error:
            run_stage("train_teacher", tmp_path / "train_teacher" / "a", *WORDS)
    assert error.value.exit_code == 128 + number
    assert signal.getsignal(number) is before
    out = unfinished(tmp_path, "train_teacher")
    assert out == tmp_path / "train_teacher" / "a"
    state = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == step + 1
    run_stage("train_teacher", out, *WORDS, resumed=True)
    _same(out, unbroken)
    assert unfinished(tmp_path, "train_teacher") is None


def test_gradient_checkpointing_changes_no_weight_whether_resumed_or_not(
    tmp_path: Path, unbroken: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*WORDS, "training.gradient_checkpointing=true"]
    start = QualityModule.on_train_batch_start

    def hit(self: QualityModule, batch: object, batch_idx: int) -> None:
        assert all(member.net.grad_checkpointing for member in self.model.members.values())  # type: ignore[union-attr,operator]
        if self.global_step == BATCHES + 1 and not self.trainer.ckpt_path:
            os.kill(os.getpid(), signal.SIGTERM)
        start(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(QualityModule, "on_train_batch_start", hit)
    with pytest.raises(Interrupted):
        run_stage("train_teacher", tmp_path, *words)
    run_stage("train_teacher", tmp_path, *words, resumed=True)
    _same(tmp_path, unbroken)


KILLED = """
import os, signal, sys
from pathlib import Path
from distill.training import QualityModule
from tests.helpers.stages import TEACHER, TRAINING, run_stage

start = QualityModule.on_train_batch_start
def hit(self, batch, batch_idx):
    if self.global_step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    start(self, batch, batch_idx)
QualityModule.on_train_batch_start = hit
run_stage("train_teacher", Path(sys.argv[1]), *TEACHER, *TRAINING, "training.checkpoint_every=1e-6")
"""


def test_sigkill_loses_what_came_after_the_last_checkpoint_and_no_more(
    tmp_path: Path, unbroken: dict[str, torch.Tensor], pytestconfig: pytest.Config
) -> None:
    step = BATCHES + 2
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(step)],
        cwd=pytestconfig.rootpath, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == step  # checkpoint_every was next to nothing
    words = [*WORDS, "training.checkpoint_every=1e-6"]
    run_stage("train_teacher", tmp_path, *words, resumed=True)
    _same(tmp_path, unbroken)
