"""A sweep in which a run ends badly: what was trained stands in its table."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from distill import doors
from distill.errors import ConfigError, Interrupted
from distill.runs import Run
from distill.stages import train_student
from distill.stages.front import finish, note, sweep_folder

TRAINED = {
    "gmacs": 1.5, "params_m": 3.2, "val": {"srcc": 0.8, "plcc": 0.7}, "bundle": "b", "budget": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "code", "told", "after"),
    [
        (Interrupted("stopped by SIGTERM", 15), 143, "stopped by SIGTERM", []),
        (RuntimeError("CUDA out of memory"), 1, "RuntimeError: CUDA out of memory", ["0.8"]),
    ],
)
def test_what_was_trained_has_its_front(
    failure: Exception, code: int, told: str, after: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    runs: list[Path] = []

    def run(config: Any, out: Path, resumed: bool) -> dict[str, Any]:
        runs.append(out)
        if len(runs) == 2:
            raise failure
        (out / "result.json").touch()
        return TRAINED

    monkeypatch.setattr(train_student, "run", run)
    words = ["-m", "+budget=2,3,4", "student=compact", f"outputs={tmp_path}", "tracking=none"]
    monkeypatch.setattr(sys, "argv", ["train_student.py", *words])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as raised:
        doors._hydra_door("train_student")
    assert raised.value.code == code
    (table,) = tmp_path.rglob("front.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["val_srcc"] for row in rows] == ["0.8", "", *after]
    assert [row["error"] for row in rows] == ["", told, *("" for _ in after)]
    assert table.with_name("front.png").is_file()
    page = table.with_name("report.html").read_text(encoding="utf-8")
    assert told in page and page.count(">0.800</td>") >= 1 + len(after)


def test_a_student_that_several_budgets_choose_is_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Path] = []

    class Trained(Exception):
        pass

    def prepare(config: Any, out: Path, resumed: bool) -> None:
        trained.append(out)
        Run(out, config)
        (out / "result.json").touch()
        raise Trained

    def run(config: Any, out: Path, resumed: bool) -> dict[str, Any]:
        try:
            return real(config, out, resumed)
        except Trained:
            gmacs = len(trained) * 1.5
            return {**TRAINED, "gmacs": gmacs, "budget": float(config.budget), "bundle": str(out)}

    real = train_student.run
    monkeypatch.setattr(train_student, "prepare", prepare)
    monkeypatch.setattr(train_student, "run", run)
    table = tmp_path / "measured.csv"
    rows = ["mixed_lite0_1x224,distilled,0,0.70", "mixed_lite0_4x224,distilled,0,0.80"]
    text = "\n".join(["rung,arm,seed,val_srcc,data,date", *(f"{r},x,2026-01-01" for r in rows)])
    table.write_text(text)
    words = ["-m", "+budget=0.5,2,120", "student=fit", f"student.measured={table}",
             f"outputs={tmp_path}", "tracking=none", "seed=1,2"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train_student.py", *words])
    GlobalHydra.instance().clear()
    assert doors._hydra_door("train_student") == 0
    assert len(trained) == 4  # two students, two seeds
    (front,) = tmp_path.rglob("front.csv")
    with front.open(newline="") as file:
        found = {row["run"]: row for row in csv.DictReader(file)}
    same = {run: row["same_as"] for run, row in found.items() if row["same_as"]}
    assert same == {f"+budget=120 seed={seed}": f"+budget=2 seed={seed}" for seed in (1, 2)}
    for seed in (1, 2):
        one, other = found[f"+budget=2 seed={seed}"], found[f"+budget=120 seed={seed}"]
        assert (one["bundle"], one["gmacs"]) == (other["bundle"], other["gmacs"])
        assert (one["budget"], other["budget"]) == ("2.0", "120.0")
    assert "the student of +budget=2 seed=1" in capsys.readouterr().out
    page = front.with_name("report.html").read_text(encoding="utf-8")
    assert "the student of +budget=2 seed=2, trained once" in page


@pytest.mark.parametrize("word", ["hydra.sweep.dir={}/my sweep", "+hydra.sweep.dir={}/my sweep"])
def test_a_folder_of_ones_own_has_the_front_of_this_sweep_alone(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_student, "run", lambda config, out, resumed: TRAINED)
    word = word.format(tmp_path)
    if word.startswith("+"):
        word = f"+{word}"  # it exists, so that Hydra takes it with two
    (tmp_path / "my sweep" / "sweep").mkdir(parents=True)
    (tmp_path / "my sweep" / "sweep" / "mine.json").touch()
    for budgets, count in (("2,3,4", 3), ("2,3", 2)):
        words = ["-m", f"+budget={budgets}", "student=compact", "tracking=none", word]
        monkeypatch.setattr(sys, "argv", ["train_student.py", *words, f"outputs={tmp_path}/runs"])
        GlobalHydra.instance().clear()
        assert doors._hydra_door("train_student") == 0
        with (tmp_path / "my sweep" / "front.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["val_srcc"] for row in rows] == ["0.8"] * count
    assert (tmp_path / "my sweep" / "front.png").is_file()
    assert (tmp_path / "my sweep" / "sweep" / "mine.json").is_file()


def test_the_folder_of_a_sweep_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert sweep_folder("/o", ["+budget=2,3"]).parent == Path("/o/train_student")
    assert sweep_folder("/o", ["hydra.sweep.dir=a/../b"]) == Path("/b")
    assert sweep_folder("/o", ['hydra.sweep.dir="${outputs}/x, y"']) == Path("/o/x, y")
    with pytest.raises(ConfigError, match=r"seed\}: must be one folder for all runs of the sweep"):
        sweep_folder("/o", ["hydra.sweep.dir=runs/${seed}"])


def test_a_latency_that_was_measured_has_a_column(tmp_path: Path, capsys: Any) -> None:
    for number, latency in enumerate((12.34, None)):
        note(tmp_path, number, [f"run {number}"], tmp_path, {**TRAINED, "latency_ms": latency}, "")
    finish(tmp_path)
    with (tmp_path / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["latency_ms"] for row in rows] == ["12.34", ""]
    assert "3.20 M parameters, 12.3 ms, val SRCC" in capsys.readouterr().out
    (tmp_path / "sweep" / "0.json").unlink()
    finish(tmp_path)
    assert "latency_ms" not in (tmp_path / "front.csv").read_text()
    notes = json.loads((tmp_path / "sweep" / "1.json").read_text())
    assert notes["result"]["latency_ms"] is None
