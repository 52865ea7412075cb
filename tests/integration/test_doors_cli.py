"""The commands as a user types them, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.labels import LabelStore
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
    assert done.stderr.count("error:") == 2  # as it happens, and once more at the end
    assert "1 runs of the sweep did not finish" in done.stderr
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


def test_a_signal_keeps_what_is_labelled_or_scored(root: Path, tmp_path: Path) -> None:
    outputs = f"outputs={tmp_path}"
    run_stage("train_teacher", tmp_path / "train_teacher" / "a", *TEACHER, *TRAINING, outputs)
    manifest = json.loads((tmp_path / "train_teacher/a/bundle/spec.json").read_text())
    (video, *_) = (Path(manifest["provenance"]["data"]).parent / "videos").glob("*.mp4")
    pool = tmp_path / "pool"
    pool.mkdir()
    for at in range(600):
        (pool / f"{at:03}.mp4").symlink_to(video)
    environment = {**os.environ, "DISTILL_OUTPUTS": str(tmp_path)}
    store, table = tmp_path / "store", tmp_path / "scores.csv"
    words = ["pseudo_label.py", f"pool={pool}", f"store={store}", "data.num_workers=0"]
    label = subprocess.Popen(
        [sys.executable, *words, "tracking=none", "batch_size=1"], cwd=root, env=environment,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(store.glob("parts/[!.]*")):
        assert label.poll() is None, label.stderr.read()  # type: ignore[union-attr]
        time.sleep(0.05)
    label.send_signal(signal.SIGTERM)
    _, told = label.communicate(timeout=120)
    kept = len(LabelStore(store).read())
    assert label.returncode == 128 + signal.SIGTERM
    assert 32 <= kept < 600
    assert f"{kept} videos are in the store; continue with `python pseudo_label.py store=" in told
    done = _run(root, *words, "tracking=none", DISTILL_OUTPUTS=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{kept} videos are already labelled" in done.stdout
    labels = LabelStore(store).read()
    assert len(labels) == 600 and len({label.score for label in labels}) == 1

    words = ["score.py", str(pool), "--csv", str(table), "--workers", "0", "--batch-size", "1"]
    score = subprocess.Popen(
        [sys.executable, *words], cwd=root, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert score.stderr is not None
    seen = ""
    while "| 2" not in seen:  # the bar's count of scored videos
        seen += score.stderr.read(1)
        assert score.poll() is None, seen
    score.send_signal(signal.SIGINT)
    _, told = score.communicate(timeout=120)
    assert score.returncode == 130
    rows = len(table.read_text().splitlines()) - 1
    assert 1 <= rows < 600
    assert f"stopped; {rows} of 600 videos scored" in told


def test_outputs_and_targets_that_cannot_be_written_are_told_at_once(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = _run(root, "train_teacher.py", f"outputs={tmp_path / 'file'}")
    assert done.returncode == 2 and "cannot be written to" in done.stderr
    done = _run(root, "score.py", str(tmp_path), "--csv", str(tmp_path / "no" / "such.csv"))
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
