"""Per-frame features: shapes, statistics, and what frozen and trainable mean."""

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from distill.errors import ConfigError, WeightsError
from teachers.timm_frames import TimmFrames, pool


def _frames(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("backbone", "size", "stages", "dim"),
    [
        ("test_efficientnet", 64, (-1,), 2 * 64),
        ("test_resnet", 64, (1, -1), 2 * (32 + 96)),
        ("test_convnext", 64, (0, 3), 2 * (24 + 64)),
        ("test_vit", 96, (2, 5), 2 * (64 + 64)),  # resized from 160
    ],
)
def test_features_of_every_family_and_view(
    backbone: str, size: int, stages: tuple[int, ...], dim: int
) -> None:
    net = TimmFrames(backbone, "none", size, stages, trainable=True).eval()
    assert net.feature_dim == dim
    key_frames = _frames(2, 3, 3, size, size)
    features = net(key_frames)
    assert features.shape == (2, 3, dim)
    assert torch.equal(net(key_frames.unflatten(1, (3, 1))), features)  # (B, N, T, ...)
    # A frame's features do not depend on its neighbours.
    torch.testing.assert_close(net(key_frames[1:, 2:]), features[1:, 2:], rtol=1e-4, atol=1e-4)

    net(key_frames).sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None]


def test_pooling_is_mean_and_population_deviation() -> None:
    maps = torch.randn(3, 5, 4, 6)
    expected = torch.cat([maps.mean((2, 3)), maps.std((2, 3), unbiased=False)], 1)
    torch.testing.assert_close(pool(maps), expected, rtol=1e-5, atol=1e-5)
    flat = torch.ones(1, 2, 4, 4, requires_grad=True)
    pool(flat).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit"])
def test_frames_are_normalised_as_the_network_was_pretrained(backbone: str) -> None:
    net = TimmFrames(backbone, "none", 160, trainable=True).eval()
    frames = _frames(2, 3, 160, 160)
    config = timm.create_model(backbone).pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected = net.net.forward_intermediates(  # type: ignore[operator]
        (frames / 255 - mean) / std, indices=1, intermediates_only=True, norm=False
    )[-1]
    torch.testing.assert_close(net.maps(frames)[0], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(TypeError, match="must be uint8"):
        net(frames.float()[None])


def test_frozen_is_always_evaluation_without_gradient() -> None:
    net = TimmFrames("tf_efficientnet_lite0", "wheel", 64)
    frames = _frames(1, 2, 3, 64, 64)
    outside = nn.Sequential(net).train()
    assert not any(module.training for module in net.modules())
    before = copy.deepcopy(net.state_dict())
    features = outside(frames)
    assert not features.requires_grad
    assert torch.equal(features, outside.eval()(frames))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("fixed", [True, False])
def test_batchnorm_statistics_stay_fixed_unless_asked(fixed: bool) -> None:
    net = TimmFrames("test_efficientnet", "none", 64, trainable=True, fixed_batchnorm=fixed)
    net.eval()
    net.train()
    before = copy.deepcopy(dict(net.named_buffers()))
    net(_frames(1, 2, 3, 64, 64)).sum().backward()
    moved = [k for k, v in net.named_buffers() if not torch.equal(v, before[k])]
    assert bool(moved) is not fixed
    assert net.training
    assert all(p.grad is not None for p in net.parameters())


def test_a_frozen_network_without_weights_refuses_until_a_state_dict_came() -> None:
    source = TimmFrames("test_efficientnet", "none", 64, trainable=True)
    frozen = TimmFrames("test_efficientnet", "none", 64)
    frames = _frames(1, 1, 3, 64, 64)
    twin = copy.deepcopy(frozen)
    with pytest.raises(WeightsError, match="test_efficientnet is frozen and its weights are rand"):
        frozen(frames)
    nn.ModuleDict({"other": source, "mine": frozen}).load_state_dict(
        {f"other.{key}": value for key, value in source.state_dict().items()}, strict=False
    )
    with pytest.raises(WeightsError):
        frozen(frames)
    frozen.load_state_dict(source.state_dict())
    torch.testing.assert_close(frozen(frames), source.eval()(frames))
    with pytest.raises(WeightsError):
        twin(frames)


@pytest.mark.parametrize(
    ("backbone", "options", "words"),
    [
        ("test_efficientnet", {"stages": (5,)}, r"stages: \[5\]; test_efficientnet has 5"),
        ("test_efficientnet", {"stages": ()}, "stages"),
        ("test_efficientnet", {"stages": ("a",)}, "stages"),
        ("test_effnet", {}, "did you mean"),
    ],
)
def test_bad_options_are_named(backbone: str, options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TimmFrames(backbone, "none", 64, **options)
