"""A student trained beside a teacher: stopped and resumed, and free of the teacher afterwards."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.bundle import Bundle, load_bundle
from distill.errors import ConfigError, Interrupted
from distill.training import QualityModule
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage

WORDS = [*STUDENT, *TRAINING, "labels=none", "training.epochs=2", "training.chunk=4"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher")
    run_stage("train_teacher", out, *TEACHER, *TRAINING, "training.epochs=1")
    return out / "bundle"


def test_a_guided_run_resumes_to_the_bit_and_leaves_no_teacher_behind(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*WORDS, f"guide.bundle={teacher}", "guide.score=0.5", "guide.features=0.5"]
    loaded: list[Path] = []

    def count(folder: Path) -> Bundle:
        loaded.append(folder)
        return load_bundle(folder)

    with monkeypatch.context() as patch:
        patch.setattr("distill.bundle.load_bundle", count)
        whole = run_stage("train_student", tmp_path / "whole", *words)
    assert loaded == [teacher]  # for the plan, and for each part of the training
    start = QualityModule.on_train_batch_start

    def hit(self: QualityModule, batch: object, batch_idx: int) -> None:
        if self.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        start(self, batch, batch_idx)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(QualityModule, "on_train_batch_start", hit)
        with pytest.raises(Interrupted):
            run_stage("train_student", tmp_path / "broken", *words)
    last = tmp_path / "broken" / "checkpoints" / "last.ckpt"
    state = torch.load(last, map_location="cpu", weights_only=True)
    assert state["global_step"] == 6
    extra = [key for key in state["state_dict"] if not key.startswith(("model.", "agreement"))]
    assert extra and all(key.startswith("guide.projections.") for key in extra)
    run_stage("train_student", tmp_path / "broken", *words, resumed=True)
    weights = [
        load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("whole", "broken")
    ]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-6)

    plain = run_stage("train_student", tmp_path / "plain", *WORDS)
    other = load_file(tmp_path / "plain" / "bundle" / "model.safetensors")
    assert other.keys() == weights[0].keys()
    assert any(not torch.equal(other[name], weights[0][name]) for name in other)
    assert (whole["gmacs"], whole["params_m"]) == (plain["gmacs"], plain["params_m"])
    guide, fingerprint = (
        json.loads((folder / "spec.json").read_text())
        for folder in (tmp_path / "whole" / "bundle", teacher)
    )
    assert guide["provenance"]["guide"] == fingerprint["fingerprint"]


def test_a_guide_that_sees_nothing_of_the_student_stops_a_dry_run(
    tmp_path: Path, teacher: Path
) -> None:
    words = [*WORDS, f"guide.bundle={teacher}", "guide.score=1", "dry_run=true"]
    assert run_stage("train_student", tmp_path / "dry", *words) == {}
    with pytest.raises(ConfigError, match=r"no view of this teacher.*\(2, 3, 32, 32\)"):
        run_stage(
            "train_student", tmp_path / "other", *words, "student.size=32", "student.short_side=32",
            "student.grid=1", "+budget=120",
        )  # fmt: skip
