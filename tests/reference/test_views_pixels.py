"""Resizing and texture against Pillow, torchvision, scipy and plain bilinear interpolation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torchvision.transforms.v2 import functional as tv

from distill.data.reader import VideoInfo
from distill.data.sampling import patch_corners
from distill.data.views import KeyFrames, MotionChunks, View
from distill.data.views.base import chw, resize, resize_short
from distill.data.views.texture_patches import laplacian_variance

SIDES = st.integers(1, 120)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # Black and white: the hardest case for rounding.
    return rng.choice(np.array([0, 255], dtype=np.uint8), (height, width, 3))


# From 2 on: torch 2.15 fails inside on a contiguous image to 1x1; not in our layout.
@given(SIDES, SIDES, st.integers(2, 120), st.integers(2, 120), st.integers(0, 9))
@example(1080, 1920, 224, 224, 0)
@example(540, 960, 384, 683, 1)
@example(3, 5, 224, 224, 2)
@settings(max_examples=150)
def test_resize_is_pillow_s_and_torchvision_s(
    height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    frame = noise(height, width, seed)
    found = resize(chw(frame), new_height, new_width)
    pillow = Image.fromarray(frame).resize((new_width, new_height), Image.BILINEAR)
    assert np.abs(found.transpose(1, 2, 0).astype(int) - np.asarray(pillow)).max() <= 1
    contiguous = torch.from_numpy(frame).permute(2, 0, 1).contiguous()
    expected = tv.resize(contiguous, [new_height, new_width], antialias=True)
    assert (found == expected.numpy()).all()  # whatever the layout


def test_a_test_of_the_resize_can_fail() -> None:
    frame = noise(90, 160)
    pillow = np.asarray(Image.fromarray(frame).resize((32, 32), Image.BILINEAR)).astype(int)
    plain = F.interpolate(torch.from_numpy(chw(frame))[None], size=(32, 32), mode="bilinear")[0]
    assert np.abs(plain.permute(1, 2, 0).numpy() - pillow).max() > 50


@pytest.mark.parametrize("view", [KeyFrames(1, 384, 384), MotionChunks(1, 1, 224)], ids=str)
@pytest.mark.parametrize(("height", "width"), [(540, 960), (959, 541), (270, 480)])
def test_views_resize_the_whole_frame_as_pillow_does(view: View, height: int, width: int) -> None:
    frame = noise(height, width)
    collector = view.begin(VideoInfo(1, 30.0, width, height), 0, False)
    collector.add(0, frame)
    found = collector.result().reshape(view.shape[-3:]).transpose(1, 2, 0).astype(int)
    if isinstance(view, KeyFrames):
        short = min(height, width)
        sides = round(height * 384 / short), round(width * 384 / short)
        top, left = (round((side - 384) / 2) for side in sides)
        large = np.asarray(Image.fromarray(frame).resize(sides[::-1], Image.BILINEAR))
        expected = large[top : top + 384, left : left + 384]
    else:
        expected = np.asarray(Image.fromarray(frame).resize((224, 224), Image.BILINEAR))
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(112, 168), (64, 96), (300, 200)])
def test_enlarging_is_fast_vqa_s_bilinear_but_rounded(height: int, width: int) -> None:
    # FAST-VQA: levels / 255, bilinear by the inverse ratio without antialiasing, * 255, cut down
    # to whole levels. These sides grow to whole ones, so its long side is ours.
    side = 2 * min(height, width)
    image = torch.from_numpy(chw(noise(height, width)))
    floats = F.interpolate(image[None] / 255, scale_factor=2.0, mode="bilinear")[0] * 255
    found = torch.from_numpy(resize_short(image.numpy(), side))
    assert found.shape == floats.shape
    assert (found - floats).abs().max() <= 1.01
    below = found.int() - floats.to(torch.uint8).int()
    assert set(below.unique().tolist()) <= {-1, 0, 1} and below.float().mean() > 0.1


@given(st.integers(8, 70), st.integers(8, 70), st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=80)
def test_laplacian_variance_is_scipy_s(height: int, width: int, patch: int, seed: int) -> None:
    patch = min(patch, height, width)
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    corners = patch_corners(height, width, patch, patch)
    luma = np.floor(frame @ np.array([19595, 38470, 7471]) / 65536 + 0.5)  # BT.601, 16 bits
    laplacian = ndimage.laplace(luma, mode="nearest")
    expected = [laplacian[y : y + patch, x : x + patch].var() for y, x in corners]
    np.testing.assert_allclose(laplacian_variance(frame, corners, patch), expected, atol=1e-6)
