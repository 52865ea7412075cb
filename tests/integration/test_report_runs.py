"""Runs make their report at the end, and what a report does wrong is no business of the run."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from distill.config import StageConfig
from distill.runs import PREDICTIONS
from distill.stages.report import report
from tests.helpers import report_folders as made
from tests.helpers.grey_videos import Grey
from tests.helpers.stages import STUDENT, TRAINING, run_stage


def test_training_leaves_its_predictions_and_a_report_of_them(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [*STUDENT, *TRAINING, "training.epochs=1", "labels=none", f"outputs={tmp_path}"]
    run_stage("train_student", out, *words, "report=true", "report_frames=true")
    result = json.loads((out / "result.json").read_text())
    for split, measured in (("val", result["val"]["srcc"]), ("test", result["test"]["test srcc"])):
        with (out / PREDICTIONS.format(split)).open(newline="") as file:
            rows = list(csv.DictReader(file))
        score, mos = (np.array([float(row[key]) for row in rows]) for key in ("score", "mos"))
        assert spearmanr(score, mos)[0] == pytest.approx(measured, abs=1e-4)
        assert all(Path(row["path"]).is_file() and row["frame_scores"] for row in rows)
    page = (out / "report.html").read_text(encoding="utf-8")
    for section in ("result", "agreement", "learning", "videos"):
        assert f'<section id="{section}">' in page
    assert "data:image/jpeg;base64," in page and "Demo data only" in page


def test_options_decide(tmp_path: Path) -> None:
    folder = made.evaluation(tmp_path / "run")
    assert report(folder, StageConfig(report=False), Grey()) is None
    assert not (folder / "report.html").exists()
    reader = Grey()
    assert report(folder, StageConfig(report_frames=False), reader) == folder / "report.html"
    assert reader.read_paths == []


def test_a_failing_report_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="distill.stages.report"):
        assert report(tmp_path, StageConfig(), Grey()) is None
        folder = made.evaluation(tmp_path / "run")
        (folder / "result.json").write_text('{"rows": 7}')
        assert report(folder, StageConfig(), Grey()) is None
    first, other = (record.getMessage() for record in caplog.records)
    assert first.startswith("no report: ReportError: ") and str(tmp_path) in first
    assert "the run itself is complete; try again: python -m distill.report" in other
