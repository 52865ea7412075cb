"""Rounds: who learns from what, when they end, and what a kill leaves to do."""

import csv
import json
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill.config import TrainStudentConfig
from distill.errors import ConfigError, Interrupted
from distill.labels import Label, LabelStore
from distill.labels.scores_csv import ScoresCsv
from distill.runs import Run
from distill.stages import rounds, run_config
from distill.stages.rounds import more_rounds, select_of, teacher_options, told_rounds

META = {
    "teacher": "t1", "views": {}, "calibration": None, "test_views": 1, "precision": "float32",
    "pool": "p", "videos": 2,
}  # fmt: skip


def _teacher(run: Path, select: float) -> None:
    """The run of a teacher, as far as rounds look at it."""
    (run / "bundle").mkdir(parents=True)
    spec = dict.fromkeys(
        ("architecture", "views", "calibration", "sha256", "cost", "provenance", "licenses"), ""
    ) | {"format": 1, "role": "teacher", "fingerprint": run.parent.name,
         "metrics": {"val srcc": select, "val plcc": select}}  # fmt: skip
    (run / "bundle" / "spec.json").write_text(json.dumps(spec))
    options = {"teacher": {"_target_": "teachers.x"}, "folds": 5, "seed": 7, "labels": "none"}
    (run / "config.yaml").write_text(yaml.safe_dump(options))
    (run / "result.json").write_text("{}")


def _store(folder: Path, bundle: Path) -> LabelStore:
    store = LabelStore.open(folder, {**META, "bundle": str(bundle)})
    labels = [Label(f"{n}.mp4", f"/pool/{n}.mp4", content=n, group="g", score=3.0) for n in "ab"]
    store.append(labels)
    return store


class Stages:
    """In the place of processes: teachers reach what the test says, and label."""

    def __init__(self, reached: list[float]) -> None:
        self.reached, self.calls = reached, list[tuple[str, dict[str, Any], bool]]()
        self.fail_at = -1

    def __call__(
        self, stage: str, options: dict[str, Any], out: Path, resumed: bool = False
    ) -> None:
        self.calls.append((stage, options, resumed))
        if len(self.calls) - 1 == self.fail_at:
            raise Interrupted("stopped")
        if stage == "train_teacher":
            _teacher(out, self.reached.pop(0))
        else:
            _store(Path(options["store"]), Path(options["teacher_bundle"]))
            (out / "result.json").write_text("{}")


@pytest.fixture()
def first(tmp_path: Path) -> LabelStore:
    _teacher(tmp_path / "teacher", 0.80)
    return _store(tmp_path / "store", tmp_path / "teacher" / "bundle")


def _run(tmp_path: Path, count: int) -> tuple[TrainStudentConfig, Run]:
    config = TrainStudentConfig(rounds=count, seed=3)
    return config, Run(tmp_path / "run", config)


def test_a_better_teacher_labels_and_the_best_labels_are_taken(
    tmp_path: Path, first: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages([0.82, 0.83])
    monkeypatch.setattr(rounds, "start", stages)
    config, run = _run(tmp_path, 3)
    store = more_rounds(config, first, run)
    assert store.folder == run.folder / "round_3" / "labels" / "store"
    assert [stage for stage, _, _ in stages.calls] == ["train_teacher", "pseudo_label"] * 2
    second, third = stages.calls[0][1], stages.calls[2][1]
    assert second["labels"] == str(first.folder)
    assert third["labels"] == str(run.folder / "round_2" / "labels" / "store")
    assert (second["folds"], second["seed"], third["seed"]) == (5, 4, 5)  # options kept, new seeds
    told = told_rounds(run.folder)
    assert [each["number"] for each in told] == [1, 2, 3]
    assert [each["select"] for each in told] == pytest.approx([0.80, 0.82, 0.83])


@pytest.mark.parametrize("reached", [[0.80], [0.79]])
def test_rounds_end_where_validation_does_not_improve(
    tmp_path: Path, first: LabelStore, monkeypatch: pytest.MonkeyPatch, reached: list[float]
) -> None:
    stages = Stages(reached)
    monkeypatch.setattr(rounds, "start", stages)
    config, run = _run(tmp_path, 4)
    assert more_rounds(config, first, run).folder == first.folder
    assert [stage for stage, _, _ in stages.calls] == ["train_teacher"]
    assert told_rounds(run.folder)[-1]["store"] == ""


@pytest.mark.parametrize("fail_at", range(4))
def test_what_a_kill_left_is_done_and_nothing_twice(
    tmp_path: Path, first: LabelStore, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    stages = Stages([0.82, 0.83])
    stages.fail_at = fail_at
    monkeypatch.setattr(rounds, "start", stages)
    config, run = _run(tmp_path, 3)
    with pytest.raises(Interrupted):
        more_rounds(config, first, run)
    assert more_rounds(config, first, run).folder.parents[1].name == "round_3"
    done = [stage for at, (stage, _, _) in enumerate(stages.calls) if at != fail_at]
    assert done == ["train_teacher", "pseudo_label"] * 2


def test_the_pool_of_a_round_is_that_of_the_first_store(
    tmp_path: Path, first: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages([0.9])
    monkeypatch.setattr(rounds, "start", stages)
    config, run = _run(tmp_path, 2)
    more_rounds(config, first, run)
    options = stages.calls[1][1]
    with open(options["pool"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"video": label.path, "group": label.group} for label in first.read()]
    assert options["precision"] == "float32"


def test_scores_of_nobody_known_have_no_second_round(tmp_path: Path, first: LabelStore) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("filename,score\na.mp4,3\n")
    with pytest.raises(ConfigError, match=r"scores\.csv does not say which teacher wrote it"):
        teacher_options(ScoresCsv(table, None))


def test_a_teacher_whose_run_is_gone_is_named(tmp_path: Path, first: LabelStore) -> None:
    config, run = _run(tmp_path, 2)
    (tmp_path / "teacher" / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="options of the teacher that wrote") as raised:
        more_rounds(config, first, run)
    assert str(tmp_path / "teacher" / "config.yaml") in str(raised.value)


def test_a_kill_leaves_the_store_that_it_began_with(
    tmp_path: Path, first: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Stages([0.9])
    stages.fail_at = 0
    monkeypatch.setattr(rounds, "start", stages)
    config, run = _run(tmp_path, 2)
    with pytest.raises(Interrupted):
        more_rounds(config, first, run)
    assert [each["store"] for each in told_rounds(run.folder)] == [str(first.folder)]


def test_a_teacher_that_began_with_a_bundle_does_so_again(
    tmp_path: Path, first: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "teacher" / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "init": "lsvq/bundle"}))
    stages = Stages([0.7])
    monkeypatch.setattr(rounds, "start", stages)
    config, run = _run(tmp_path, 2)
    more_rounds(config, first, run)
    assert stages.calls[0][1]["init"] == "lsvq/bundle"


def test_a_teacher_that_was_not_trained_has_no_second_round(
    tmp_path: Path, first: LabelStore
) -> None:
    path = tmp_path / "teacher" / "config.yaml"
    path.write_text(yaml.safe_dump({"training": {"epochs": 0}}))
    config, run = _run(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"was not trained \(training=none.*leave rounds=1"):
        more_rounds(config, first, run)


def test_a_part_that_is_killed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(
        run_config.subprocess, "Popen", partial(_program, subprocess.Popen, program)
    )
    with pytest.raises(Interrupted, match="ended by SIGKILL") as raised:
        run_config.start("train_teacher", {}, tmp_path / "part")
    assert raised.value.exit_code == 128 + signal.SIGKILL


def _program(popen: Any, program: str, command: list[str]) -> subprocess.Popen[bytes]:
    """Another program in the place of a stage."""
    return popen([command[0], "-c", program])


def test_a_teacher_without_figures_is_worse_than_any() -> None:
    assert select_of({"metrics": {"val srcc": 0.5, "val plcc": 0.7}}) == pytest.approx(0.6)
    for metrics in ({}, {"val srcc": 0.5}, {"val srcc": float("nan"), "val plcc": 0.5}):
        assert select_of({"metrics": metrics}) == float("-inf")
