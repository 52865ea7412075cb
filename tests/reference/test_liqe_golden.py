"""LIQE against what its published code computes with the same parameters (tests/golden)."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from teachers.clip import Clip
from teachers.liqe import Liqe, distortion_marginal, expected_quality, scene_marginal
from teachers.liqe_prompts import PROMPTS, tokens

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "liqe.json").read_text(encoding="utf-8")
)
EXPECTED = GOLDEN["outputs"]
pytestmark = pytest.mark.slow  # 151 M parameters, and 495 prompts through the text tower


def _parameter(key: str, shape: list[int]) -> Tensor:
    """By the rule of tests/golden/README.md."""
    if key == "logit_scale":
        return torch.tensor(4.6052)
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) == 1:
        value = 1 + 0.1 * n if "ln_" in key and key.endswith("weight") else 0.1 * n
    elif "embedding" in key or (key.endswith("proj") and "out_proj" not in key):
        value = 0.05 * n
    else:
        value = n / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Liqe:
    """From a file as pyiqa publishes it."""
    path = tmp_path_factory.mktemp("weights") / "liqe_mix.pt"
    state = {f"clip_model.{k}": _parameter(k, s) for k, s in GOLDEN["parameters"].items()}
    torch.save({"params": state}, path)
    del state
    try:
        return Liqe(weights=str(path))
    finally:
        path.unlink()  # 605 MB


@pytest.fixture(scope="module")
def vectors(member: Liqe) -> Tensor:
    generator = np.random.default_rng(GOLDEN["seed"])
    patches = generator.standard_normal(EXPECTED["input_shape"]).astype(np.float32)
    with torch.no_grad():
        return member.visual(torch.from_numpy(patches))


def test_the_state_dict_is_the_published_one() -> None:
    ours = {key: list(value.shape) for key, value in Clip().state_dict().items()}
    assert ours == GOLDEN["parameters"]


def test_prompts_and_their_numbers() -> None:
    prompts = PROMPTS["mix"]
    assert len(prompts) == 495
    assert (prompts[0], prompts[-1]) == (GOLDEN["prompt_first"], GOLDEN["prompt_last"])
    rows = tokens(prompts)
    for row, name in ((rows[0], "tokens_first"), (rows[-1], "tokens_last")):
        assert row[: len(GOLDEN[name])].tolist() == GOLDEN[name]


def test_image_features(vectors: Tensor) -> None:
    expected = torch.tensor(EXPECTED["image_feature_first8"])
    atol = 1e-4 * float(vectors[0].std())
    torch.testing.assert_close(vectors[0, :8], expected, rtol=0, atol=atol)


def test_logits(member: Liqe, vectors: Tensor) -> None:
    logits = member.logits(vectors)
    assert logits.shape == (495,)
    atol = 1e-4 * EXPECTED["logits_std"]
    for part, name in ((logits[:8], "logits_first8"), (logits[-8:], "logits_last8")):
        torch.testing.assert_close(part, torch.tensor(EXPECTED[name]), rtol=0, atol=atol)
    assert float(logits.mean()) == pytest.approx(EXPECTED["logits_mean"], abs=atol)
    assert float(logits.std()) == pytest.approx(EXPECTED["logits_std"], abs=atol)


def test_marginals_and_quality(member: Liqe, vectors: Tensor) -> None:
    logits = member.logits(vectors)
    for marginal, name in ((scene_marginal, "scene"), (distortion_marginal, "distortion")):
        expected = torch.tensor(EXPECTED[name])
        atol = 1e-4 * float(expected.std())
        torch.testing.assert_close(marginal(logits), expected, rtol=0, atol=atol)
    assert float(expected_quality(logits)) == pytest.approx(EXPECTED["quality"], abs=1e-4)
    assert float(member.own_score(logits[None, None])) == pytest.approx(EXPECTED["quality"], 1e-4)
