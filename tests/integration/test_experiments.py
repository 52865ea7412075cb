"""Every published recipe: it composes, says where it is from, and runs two steps at toy size."""

import json
from pathlib import Path

import pytest
import yaml

from distill.bundle import load_bundle
from distill.errors import MissingWeightsError
from distill.help import config_groups
from distill.overrides import check_overrides
from teachers.member import Member
from tests.helpers.stages import run_stage
from tests.helpers.tiny_vlm import save_llava

NAMES = config_groups()["experiment"]
ROOT = Path(__file__).resolve().parents[2]
# Random weights, few and small frames; the networks are the published ones but for Swin-B, of
# which the smallest kin stands in.
_TINY_SWIN = "teacher.members.swin_b.backbone=swin_tiny_patch4_window7_224.ms_in1k"
TOY = {
    "swin_b": [
        "teacher.members.swin_b.weights=none", "teacher.members.swin_b.view.size=64",
        "teacher.members.swin_b.view.short_side=64", "teacher.members.swin_b.view.num_frames=2",
    ],
    "slowfast": [
        "teacher.members.slowfast.weights=none",
        "teacher.members.slowfast.view.num_chunks=1", "teacher.members.slowfast.view.chunk_len=8",
        "teacher.members.slowfast.view.size=32",
    ],
    "fast_vqa": [
        "teacher.members.fast_vqa.weights=none",
        "teacher.members.fast_vqa.view.grid=1", "teacher.members.fast_vqa.view.clip_len=8",
        "teacher.members.fast_vqa.view.num_clips=1",
    ],
    "liqe": [
        "teacher.members.liqe.weights=none",
        "teacher.members.liqe.view.num_frames=1", "teacher.members.liqe.view.num_patches=1",
    ],
    "q_realign": [
        "teacher.members.q_realign.view.num_frames=1", "teacher.members.q_realign.view.size=32",
        "teacher.members.q_realign.dtype=float32",
    ],
    "hvs": [
        "teacher.members.hvs.weights=none", "teacher.members.hvs.view.num_frames=1",
        "teacher.members.hvs.backbone=test_convnext", "teacher.members.hvs.view.size=64",
        "teacher.members.hvs.view.short_side=64",
    ],
    "resnet": [
        "teacher.members.resnet.weights=none", "teacher.members.resnet.view.num_frames=2",
        "teacher.members.resnet.view.size=64", "teacher.members.resnet.view.short_side=64",
        "teacher.members.resnet.backbone=resnet18",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_it_composes_with_every_data_set_and_a_command_line_of_its_own(name: str) -> None:
    config = check_overrides("train_teacher", [f"experiment={name}", "data=kvq", "data.root=x"])
    chosen = yaml.safe_load((ROOT / "conf" / "experiment" / f"{name}.yaml").read_text())
    for option, value in chosen["training"].items():
        assert getattr(config.training, option) == value
    assert config.data.name == "kvq"
    changed = check_overrides("train_teacher", [f"experiment={name}", "training.epochs=3"])
    assert changed.training.epochs == 3
    assert changed.teacher == config.teacher


@pytest.mark.parametrize("name", NAMES)
def test_its_header_tells_paper_result_hardware_and_line(name: str) -> None:
    text = (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n")
    for word in (
        "# Expected: ",
        "# Hardware: ",
        f"# Line: python train_teacher.py experiment={name} ",
    ):
        assert word in text


def test_the_heavy_teacher_is_the_four_that_were_asked_for() -> None:
    members = check_overrides("train_teacher", ["experiment=heavy"]).teacher["members"]
    kinds = {name: options["kind"] for name, options in members.items()}
    assert kinds == {name: name for name in ("swin_b", "slowfast", "fast_vqa", "liqe")}


def test_a_missing_checkpoint_is_named_with_its_member(demo_manifest: Path, tmp_path: Path) -> None:
    words = ["experiment=heavy", *TOY["swin_b"], _TINY_SWIN]
    with pytest.raises(MissingWeightsError, match=r"members\.slowfast: SLOWFAST_8x8_R50\.pyth is"):
        run_stage("train_teacher", tmp_path, *words)


@pytest.mark.parametrize("name", NAMES)
def test_two_steps_at_toy_size(
    name: str, demo_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Frozen members refuse random weights; here these stand for the published files.
    monkeypatch.setattr(Member, "check_input", lambda self, view: None)
    members = check_overrides("train_teacher", [f"experiment={name}"]).teacher["members"]
    words = [word for member in members for word in TOY[member]]
    if "swin_b" in members and name != "minimalistic_vqa":
        words.append(_TINY_SWIN)
    elif "swin_b" in members:
        words.append("teacher.members.swin_b.backbone=torchvision/swin_t")
    if "q_realign" in members:
        words.append(f"teacher.members.q_realign.model={save_llava(tmp_path / 'llava')}")
    out = tmp_path / "run"
    result = run_stage(
        "train_teacher", out, f"experiment={name}", *words, "training.epochs=1", "folds=1",
        "training.batches_per_epoch=2", "training.batch_size=2", "data.num_workers=0",
        "training.accelerator=cpu", "training.precision=32-true", "training.feature_cache=none",
    )  # fmt: skip
    assert result["steps"] == 2
    spec = json.loads((out / "bundle" / "spec.json").read_text())
    assert set(spec["cost"]["by_part"]) == set(members)
    assert load_bundle(out / "bundle").calibration is not None
