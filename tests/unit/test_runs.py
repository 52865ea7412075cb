"""Run directories: what a run leaves, and which unfinished one is the newest."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from distill import runs
from distill.config import EvaluateConfig, TrainStudentConfig
from distill.data.manifest import Problem
from distill.errors import ConfigError
from distill.options import TrainingConfig
from distill.runs import Run, git_state, unfinished


def test_a_run_holds_config_command_versions_and_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_student.py", "+budget=120", "labels=a b"])
    config = TrainStudentConfig(budget=120, labels="ü, b")
    run = Run(tmp_path / "deep/run", config)
    text = (run.folder / "config.yaml").read_text(encoding="utf-8")
    options = yaml.safe_load(text)
    assert options["budget"] == 120.0 and options["labels"] == "ü, b"
    assert options["training"]["epochs"] == config.training.epochs
    options["training"] = TrainingConfig(**options["training"])
    assert TrainStudentConfig(**options).budget == config.budget
    (record,) = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert record["command"] == "train_student.py +budget=120 'labels=a b'"
    assert record["packages"]["torch"] and record["packages"]["hydra-core"]
    assert set(record) == {"command", "date", "python", "platform", "packages", "git"}


def test_problems_and_result(tmp_path: Path) -> None:
    run = Run(tmp_path, {"a": 1})
    run.problems([])
    assert not (tmp_path / "problems.csv").exists()
    run.problems([Problem("v.csv", 3, "a, b\n.mp4", 'no "such" file')])
    with (tmp_path / "problems.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["file", "line", "video", "reason"],
        ["v.csv", "3", "a, b\n.mp4", 'no "such" file'],
    ]
    assert run.plots.is_dir() and run.plots == tmp_path / "plots"
    assert not (tmp_path / "result.json").exists()
    run.finish({"srcc": 0.5, "path": tmp_path})
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "srcc": 0.5,
        "path": str(tmp_path),
    }


def made(outputs: Path, name: str, age: int, stage: str = "train_teacher", part: str = "") -> Path:
    run = outputs / stage / name
    Run(run, {})
    (run / part / "checkpoints").mkdir(parents=True)
    (run / part / "checkpoints/last.ckpt").touch()
    os.utime(run / part / "checkpoints/last.ckpt", (1000 - age, 1000 - age))
    return run


def test_unfinished_is_the_newest_with_a_checkpoint_and_no_result(tmp_path: Path) -> None:
    assert unfinished(tmp_path, "train_teacher") is None
    old, new = made(tmp_path, "b", 3), made(tmp_path, "sweep/a", 2, part="fold_1")
    made(tmp_path, "other", 0, "train_student")
    (tmp_path / "train_teacher" / "empty").mkdir()
    assert unfinished(tmp_path, "train_teacher") == new
    Run(new, {}).finish({})
    assert unfinished(tmp_path, "train_teacher") == old
    Run(old, {}).finish({})
    assert unfinished(tmp_path, "train_teacher") is None


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_git_state_is_of_this_project_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "project/distill"
    package.mkdir(parents=True)
    (package / "runs.py").write_text("x")
    monkeypatch.setattr(runs, "__file__", str(package / "runs.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() == {}
    git(tmp_path, "init", "-q")  # a repository around an installed package is not ours
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "theirs")
    assert git_state() == {}
    git(tmp_path / "project", "init", "-q")
    assert git_state() == {}  # no commit yet
    git(tmp_path / "project", "add", ".")
    git(tmp_path / "project", "commit", "-q", "-m", "ours")
    commit = git(tmp_path / "project", "rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": False}
    (package / "runs.py").write_text("y")
    assert git_state() == {"commit": commit, "dirty": True}
    monkeypatch.setenv("PATH", "")
    assert git_state() == {}


def test_resume_refuses_other_options_and_other_inputs(tmp_path: Path) -> None:
    first = Run(tmp_path, TrainStudentConfig(budget=120))
    first.inputs({"labels": "none", "videos": "abc"})
    again = TrainStudentConfig(budget=120)
    again.tracking.mode, again.training.checkpoint_every = "off", 1.0  # how it runs may change
    run = Run(tmp_path, again, resumed=True)
    run.inputs({"labels": "none", "videos": "abc"})
    assert len(json.loads((tmp_path / "run.json").read_text())) == 2
    with pytest.raises(ConfigError, match="its inputs changed: videos: was abc, is abd"):
        run.inputs({"labels": "none", "videos": "abd"})
    other = TrainStudentConfig(budget=120)
    other.training.batch_size = 9
    with pytest.raises(ConfigError, match=r"differ: training\.batch_size: was 8, is 9"):
        Run(tmp_path, other, resumed=True)


def test_results_are_strict_json(tmp_path: Path) -> None:
    Run(tmp_path, EvaluateConfig()).finish({"a": [float("nan"), {"b": float("inf")}], "c": 1.5})
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, {"b": None}], "c": 1.5}


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    Run(tmp_path, EvaluateConfig()).finish({"a": 1})
    assert list(tmp_path.iterdir()) == []
