"""A frozen teacher through the training command: from the cache, and without it."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.stages import TRAINING, run_stage

_VIEW = "{kind: key_frames, num_frames: 2, size: 64, short_side: 64}"
_FROZEN = f"trainable: false, weights: auto, stages: [2, 4], view: {_VIEW}"
FROZEN = [
    f"teacher.members={{frames: {{backbone: tf_efficientnet_lite0, {_FROZEN}}}}}",
    "~teacher.members.fragments",
    "teacher.hidden=16",
    *TRAINING,
]


def test_a_frozen_teacher_learns_the_same_with_and_without_the_cache(
    demo_manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def train(name: str, cache: Path | str) -> dict[str, torch.Tensor]:
        run_stage("train_teacher", tmp_path / name, *FROZEN, f"training.feature_cache={cache}")
        return load_file(tmp_path / name / "bundle" / "model.safetensors")

    cache = tmp_path / "cache"
    without = train("without", "none")
    assert not cache.exists()
    first = train("first", cache)
    files = sorted(cache.rglob("*.safetensors"))
    assert len(files) == 28  # 21 training and 7 validation videos of the tiny demo
    for key, value in without.items():
        torch.testing.assert_close(first[key], value, atol=1e-5, rtol=1e-4)

    stamps = [path.stat().st_mtime_ns for path in files]
    files[3].write_bytes(b"damaged")
    with caplog.at_level(logging.INFO):
        second = train("second", cache)
    assert "features: all 28 videos are cached" not in caplog.text
    assert [path.stat().st_mtime_ns == was for path, was in zip(files, stamps, strict=True)] == [
        number != 3 for number in range(28)
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        third = train("third", cache)
    assert "features: all 28 videos are cached" in caplog.text
    for key, value in first.items():
        assert torch.equal(second[key], value) and torch.equal(third[key], value)
