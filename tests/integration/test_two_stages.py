"""Pseudo-labels first and then the MOS alone; shares of both in one batch."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.bundle import read_weights
from distill.data.manifest import read_manifest
from distill.errors import ConfigError, Interrupted
from distill.runs import unfinished
from distill.training import QualityModule
from tests.helpers.stages import STUDENT, TRAINING, run_stage

STAGES = ["finetune.epochs=2", "loss@finetune.loss=fast_vqa", "finetune.lr=1e-4"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, demo_manifest: Path) -> list[str]:
    """A student of the tiny demo and pseudo-labels of its pool, worst first."""
    table = tmp_path_factory.mktemp("labels") / "scores.csv"
    pool = read_manifest(demo_manifest).split("pool")
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "score"])
        writer.writerows((row.path, 1 + at / len(pool)) for at, row in enumerate(pool))
    labels = [f"labels='{table}'", "leak_check=none", "select.duplicates=none"]
    return [*STUDENT, *TRAINING, "training.epochs=2", *labels]


def _learned(monkeypatch: pytest.MonkeyPatch, kill_at: int = -1) -> list[list[bool]]:
    """Which examples of each step are pseudo-labelled; a SIGTERM before one of them."""
    seen: list[list[bool]] = []
    start = QualityModule.on_train_batch_start

    def watch(self: QualityModule, batch: object, batch_idx: int) -> None:
        if len(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGTERM)
        seen.append(batch.pseudo.tolist())  # type: ignore[attr-defined]
        start(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(QualityModule, "on_train_batch_start", watch)
    return seen


def test_two_stages_learn_from_what_they_say_and_outlive_a_kill(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        seen = _learned(patch)
        result = run_stage("train_student", tmp_path / "whole", *words, *STAGES)
    first = next(at for at, step in enumerate(seen) if not all(step))
    assert first > 0 and not any(any(step) for step in seen[first:])
    assert result["steps"] == len(seen)
    for name in ("stage_1", "stage_2"):
        assert (tmp_path / "whole" / "plots" / f"curves_{name}.png").is_file()
    whole = load_file(tmp_path / "whole" / "bundle" / "model.safetensors")
    kept = [
        read_weights(next((tmp_path / "whole" / name).glob("checkpoints/*.ckpt")))
        for name in ("stage_1", "stage_2")
    ]
    same = [all(torch.equal(whole[k], v) for k, v in state.items()) for state in kept]
    assert sum(same) == 1  # one of the stages, and they differ

    with monkeypatch.context() as patch:
        seen = _learned(patch, kill_at=first + 1)
        out = tmp_path / "train_student" / "broken"
        with pytest.raises(Interrupted, match="resume=true"):
            run_stage("train_student", out, *words, *STAGES)
        assert unfinished(tmp_path, "train_student") == out
        run_stage("train_student", out, *words, *STAGES, resumed=True)
        assert len(seen) == result["steps"]  # none was made twice
    broken = load_file(out / "bundle" / "model.safetensors")
    for key, value in whole.items():
        torch.testing.assert_close(broken[key], value, rtol=1e-5, atol=1e-6)


def test_every_batch_has_the_share_of_pseudo_labels(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _learned(monkeypatch)
    run_stage("train_student", tmp_path, *words, "training.pseudo_share=0.34")
    assert seen and all(step == [False] * 4 + [True] * 2 for step in seen)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            ["labels=none", *STAGES],
            "first stage learns from pseudo-labels and further tables, and there are",
        ),
        (["labels=none", "training.pseudo_share=0.5"], "there are no pseudo-labelled videos"),
        ([*STAGES, "training.pseudo_share=0.5"], "first stage learns from pseudo-labels alone"),
        (["finetune.first=some"], "finetune.first='some' is not a choice"),
        (["finetune.epochs=-1"], "finetune.epochs=-1 must be at least 0"),
        (["finetune.lr=0"], r"finetune\.lr=0"),
    ],
)
def test_impossible_plans_stop_before_training(
    words: list[str], tmp_path: Path, options: list[str], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        run_stage("train_student", tmp_path, *words, *options)
    assert not list(tmp_path.rglob("*.ckpt"))
