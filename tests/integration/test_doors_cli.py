"""The commands as a user types them, each a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from students.default import SWIN_T, default_student
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage

TOY = [w for w in STUDENT if w != "student=compact"]


def _run(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=root, capture_output=True, text=True, timeout=280,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture()
def root(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath


@pytest.mark.parametrize("budget", ["+budget=1", "budget=1"])
def test_over_budget_stops_before_training_and_says_what_fits(
    root: Path, tmp_path: Path, budget: str
) -> None:
    done = _run(root, "train_student.py", budget, DISTILL_OUTPUTS=str(tmp_path))
    assert done.returncode == 3
    assert "the budget is 1 GMACs" in done.stderr
    assert "student.num_frames=1 (" in done.stderr
    assert "NOT the Swin-T" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_sweep_goes_on_after_a_refused_budget(root: Path, tmp_path: Path) -> None:
    done = _run(
        root, "train_student.py", "-m", "+budget=0.001,20,120", "student=compact", *TOY,
        "labels=none", "dry_run=true", DISTILL_OUTPUTS=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.count("error:") == 1
    for budget in (20, 120):
        assert f"of {budget} GMACs a video" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("+budget=abc", "is not a number"),
        ("+bugdet=120", "did you mean budget"),
        ("student.framess=8", "student.num_frames"),
        ("--frames", "unknown option '--frames'"),
    ],
)
def test_bad_words_get_one_message_and_no_traceback(
    root: Path, tmp_path: Path, word: str, text: str
) -> None:
    done = _run(root, "train_student.py", word, DISTILL_OUTPUTS=str(tmp_path))
    assert done.returncode == 2
    assert text in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_main_job_ends_with_a_table_and_a_picture(root: Path, tmp_path: Path) -> None:
    fast = [w for w in TRAINING if w.startswith("training")]
    words = [f"teacher:{w}" for w in (*TEACHER, *fast)]
    words += [f"student:{w}" for w in (*STUDENT, *fast)]
    words += ["data.num_workers=0", "tracking=none", "--out", str(tmp_path / "a job, = odd")]
    done = _run(root, "-m", "distill.stages.main_job", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    out = tmp_path / "a job, = odd"
    for name in ("teacher", "student, with pseudo-labels", "student, without"):
        assert f"| {name} |" in done.stdout
    assert f"picture: {out / 'table.png'}" in done.stdout
    assert (out / "table.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((out / "table.json").read_text())["rows"]
    assert all(0 < row["gmacs"] < 1 and row["n"] == 14 for row in rows)
    assert "$ python train_student.py +budget=120" in done.stdout


def test_two_processes_train_what_one_does_on_the_joint_batch(root: Path, tmp_path: Path) -> None:
    words = [*TEACHER, "teacher.dropout=0", "training.epochs=2", "data.num_workers=0"]
    words += ["tracking=none", "training.accelerator=cpu", "training.precision=32-true"]
    states = []
    for devices, batch_size in ((2, 4), (1, 8)):
        outputs = tmp_path / str(devices)
        done = _run(
            root, "train_teacher.py", *words, f"training.devices={devices}",
            f"training.batch_size={batch_size}", DISTILL_OUTPUTS=str(outputs),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("plan: 21 labelled videos") == 1
        (bundle,) = outputs.rglob("bundle")
        assert len(json.loads((bundle.parent / "run.json").read_text())) == 1
        states.append(load_file(bundle / "model.safetensors"))
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=2e-4, msg=name)


def test_swin_t_plan_and_two_real_steps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = ["student=swin_t", "student.weights=none", "+budget=120", "labels=none"]
    words += ["training.epochs=1", "training.batches_per_epoch=2", "training.batch_size=2"]
    with caplog.at_level("INFO"):
        result = run_stage("train_student", tmp_path, *words, "data.num_workers=0")
    assert result["gmacs"] == pytest.approx(47.39, rel=0.02)
    assert result["params_m"] == pytest.approx(33.01, rel=0.02)
    assert "47.94 of 120 GMACs a video" in caplog.text
    assert "RANDOM WEIGHTS" in caplog.text
    assert result["test"]["test n"] == 14


def test_default_student_is_the_swin_t_where_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    name, why = default_student()
    assert name == "compact" and "NOT the Swin-T" in why and str(tmp_path) in why
    (tmp_path / f"{SWIN_T}.safetensors").touch()
    assert default_student()[0] == "swin_t"
