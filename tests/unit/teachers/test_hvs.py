"""Edges and masking weights against plain numpy, and the member that pools with them."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from distill.cost import profile
from distill.errors import ConfigError
from teachers.ensemble import TeacherEnsemble
from teachers.hvs import HvsFrames, edges, visibility
from teachers.members import make_member
from teachers.timm_frames import TimmFrames

VIEW = {"kind": "key_frames", "num_frames": 2, "size": 64}


def _frames(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("shape", [(2, 3, 9, 14), (1, 3, 1, 5), (1, 1, 1, 1)])
def test_edges_are_sobel_s(shape: tuple[int, ...]) -> None:
    frames = _frames(*shape) // 6  # else most gradients are cut off
    expected = np.empty(shape, np.uint8)
    for at in np.ndindex(shape[:2]):
        channel = frames[at].numpy().astype(int)
        down, across = (scipy.ndimage.sobel(channel, axis, mode="nearest") for axis in (0, 1))
        expected[at] = np.minimum(np.abs(down) + np.abs(across), 255)
    assert edges(frames).dtype == torch.uint8
    assert np.array_equal(edges(frames).numpy(), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(edges(frames).numpy(), expected)


def test_an_edge_by_hand() -> None:
    frame = torch.zeros(1, 1, 3, 4, dtype=torch.uint8)
    frame[..., 2:] = 30
    assert edges(frame)[0, 0].tolist() == [[0, 120, 120, 0]] * 3
    frame[..., 2:] = 100  # 400, cut off
    assert edges(frame)[0, 0].tolist() == [[0, 255, 255, 0]] * 3


def test_weights_fall_with_the_contrast_of_a_cell() -> None:
    frames = _frames(2, 3, 12, 8)
    frames[0, :, :6, :4] = 200  # a flat cell
    expected = np.empty((2, 1, 2, 2))
    luma = np.einsum("fchw,c->fhw", frames.numpy().astype(float), [0.299, 0.587, 0.114])
    for f, i, j in np.ndindex(2, 2, 2):
        cell = luma[f, 6 * i : 6 * (i + 1), 4 * j : 4 * (j + 1)]
        expected[f, 0, i, j] = 1 / (1 + cell.std() / 16)
    expected /= expected.mean((2, 3), keepdims=True)
    out = visibility(frames, (2, 2))
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-4)
    assert out[0, 0, 0, 0] == out[0].max() and out[0, 0, 0, 0] > 2 * out[0, 0, 1, 1]
    assert torch.equal(visibility(torch.full_like(frames, 255), (3, 2)), torch.ones(2, 1, 3, 2))


def test_features_are_weighted_statistics_of_both_pictures() -> None:
    torch.manual_seed(0)
    member = HvsFrames("test_convnext", "none", 64, (1, 3), trainable=True).eval()
    assert member.feature_dim == 4 * sum(member.channels)
    view = _frames(2, 3, 3, 64, 64)
    out = member(view)
    assert out.shape == (2, 3, member.feature_dim)
    frame, at = view[1, 2][None], 0
    for picture in (frame, edges(frame)):
        for maps in TimmFrames.maps(member, picture):
            weighted = (maps * visibility(frame, maps.shape[-2:]))[0].flatten(1)
            for expected in (weighted.mean(1), weighted.std(1, correction=0)):
                part = out[1, 2, at : at + len(expected)]
                torch.testing.assert_close(part, expected, rtol=1e-3, atol=1e-4)
                at += len(expected)
    assert at == member.feature_dim
    assert torch.equal(member(view.unsqueeze(2)), out)
    out.sum().backward()
    assert all(p.grad is not None for p in member.parameters())


def test_it_costs_two_passes_of_its_network() -> None:
    options = {"backbone": "test_convnext", "weights": "none", "trainable": True, "view": VIEW}
    both = profile(TeacherEnsemble({"m": {**options, "kind": "hvs"}}, hidden=8))
    one = profile(TeacherEnsemble({"m": options}, hidden=8))
    assert both.by_part["m"] == pytest.approx(2 * one.by_part["m"], rel=0.02)


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"members.m: stages: \[7\]"):
        make_member("m", {"kind": "hvs", "weights": "none", "view": VIEW, "stages": [7]})
    with pytest.raises(ConfigError, match="view is missing; it says what convnext_tiny"):
        make_member("m", {"kind": "hvs", "weights": "none"})
