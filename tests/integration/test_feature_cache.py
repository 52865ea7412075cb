"""A frozen teacher through the training command: from the cache, and without it."""

import functools
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill.data.features import FeatureStore
from distill.errors import ConfigError
from distill.features import feature_store
from distill.model import QualityModel
from distill.stages import feature_cache
from teachers.timm_frames import TimmFrames
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
    assert "features: 1 of 28 videos to compute" in caplog.text
    assert [path.stat().st_mtime_ns == was for path, was in zip(files, stamps, strict=True)] == [
        number != 3 for number in range(28)
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        third = train("third", cache)
    assert "features: 0 of 28 videos to compute" in caplog.text
    for key, value in first.items():
        assert torch.equal(second[key], value) and torch.equal(third[key], value)


def test_a_run_is_not_resumed_with_other_weights(
    demo_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head has learned from features of the old ones."""
    words = [*FROZEN, "training.feature_cache=none"]
    run_stage("train_teacher", tmp_path / "run", *words)
    other = "b" * 64
    monkeypatch.setattr(QualityModel, "licenses", lambda self: [f"another file, sha256 {other}"])
    with pytest.raises(ConfigError, match=r"its inputs changed: weights: was .*another file"):
        run_stage("train_teacher", tmp_path / "run", *words, resumed=True)


def test_frozen_weights_of_the_checkpoint_make_the_features(
    demo_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the network was built with: the checkpoint's weights are the ones it keeps."""
    seen = []

    def watch(model: QualityModel, folder: Path, device: torch.device) -> FeatureStore | None:
        (member,) = (network for _, network in model.frozen_members().values())
        seen.append(next(member.parameters()).detach().clone())
        return feature_store(model, folder, device)

    monkeypatch.setattr(feature_cache, "feature_store", watch)
    words = [*FROZEN, f"training.feature_cache={tmp_path / 'cache'}"]
    run_stage("train_teacher", tmp_path / "run", *words)
    (tmp_path / "run" / "result.json").unlink()
    built = TimmFrames.__init__

    @functools.wraps(built)  # its options are read from the signature
    def other(self: TimmFrames, *args: Any, **kwargs: Any) -> None:
        built(self, *args, **kwargs)
        with torch.no_grad():
            next(self.parameters()).add_(1.0)

    monkeypatch.setattr(TimmFrames, "__init__", other)
    run_stage("train_teacher", tmp_path / "run", *words, resumed=True)
    assert torch.equal(seen[0], seen[1])
