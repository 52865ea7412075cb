"""An offline W&B run holds what a dashboard needs, and no frame unless the user says so."""

from pathlib import Path

import pytest

from distill.tracking import resolve_mode
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage
from tests.helpers.wandb_runs import read_offline_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("tracked")
    words = [f"outputs={outputs}", "tracking=wandb", "tracking.mode=offline"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_MODE", raising=False)
        run_stage("train_teacher", outputs / "train_teacher" / "a", *TEACHER, *TRAINING, *words)
        run_stage("pseudo_label", outputs / "pseudo_label" / "a", *words)
        run_stage(
            "train_student", outputs / "train_student" / "a", *STUDENT, *TRAINING, *words,
            "+budget=120", "tracking.media=true",
        )  # fmt: skip
    return outputs


def test_training_logs_parts_correlations_cost_and_plots(runs: Path) -> None:
    run = read_offline_run(runs / "train_teacher" / "a")
    for key in ("train/loss", "train/plcc", "train/srcc", "train/mse", "train/member_frames"):
        assert run.history[key] == 12, key
    for key in ("val/srcc", "val/plcc"):
        assert run.history[key] >= 3, key
    assert {"plots/curves", "plots/val_scatter", "val/table"} <= run.history.keys()
    assert {"gmacs", "val/srcc", "val/plcc", "val/rmse"} <= run.summary
    assert {"teacher", "training", "data", "seed"} <= run.config


def test_student_logs_its_cost_against_the_budget(runs: Path) -> None:
    run = read_offline_run(runs / "train_student" / "a")
    assert {"gmacs", "budget", "test srcc"} <= run.summary
    assert {"plots/targets", "plots/test_scatter"} <= run.history.keys()


def test_labelling_logs_the_distribution(runs: Path) -> None:
    run = read_offline_run(runs / "pseudo_label" / "a")
    keys = {"pseudo_labels/score", "pseudo_labels/member_spread", "pseudo_labels/table"}
    assert keys <= run.history.keys()
    assert {"labelled", "failed"} <= run.summary


def test_frames_leave_the_run_directory_only_on_request(runs: Path) -> None:
    kept, sent = (runs / f"train_{role}" / "a" for role in ("teacher", "student"))
    for folder in (kept, sent):
        assert (folder / "plots" / "val_worst.png").is_file()
    assert "plots/val_worst" not in read_offline_run(kept).history
    assert not list(kept.glob("wandb/**/*val_worst*"))
    assert "plots/val_worst" in read_offline_run(sent).history
    assert list(sent.glob("wandb/**/*val_worst*"))


def test_off_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run_stage("train_teacher", tmp_path, *TEACHER, *TRAINING, "tracking.mode=off")
    assert not (tmp_path / "wandb").exists()


def test_mode_follows_key_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert resolve_mode("auto")[0] == "offline"
    assert resolve_mode("online")[0] == "online"
    # A key, but a server that does not answer: nothing listens on port 443 of this name.
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.invalid")
    mode, why = resolve_mode("auto")
    assert mode == "offline" and "does not answer" in why
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolve_mode("auto")[0] == "off"
