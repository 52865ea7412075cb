"""SlowFast's features against pytorchvideo's own network, from files as they are published."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from pytorchvideo.models.hub import slowfast_r50
from torch import Tensor, nn

from distill.cost import Cost, profile
from teachers.ensemble import TeacherEnsemble
from teachers.slowfast import SlowFast

SLOW, FAST = slice(0, 2048), slice(2048, 2304)


@dataclass(frozen=True)
class _Published:
    net: nn.Module
    path: Path
    view: Tensor
    features: Tensor  # (B, N, 2304)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Published]:
    """Random weights in pytorchvideo's file, and what its full forward pools from them."""
    generator = torch.Generator().manual_seed(1)
    net = slowfast_r50(pretrained=False).eval()
    for key, tensor in net.state_dict().items():
        if key.endswith("norm_c.weight"):
            tensor.fill_(0.5)  # it starts at 0, which would hide what the block does
        elif key.endswith("running_mean"):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    path = tmp_path_factory.mktemp("published") / "SLOWFAST_8x8_R50.pyth"
    torch.save({"model_state": net.state_dict()}, path)

    view = torch.randint(0, 256, (1, 1, 32, 3, 224, 224), dtype=torch.uint8, generator=generator)
    pooled: list[Tensor] = []
    for pool in net.blocks[5].pool:  # type: ignore[index,union-attr]
        pool.register_forward_hook(lambda module, given, output: pooled.append(output))
    fast = ((view[0] / 255 - 0.45) / 0.225).transpose(1, 2)
    slow = torch.index_select(fast, 2, torch.linspace(0, 31, 8).long())
    with torch.no_grad():
        net([slow, fast])
        output_pool = net.blocks[6].output_pool  # type: ignore[index,union-attr]
        features = torch.cat([output_pool(each).flatten(1) for each in pooled], dim=1)
    yield _Published(net, path, view, features[None])
    path.unlink()


def _relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    ("paths", "columns"),
    [(["fast", "slow"], slice(None)), (["slow"], SLOW), (["fast"], FAST)],
)
def test_features_are_those_of_the_full_forward(
    published: _Published, paths: list[str], columns: slice
) -> None:
    member = SlowFast(paths, str(published.path))
    expected = published.features[..., columns]
    assert expected.std() > 1e-3 * expected.mean()  # else any mistake would pass
    ours = member(published.view)
    assert ours.shape == expected.shape == (1, 1, member.feature_dim)
    assert _relative_error(ours, expected) < 1e-4
    if paths == ["slow"]:  # a stride of 4 gives other features
        member._slow_frames = list(range(0, 32, 4))
        assert _relative_error(member(published.view), expected) > 1e-3
    assert member.info.license == "Apache-2.0"


def test_the_wrapper_of_simplevqa_loads(published: _Published, tmp_path: Path) -> None:
    """Its ``feature_extraction`` holds the blocks up to the pooling, which has no weights."""
    state = {
        key.replace("blocks.", "feature_extraction.", 1): tensor
        for key, tensor in published.net.state_dict().items()
        if not key.startswith("blocks.6")
    }
    path = tmp_path / "wrapper.pth"
    torch.save(state, path)
    ours = SlowFast(["fast"], str(path)).state_dict()
    theirs = published.net.state_dict()
    assert ours
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key not in ("mean", "std"))


def _cost(paths: list[str]) -> Cost:
    view = {"kind": "motion_chunks", "num_chunks": 1}
    options = {"kind": "slowfast", "paths": paths, "view": view, "trainable": True}
    return profile(TeacherEnsemble({"motion": options}, weights="none"))


@pytest.mark.parametrize(
    ("paths", "gmacs", "parameters"),
    # 50.58 is published. The parameters are pytorchvideo's 34.57 M less 0.92 M of the classifier.
    # The rest was measured here, and differs from torch's own count by BatchNorm alone.
    [(["slow", "fast"], 50.58, 33.64), (["fast"], 5.371, 0.514)],
)
def test_costs(paths: list[str], gmacs: float, parameters: float) -> None:
    cost = _cost(paths)
    assert cost.by_part["motion"] == pytest.approx(gmacs, rel=1e-3)
    member = SlowFast(paths, "none", trainable=True)
    assert sum(p.numel() for p in member.parameters()) / 1e6 == pytest.approx(parameters, rel=1e-3)
