"""Every published student recipe: composes, says where it is from, and runs at toy size."""

import csv
from pathlib import Path

import pytest

from distill.data.manifest import read_manifest
from distill.help import config_groups
from distill.overrides import check_overrides
from tests.helpers.stages import run_stage

NAMES = config_groups()["recipe"]
ROOT = Path(__file__).resolve().parents[2]
SMALL = ["student.num_frames=1", "student.size=64", "student.weights=none"]


@pytest.mark.parametrize("name", NAMES)
def test_it_composes_with_a_budget_and_every_data_set(name: str) -> None:
    words = ["+budget=120", f"recipe={name}", "data=kvq", "data.root=x", "labels=none"]
    config = check_overrides("train_student", words)
    assert config.budget == 120 and config.training.lr <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_its_head_says_what_to_expect_and_what_differs(name: str) -> None:
    text = (ROOT / "conf" / "recipe" / f"{name}.yaml").read_text(encoding="utf-8")
    for word in ("# Expected:", "# Hardware:", "# Line: python train_student.py", "# Differs:"):
        assert word in text


def test_e_vqa_has_its_two_stages() -> None:
    config = check_overrides("train_student", ["recipe=e_vqa"])
    assert config.student["_target_"] == "students.evqa.EVQAStudent"
    assert config.loss["fidelity"] == 1.0 and config.finetune.loss == {"plcc": 1.0}
    assert (config.training.epochs, config.finetune.epochs) == (5, 30)
    assert config.finetune.ema_decay == 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_two_steps(name: str, tmp_path: Path, demo_manifest: Path) -> None:
    table = tmp_path / "scores.csv"
    pool = read_manifest(demo_manifest).split("pool")[:4]
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "score"])
        writer.writerows((row.path, 1 + at) for at, row in enumerate(pool))
    words = [
        f"recipe={name}", *SMALL, "training.batch_size=2", "training.batches_per_epoch=1",
        "training.epochs=1", "data.num_workers=0", f"labels='{table}'", "leak_check=none",
        "select.duplicates=none", *(["finetune.epochs=1"] if name == "e_vqa" else []),
    ]  # fmt: skip
    result = run_stage("train_student", tmp_path / "run", *words)
    assert result["steps"] == (2 if name == "e_vqa" else 1)
