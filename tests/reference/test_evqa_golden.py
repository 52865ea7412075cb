"""E-VQA's student against what its published code computes with the same parameters."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from distill.errors import WeightsError
from students.evqa import EVQAStudent
from tests.helpers.golden import golden_parameter

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "evqa.json").read_text(encoding="utf-8")
)
EXPECTED = GOLDEN["outputs"]


def _indices(prefix: str) -> dict[str, Tensor]:
    """The whole numbers of torchvision's Swin-T, which a published file holds too."""
    buffers = torchvision.models.swin_t().named_buffers()
    return {prefix + key: value for key, value in buffers}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EVQAStudent]:
    """From a file as E-VQA publishes it, its wrapping of several GPUs still on."""
    path = tmp_path_factory.mktemp("weights") / "evqa.pth"
    state = {key: golden_parameter(key, shape) for key, shape in GOLDEN["parameters"].items()}
    for tower in ("aesthetics", "distortion"):
        state |= _indices(f"{tower}_feature_extraction.")
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    yield EVQAStudent(weights=str(path)).eval()
    path.unlink(missing_ok=True)  # 221 MB


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(GOLDEN["seed"])
    drawn = [generator.standard_normal((1, 2, 3, 384, 384)).astype(np.float32) for _ in range(2)]
    return torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1])


def test_the_state_dict_is_the_published_one(model: EVQAStudent) -> None:
    state = model.state_dict()
    floats = {key: list(v.shape) for key, v in state.items() if v.is_floating_point()}
    assert floats == GOLDEN["parameters"]
    rest = state.keys() - floats.keys()
    assert all(key.endswith("relative_position_index") for key in rest)


def test_features_and_score(model: EVQAStudent, inputs: tuple[Tensor, Tensor]) -> None:
    with torch.no_grad():
        says = model.score_pixels(*inputs)
        whole = model.aesthetics_feature_extraction(inputs[0][:, :1])[0, 0]
        fragments = model.distortion_feature_extraction(inputs[1][:, :1])[0, 0]
    for ours, name in ((whole, "frame"), (fragments, "fragment")):
        expected = torch.tensor(EXPECTED[f"{name}_feature_first8"])
        atol = 1e-4 * float(ours.std())
        torch.testing.assert_close(ours[:8], expected, rtol=0, atol=atol)
    assert float(says.score) == pytest.approx(EXPECTED["score"], abs=1e-4)
    torch.testing.assert_close(says.score, says.frame_scores.mean(1))  # type: ignore[union-attr]


def test_the_head_of_the_file_came_too(model: EVQAStudent) -> None:
    for key in ("quality.0.weight", "quality.1.bias"):
        expected = golden_parameter(key, GOLDEN["parameters"][key])
        assert torch.equal(model.state_dict()[key], expected)
    assert model.random_backbones() == []
    assert model.licenses()[0].startswith("evqa.pth, sha256 ")


def test_both_towers_begin_with_minimalistic_vqa_s(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = torchvision.models.swin_t()
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("head.")}
    path = tmp_path / "MinimalisticVQA_Model_SwinT_SlowFast.pth"
    file = {f"feature_extraction.{key}": value for key, value in state.items()}
    torch.save(file | {"quality.0.weight": torch.zeros(128, 1024)}, path)
    begun = EVQAStudent(weights=str(path))
    for tower in (begun.aesthetics_feature_extraction, begun.distortion_feature_extraction):
        assert all(torch.equal(value, state[key]) for key, value in tower.state_dict().items())
    assert begun.quality[0].weight.shape == (128, 1536)
    assert begun.quality[0].weight.abs().max() > 0
    assert begun.licenses()[0].endswith(": Apache-2.0")
    # They share a start, not their parameters.
    parameters = [next(tower.parameters()) for tower in begun._towers]
    assert parameters[0].data_ptr() != parameters[1].data_ptr()

    torch.save(net.state_dict(), tmp_path / "swin_t.pth")  # torchvision's, with its classifier
    assert EVQAStudent(weights=str(tmp_path / "swin_t.pth")).random_backbones() == []


@pytest.mark.parametrize("fault", ["missing", "extra", "other"])
def test_files_that_do_not_fit_are_refused(fault: str, tmp_path: Path) -> None:
    state = {f"feature_extraction.{k}": v for k, v in torchvision.models.swin_t().named_buffers()}
    state |= {
        f"feature_extraction.{k}": v
        for k, v in torchvision.models.swin_t().named_parameters()
        if not k.startswith("head.")
    }
    if fault == "missing":
        del state["feature_extraction.norm.weight"]
    elif fault == "extra":
        state["motion.weight"] = torch.zeros(1)
    else:
        state = {"aesthetics_feature_extraction.norm.weight": torch.zeros(768)}
    torch.save(state, tmp_path / "odd.pth")
    words = {
        "missing": "odd.pth: does not fit torchvision's swin_t; missing: norm.weight",
        "extra": "odd.pth: does not fit torchvision's swin_t; not of this network: motion.weight",
        "other": "odd.pth: does not fit E-VQA's student; missing: ",
    }
    with pytest.raises(WeightsError, match=words[fault]):
        EVQAStudent(weights=str(tmp_path / "odd.pth"))
    with pytest.raises(WeightsError, match=r"weights=hub: no such file; .* UVQA_0\.8967\.pth"):
        EVQAStudent(weights="hub")
