"""Bundles that give the scores they are told, so that a test knows what an evaluation must say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.bundle import save_bundle
from distill.logistic import Logistic4
from teachers.ensemble import TeacherEnsemble

LINE = Logistic4(slope=2.0, intercept=1.0, fallback="a test's")


def told_bundle(
    folder: Path,
    scores: Mapping[str, float],
    calibration: Logistic4 | None = LINE,
    **provenance: Any,
) -> Path:
    """A bundle whose raw score of a video is the one under its name."""
    folder.mkdir(parents=True)
    table = folder / "scores.csv"
    rows = "".join(f"{name},{float(score)!r}\n" for name, score in scores.items())
    table.write_text(f"filename,score\n{rows}")
    members = {"other": {"kind": "file_scores", "table": str(table), "head": "own"}}
    model = TeacherEnsemble(members, fusion="mean")
    architecture = {
        "_target_": "teachers.ensemble.TeacherEnsemble", "members": members, "fusion": "mean",
        "score_mean": model.score_mean, "score_std": model.score_std,
    }  # fmt: skip
    save_bundle(
        folder / "bundle", model, role="teacher", architecture=architecture,
        calibration=calibration, cost={"gmacs": 0.0, "params_m": 0.0}, provenance=provenance,
        licenses=[], metrics={},
    )  # fmt: skip
    return folder / "bundle"
