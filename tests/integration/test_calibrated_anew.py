"""A trained student at another number of frames: calibrated and measured anew, not trained."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.bundle import load_bundle
from distill.data.manifest import read_manifest
from distill.errors import ConfigError
from tests.helpers.stages import STUDENT, TRAINING, run_stage


def test_frames_change_and_weights_do_not(tmp_path: Path, demo_manifest: Path) -> None:
    first = run_stage("train_student", tmp_path / "a", *STUDENT, *TRAINING, "labels=none")
    words = [*STUDENT, "data.num_workers=0", f"init={tmp_path / 'a' / 'bundle'}"]
    again = run_stage(
        "train_student", tmp_path / "b", *words, "training=none", "student.num_frames=1"
    )
    weights = [load_file(tmp_path / run / "bundle" / "model.safetensors") for run in "ab"]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())
    assert again["gmacs"] < 0.6 * first["gmacs"] and again["steps"] == 0
    bundle = load_bundle(tmp_path / "b" / "bundle")
    assert {view.shape[0] for view in bundle.model.views.values()} == {1}
    told = bundle.spec["provenance"]
    assert told["init"] and (told["labelled"], told["calibrated_on"]) == (0, 7)
    told = load_bundle(tmp_path / "a" / "bundle").spec
    assert (told["provenance"]["labelled"], told["provenance"]["calibrated_on"]) == (21, 7)
    mos = [row.mos for row in read_manifest(demo_manifest).rows if row.split in ("train", "val")]
    assert told["score_range"] == [min(mos), max(mos)]
    assert again["test"]["test n"] == first["test"]["test n"]

    same = run_stage("train_student", tmp_path / "c", *words, "training=none")
    assert same["val"]["srcc"] == pytest.approx(first["val"]["srcc"])
    assert same["val"]["rmse_raw"] == pytest.approx(first["val"]["rmse_raw"], abs=1e-4)


@pytest.mark.parametrize("more", [[], ["init=somewhere", "finetune.epochs=2"]])
def test_nothing_to_calibrate_is_told(tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"training=none.*needs init=BUNDLE"):
        run_stage("train_student", tmp_path, *STUDENT, "training=none", "labels=none", *more)
