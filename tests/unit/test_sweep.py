"""A sweep in which a run ends badly: what was trained stands in its table."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from distill import doors
from distill.errors import Interrupted
from distill.stages import train_student

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
