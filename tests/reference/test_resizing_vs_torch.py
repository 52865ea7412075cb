"""The resize that needs no torch against torch's own, bit for bit, and torch's absence."""

import subprocess
import sys

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distill.data.resizing import antialiased, taps

SIDES = st.integers(1, 160)


def torch_s(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    image = torch.from_numpy(frame).permute(2, 0, 1)[None]
    found = torch.nn.functional.interpolate(
        image, size=(height, width), mode="bilinear", antialias=True
    )
    return found[0].permute(1, 2, 0).numpy()


# From 2 on: torch fails inside on a contiguous image to 1x1.
@given(SIDES, SIDES, st.integers(2, 160), st.integers(2, 160), st.integers(0, 9), st.booleans())
@example(1080, 1920, 224, 398, 0, True)
@example(1080, 1920, 384, 683, 0, True)
@example(568, 320, 398, 224, 1, True)
@example(2160, 3840, 224, 398, 0, True)  # more taps than torch's weights have bits for
@example(1, 1, 224, 224, 2, False)
@settings(max_examples=200)
def test_every_bit_is_torch_s(
    height: int, width: int, new_height: int, new_width: int, seed: int, extreme: bool
) -> None:
    rng = np.random.default_rng(seed)
    # Black and white is the hardest case for rounding.
    levels = np.array([0, 255] if extreme else range(256), dtype=np.uint8)
    frame = rng.choice(levels, (height, width, 3))
    found = antialiased(frame, new_height, new_width)
    assert found.dtype == np.uint8 and found.shape == (new_height, new_width, 3)
    np.testing.assert_array_equal(found, torch_s(frame, new_height, new_width))


@given(st.integers(1, 4000), st.integers(1, 1000))
def test_weights_are_one_in_sum_and_stay_on_the_axis(size: int, new_size: int) -> None:
    index, weights, bits = taps(size, new_size)
    assert index.min() >= 0 and index.max() < size and weights.min() >= 0
    # Each weight is rounded by itself: half a unit for each.
    assert (np.abs(weights.sum(0) - 2**bits) <= (weights > 0).sum(0) / 2).all()
    assert weights.max() < 1 << 15


PROGRAM = """
import sys
if sys.argv[1] == "with":
    import torch
else:
    sys.modules["torch"] = None  # its import is an error from here on
import hashlib
import numpy as np
from distill.data.reader import VideoInfo
from distill.data.views import (
    Fragments, KeyFrames, MixedFrames, MotionChunks, NativePatches, TexturePatches
)

VIEWS = (KeyFrames(3, 24, 40), KeyFrames(3, 200), KeyFrames(2, 24, fit="pad"),
         Fragments(7, 32, 3, 1), Fragments(2, 8, 2, 4), MotionChunks(2, 3, 20),
         MixedFrames(3), NativePatches(2, 3, 64, 8), TexturePatches(2, 3, 16))
for height, width in ((90, 160), (31, 17)):
    for view in VIEWS:
        for train in (False, True):
            collector = view.begin(VideoInfo(20, 5.0, width, height), 3, train)
            for index in sorted(set(collector.indices.tolist())):
                rng = np.random.default_rng(index)
                collector.add(index, rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
            print(hashlib.sha256(collector.result().tobytes()).hexdigest())
"""


def test_views_are_the_same_bits_without_torch() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True
        ).stdout.split()
        for how in ("with", "without")
    ]
    assert said[0] == said[1] and len(said[0]) == 36 and len(set(said[0])) > 30
