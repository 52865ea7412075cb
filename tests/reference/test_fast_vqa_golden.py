"""FAST-VQA against what the published code computes, from files as they are published."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.cost import profile
from teachers.ensemble import TeacherEnsemble
from teachers.fast_vqa import FastVQA
from tests.helpers.golden import golden_parameter

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/fast_vqa.json").read_text())
# title in the golden file, file as published, window of the position index, seed of the input
PUBLISHED = {
    "fast_vqa_b": ("FAST-VQA-B", "FAST_VQA_B_1*4.pth", (8, 7, 7), GOLDEN["seed"]),
    "fast_vqa_m": ("FAST-VQA-M", "FAST_VQA_M_1_4.pth", (4, 4, 4), GOLDEN["seed"] + 1),
}


def _entry(key: str, shape: list[int], window: tuple[int, int, int]) -> Tensor:
    """One tensor of the golden state dict; see tests/golden/README.md."""
    if key.endswith("relative_position_index"):
        at = np.indices(window).reshape(3, -1)
        offsets = at[:, :, None] - at[:, None] + (np.array(window) - 1)[:, None, None]
        index = np.ravel_multi_index(tuple(offsets), tuple(2 * w - 1 for w in window))
        return torch.from_numpy(index)
    return golden_parameter(key, shape)


@pytest.mark.parametrize("variant", PUBLISHED)
def test_published_outputs(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    title, file, window, seed = PUBLISHED[variant]
    shapes = GOLDEN["parameters"][title]
    state = {key: _entry(key, shape, window) for key, shape in shapes.items()}
    results = {"val-kv1k": (np.float64(0.86), np.float32(0.85), np.int64(4), 0.4)}
    torch.save({"state_dict": state, "validation_results": results}, tmp_path / file)
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))

    net = FastVQA(variant)
    ours = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert ours == {**shapes, "mean": [3, 1, 1], "std": [3, 1, 1]}
    assert net.info.license.startswith("MIT")

    golden: dict[str, Any] = GOLDEN["outputs"][title]
    clip = np.random.default_rng(seed).standard_normal(golden["input_shape"]).astype(np.float32)
    with torch.inference_mode():
        maps = net.fragments_backbone(torch.from_numpy(clip)).movedim(-1, 1)
        quality = net.vqa_head(maps)
    assert list(maps.shape) == golden["feature_shape"]
    assert list(quality.shape) == golden["map_shape"]
    pooled, places = maps.mean((2, 3, 4))[0], quality.flatten()

    def same(ours: Tensor, theirs: object, spread: float) -> None:
        expected = torch.tensor(theirs, dtype=torch.float32)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4 * spread)

    same(pooled[:16], golden["pooled_first16"], golden["pooled_std"])
    same(pooled.mean(), golden["pooled_mean"], golden["pooled_std"])
    same(pooled.std(), golden["pooled_std"], golden["pooled_std"])
    same(places[:8], golden["map_first8"], golden["map_std"])
    same(places[-8:], golden["map_last8"], golden["map_std"])
    same(places.std(), golden["map_std"], golden["map_std"])
    same(places.mean(), golden["score"], golden["map_std"])


def test_cost_of_one_clip() -> None:
    """fvcore on torchvision's swin3d_t with the same windows counts 88.06 GMACs."""
    member = {"kind": "fast_vqa", "variant": "faster_vqa", "weights": "none", "head": "own"}
    cost = profile(TeacherEnsemble({"one": {**member, "trainable": True}}, fusion="mean"))
    assert cost.gmacs == pytest.approx(88.06, rel=0.01)
