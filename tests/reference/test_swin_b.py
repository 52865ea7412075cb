"""Swin-B's features against timm and torchvision, the BoT stack against loops, from files
as they are published."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from distill.cost import profile
from teachers.bot import BoTStack
from teachers.ensemble import TeacherEnsemble
from teachers.swin_b import SwinB

IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
REGRESSOR = {"quality.0.weight": torch.zeros(128, 1280), "quality.1.bias": torch.zeros(1)}


def _lively(net: nn.Module) -> nn.Module:
    """Random weights as large as trained ones: fresh ones leave attention next to no say."""
    torch.manual_seed(2)
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith("relative_position_bias_table"):
                tensor.normal_()
            elif key.endswith("weight") and tensor.ndim == 1:
                tensor.uniform_(0.8, 1.2)
            elif tensor.is_floating_point():
                tensor.mul_(1.5).add_(torch.randn_like(tensor), alpha=0.02)
    return net.eval()


def _save(state: Mapping[str, Tensor], path: Path) -> str:
    torch.save(dict(state), path)
    return str(path)


@pytest.fixture(scope="module")
def view() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (1, 1, 3, 384, 384), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def pixels(view: Tensor) -> Tensor:
    return (view[0] / 255 - IMAGENET[0]) / IMAGENET[1]


@pytest.fixture(scope="module")
def swin() -> nn.Module:
    return _lively(timm.create_model("swin_base_patch4_window12_384", num_classes=0))


@pytest.fixture(scope="module")
def maps(swin: nn.Module, pixels: Tensor) -> Tensor:
    """(1, 1024, 12, 12), what RQ-VQA pools or gives to its BoT stack."""
    with torch.no_grad():
        return swin.forward_features(pixels).permute(0, 3, 1, 2)  # type: ignore[operator]


@pytest.fixture(scope="module")
def old_names(swin: nn.Module) -> dict[str, Tensor]:
    """The state dict as timm 0.6.13 has it: 362 tensors with its buffers, less the classifier."""
    state = {}
    for key, tensor in swin.state_dict().items():
        found = re.fullmatch(r"layers\.(\d)\.downsample\.(.*)", key)
        state[f"layers.{int(found[1]) - 1}.downsample.{found[2]}" if found else key] = tensor
    for stage, depth in enumerate((2, 2, 18, 2)):
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            state[f"{name}.attn.relative_position_index"] = torch.zeros(144, 144).long()
            if block % 2 and stage < 3:
                state[f"{name}.attn_mask"] = torch.zeros(4 ** (3 - stage), 144, 144)
    assert len(state) == 362
    return state


def _close(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-4


def test_the_lsvq_file_of_rq_vqa(
    old_names: dict[str, Tensor], maps: Tensor, view: Tensor, tmp_path: Path
) -> None:
    """And frozen features are the mean over the positions of timm's map."""
    state = {f"feature_extraction.{key}": tensor for key, tensor in old_names.items()}
    path = _save(state | REGRESSOR, tmp_path / "Swin_b_384_in22k_SlowFast_Fast_LSVQ.pth")
    member = SwinB(weights=path)
    ours = member(view)
    assert ours.shape == (1, 1, 1024)
    _close(ours[0], maps.mean((2, 3)))
    assert not ours.requires_grad
    assert "README says Apache-2.0" in member.info.license


def test_the_checkpoint_of_rq_vqa(
    old_names: dict[str, Tensor], maps: Tensor, view: Tensor, tmp_path: Path
) -> None:
    stack = _lively(BoTStack(1024, 12)).state_dict()
    state = {f"feature_extraction.feature_extraction.{k}": v for k, v in old_names.items()}
    state |= {f"bot4.{key}": tensor for key, tensor in stack.items()} | REGRESSOR
    state = {f"module.{key}": tensor for key, tensor in state.items()}
    member = SwinB(weights=_save(state, tmp_path / "RQ_VQA.pth"), bot=True)
    expected = _stack_by_loops(stack, maps.numpy(), heads=4).mean((2, 3))
    _close(member(view)[0], torch.from_numpy(expected).float())


def test_torchvision_s_swin_b_on_384_pixels(view: Tensor, pixels: Tensor, tmp_path: Path) -> None:
    """MinimalisticVQA's: windows of 7 on maps of 96, 48, 24 and 12, padded."""
    swin = torchvision.models.swin_b()
    swin.head = nn.Identity()
    _lively(swin)
    state = {f"feature_extraction.{key}": tensor for key, tensor in swin.state_dict().items()}
    path = _save(state | REGRESSOR, tmp_path / "MinimalisticVQA_Model_IX_LSVQ.pth")
    member = SwinB("torchvision/swin_b", path)
    with torch.no_grad():
        _close(member(view)[0], swin(pixels))
    assert member.info.license == "Apache-2.0"


def _batchnorm(x: np.ndarray, state: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    mean, var, weight, bias = (
        state[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def _attention_by_loops(x: np.ndarray, state: Mapping[str, np.ndarray], heads: int) -> np.ndarray:
    """(C, H, W) -> (heads * d, H, W), one query position after another."""
    _, height, width = x.shape
    both = np.einsum("oc,cyx->oyx", state["to_qk.weight"][:, :, 0, 0], x)
    values = np.einsum("oc,cyx->oyx", state["to_v.weight"][:, :, 0, 0], x)
    queries, keys = np.split(both, 2)
    by_row, by_column = state["pos_emb.rel_height"], state["pos_emb.rel_width"]
    d = len(queries) // heads
    out = np.empty_like(values)
    for head in range(heads):
        mine = slice(head * d, (head + 1) * d)
        for y in range(height):
            for x_ in range(width):
                query = queries[mine, y, x_] / np.sqrt(d)
                logits = np.einsum("d,dij->ij", query, keys[mine])
                for i in range(height):  # absolute positions of the keys
                    logits[i] += query @ by_row[i - y + height - 1]
                for j in range(width):
                    logits[:, j] += query @ by_column[j - x_ + width - 1]
                weights = np.exp(logits - logits.max())
                out[mine, y, x_] = np.einsum("ij,dij->d", weights / weights.sum(), values[mine])
    return out


def _stack_by_loops(state: Mapping[str, Tensor], maps: np.ndarray, heads: int) -> np.ndarray:
    """The BoT stack in evaluation mode, float64."""
    arrays = {key: tensor.double().numpy() for key, tensor in state.items()}
    out = maps.astype(np.float64)
    for block in range(3):
        prefix = f"net.{block}.net."
        mine = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        attention = {k.removeprefix("3."): v for k, v in mine.items() if k.startswith("3.")}
        for frame, x in enumerate(out):
            y = np.einsum("oc,cyx->oyx", mine["0.weight"][:, :, 0, 0], x)
            y = _attention_by_loops(np.maximum(_batchnorm(y, mine, "1"), 0), attention, heads)
            y = np.einsum(
                "oc,cyx->oyx", mine["7.weight"][:, :, 0, 0], np.maximum(_batchnorm(y, mine, "5"), 0)
            )
            out[frame] = np.maximum(_batchnorm(y, mine, "8") + x, 0)
    return out


def test_a_small_stack_against_loops() -> None:
    stack = _lively(BoTStack(32, 5, heads=2, head_dim=8))
    maps = 3 * torch.randn(2, 32, 5, 5)
    with torch.no_grad():
        ours = stack(maps).numpy()
    expected = _stack_by_loops(stack.state_dict(), maps.numpy(), heads=2)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(ours - np.maximum(maps.numpy(), 0)).max() > 0.5


def test_a_new_stack_is_a_relu() -> None:
    """The last BatchNorm of each block starts at 0, so that training starts from the Swin's map."""
    maps = torch.randn(2, 32, 5, 5)
    stack = BoTStack(32, 5)
    assert torch.equal(stack(maps), maps.relu())
    assert torch.equal(stack.eval()(maps), maps.relu())


@pytest.mark.parametrize(
    ("bot", "gmacs", "parameters"),
    # 47.19 is published. The stack: 0.576 of linear maps and attention, 0.002 of BatchNorm.
    [(False, 47.19, 86.88), (True, 47.77, 90.45)],
)
def test_costs(bot: bool, gmacs: float, parameters: float) -> None:
    view = {"kind": "key_frames", "num_frames": 1, "size": 384}
    options = {"kind": "swin_b", "bot": bot, "view": view, "trainable": True}
    model = TeacherEnsemble({"frames": options}, weights="none")
    assert profile(model).by_part["frames"] == pytest.approx(gmacs, rel=1e-3)
    count = sum(p.numel() for p in model.members.parameters())
    assert count / 1e6 == pytest.approx(parameters, rel=1e-3)
