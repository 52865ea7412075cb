"""Run a command's stage in this process, at a size that a test can afford."""

import importlib
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from distill.config import register_schemas

# Toy networks of timm's own test suite on 64-pixel views; random weights, seconds a run.
_FRAMES = "{kind: key_frames, num_frames: 2, size: 64, short_side: 64}"
_FRAGMENTS = "{kind: fragments, grid: 2, patch: 32, num_clips: 2, clip_len: 1}"
_TOY = "backbone: test_efficientnet, trainable: true, weights: none, stages: [1, 3]"
TEACHER = [
    f"teacher.members={{frames: {{{_TOY}, view: {_FRAMES}}},"
    f" fragments: {{{_TOY}, view: {_FRAGMENTS}}}}}",
    "teacher.hidden=16",
]
STUDENT = [
    "student=compact", "student.backbone=test_efficientnet", "student.weights=none",
    "student.num_frames=2", "student.size=64", "student.short_side=64", "student.grid=2",
    "student.stages=[1,3]", "student.hidden=16",
]  # fmt: skip
TRAINING = [
    "training.epochs=3",
    "training.val_every=1",
    "training.batch_size=6",
    "data.num_workers=0",
]


def run_stage(stage: str, out: Path, *overrides: str, resumed: bool = False) -> dict[str, Any]:
    """Compose as a door does, and run; no tracker, no report unless an override says more."""
    register_schemas()
    GlobalHydra.instance().clear()
    words = list(overrides)
    if not any(word.startswith("tracking") for word in words):
        words.append("tracking=none")
    if not any(word.startswith("report") for word in words):
        words.append("report=false")
    with initialize_config_module("conf", version_base="1.3"):
        config = compose(stage, words)
    return importlib.import_module(f"distill.stages.{stage}").run(config, out, resumed)
