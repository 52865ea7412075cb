"""Two data sets through the training commands: at once, and one after the other."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.data.manifest import read_manifest
from distill.errors import ConfigError
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage

WORDS = [*TEACHER, *TRAINING, "training.epochs=1"]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(demo_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every labelled video of the demo, scored by others on a scale of 0 to 100."""
    path = tmp_path_factory.mktemp("study") / "other study.csv"
    rows = [row for row in read_manifest(demo_manifest).rows if row.split != "pool"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "mos", "split", "group"])
        writer.writerows([row.path, 20 * row.mos - 10, "train", row.group] for row in rows)
    return path


@pytest.fixture(scope="module")
def teacher(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher")
    run_stage("train_teacher", out, *WORDS, f"data.also=['{study}']")
    return out


def test_a_second_set_is_learned_from_and_its_held_out_videos_are_not(
    study: Path, teacher: Path, demo_manifest: Path
) -> None:
    with (teacher / "problems.csv").open(newline="") as file:
        left_out = list(csv.DictReader(file))
    manifest = read_manifest(demo_manifest)
    held_out = {str(row.path) for name in ("val", "test") for row in manifest.split(name)}
    assert {line["video"] for line in left_out} == held_out
    assert {line["file"] for line in left_out} == {str(study)}
    spec = json.loads((teacher / "bundle" / "spec.json").read_text())
    assert spec["provenance"]["also"] == [str(study)]
    assert spec["provenance"]["labelled"] == 2 * len(manifest.split("train"))
    # The second set's scale moved in training, and stays behind with it.
    state = torch.load(teacher / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert state["scales.shift"].shape == (1,) and state["scales.shift"].abs() > 0
    weights = load_file(teacher / "bundle" / "model.safetensors")
    assert not any("scales" in name for name in weights)


def test_one_after_the_other_starts_from_the_bundle(teacher: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(teacher / "bundle", tmp_path / "first")
    words = [*WORDS, f"init={bundle}", "training.lr=1e-12", "training.backbone_lr=0"]
    run_stage("train_teacher", tmp_path, *words)
    before, after = (load_file(f / "bundle/model.safetensors") for f in (teacher, tmp_path))
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-9)
    spec = json.loads((tmp_path / "bundle" / "spec.json").read_text())
    first = json.loads((bundle / "spec.json").read_text())
    assert spec["provenance"]["init"] == {
        "fingerprint": first["fingerprint"],
        "provenance": first["provenance"],
    }
    assert f"bundle {first['fingerprint']}: as its own README says" in spec["licenses"]
    (tmp_path / "result.json").unlink()
    changed = {**first, "fingerprint": "0"}  # another bundle in the place of the first
    (bundle / "spec.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match=r"its inputs changed: .*init: was"):
        run_stage("train_teacher", tmp_path, *words, resumed=True)


def test_a_student_learns_from_both_sets_and_starts_from_a_bundle(
    study: Path, tmp_path: Path
) -> None:
    words = [*STUDENT, *TRAINING, "training.epochs=1", "labels=none"]
    run_stage("train_student", tmp_path / "a", *words, f"data.also=['{study}']")
    run_stage("train_student", tmp_path / "b", *words, f"init={tmp_path / 'a' / 'bundle'}")
    first, spec = (
        json.loads((tmp_path / name / "bundle" / "spec.json").read_text()) for name in "ab"
    )
    assert first["provenance"]["also"] == [str(study)]
    assert spec["provenance"]["init"]["fingerprint"] == first["fingerprint"]
