"""A student with bins and attention through training, its bundle, and scoring from the bundle."""

from pathlib import Path

import pytest

from distill.bundle import load_bundle
from tests.helpers.stages import TRAINING, run_stage

WORDS = [
    "student=mixed_view", "student.backbone=test_efficientnet", "student.weights=none",
    "student.size=96", "student.whole=64", "student.num_frames=3", "student.train_frames=2",
    "student.bins=10", "student.temporal=attention", "labels=none", "+budget=120",
]  # fmt: skip


def test_a_bundle_of_bins_scores_as_its_training_did(demo_manifest: Path, tmp_path: Path) -> None:
    trained = run_stage("train_student", tmp_path / "train", *WORDS, *TRAINING, "training.epochs=1")
    folder = tmp_path / "train" / "bundle"
    centres = load_bundle(folder).model.bin_centres
    assert centres is not None
    assert len(centres) == 10
    words = [f"bundles={folder}", "split=val", "draws=100"]
    found = run_stage("evaluate", tmp_path / "evaluate", *words)["rows"][0]
    for name in ("srcc", "plcc", "rmse_raw"):
        assert found[name] == pytest.approx(trained["val"][name], abs=1e-5)
