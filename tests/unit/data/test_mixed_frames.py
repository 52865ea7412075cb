"""Mixed frames: where patches lie, on frames of every shape, and what the image shows of them."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from distill.data.reader import VideoInfo
from distill.data.sampling import scattered_corners, spread
from distill.data.views import KeyFrames, MixedFrames

VIEW = MixedFrames(num_frames=3, size=40, whole=16, patch=8)
MIDDLE = np.full((33, 2), 0.5)


def places(height: int, width: int) -> np.ndarray:
    """A frame whose pixels say where they are: row, column, 7."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shown(view: MixedFrames, frame: np.ndarray, seed: int = 0, train: bool = False) -> Tensor:
    """Every frame of the video is this one; (T, 3, size, size)."""
    video = VideoInfo(num_frames=50, fps=25.0, width=frame.shape[1], height=frame.shape[0])
    collector = view.begin(video, seed, train)
    for index in np.unique(collector.indices).tolist():
        collector.add(index, frame)
    return torch.from_numpy(collector.result())


def test_scattered_corners_by_hand() -> None:
    # Five patches on a square: two rows, of two cells and of three (13.33 wide, room 5.33).
    five = np.full((5, 2), 0.5)
    assert scattered_corners(five, 8, 40, 40).tolist() == [
        [6, 6], [6, 26], [26, 2], [26, 16], [26, 29],
    ]  # fmt: skip
    first = scattered_corners(np.zeros((5, 2)), 8, 40, 40).tolist()
    assert first == [[0, 0], [0, 20], [20, 0], [20, 13], [20, 26]]
    last = scattered_corners(np.ones((5, 2)), 8, 40, 40).tolist()
    assert last == [[12, 12], [12, 32], [32, 5], [32, 18], [32, 32]]
    # 33 patches: 1080p has 4 rows of 8 or 9, the same held upright 8 rows of 4 or 5.
    tops = scattered_corners(MIDDLE, 32, 1080, 1920)[:, 0]
    assert [(tops == top).sum() for top in np.unique(tops)] == [8, 8, 8, 9]
    tops = scattered_corners(MIDDLE, 32, 1920, 1080)[:, 0]
    assert [(tops == top).sum() for top in np.unique(tops)] == [4, 4, 4, 4, 4, 4, 4, 5]
    # A strip has a single row, and a frame of one patch every patch there.
    assert set(scattered_corners(MIDDLE, 32, 32, 4000)[:, 0].tolist()) == {0}
    assert scattered_corners(MIDDLE, 32, 32, 32).tolist() == [[0, 0]] * 33
    with pytest.raises(ValueError, match="frame 40x31 is smaller than a patch of 32"):
        scattered_corners(MIDDLE, 32, 31, 40)


@given(
    number=st.integers(1, 60),
    patch=st.integers(1, 40),
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    at=st.fractions(0, 1, max_denominator=64),
)
def test_scattered_corners_equal_a_plain_loop(
    number: int, patch: int, height: int, width: int, at: Fraction
) -> None:
    if min(height, width) < patch:
        return
    corners = scattered_corners(np.full((number, 2), float(at)), patch, height, width)
    # The number of rows is the whole one that is nearest to the root of number * height / width.
    ideal = Fraction(number * height, width)
    rows = next(
        r for r in range(1, number + 1) if r == number or ideal <= Fraction(2 * r + 1, 2) ** 2
    )
    per_row = [(row + 1) * number // rows - row * number // rows for row in range(rows)]
    assert max(per_row) - min(per_row) <= 1
    expected = []
    for row, columns in enumerate(per_row):
        for column in range(columns):
            corner = []
            for index, cells, side in ((row, rows, height), (column, columns, width)):
                cell = Fraction(side, cells)
                corner.append(min(max(floor(index * cell + at * (cell - patch)), 0), side - patch))
            expected.append(corner)
    assert corners.tolist() == expected


@pytest.mark.parametrize("size", [(270, 480), (480, 270), (224, 224)])
def test_patches_do_not_overlap_where_there_is_room(size: tuple[int, int]) -> None:
    seen = np.zeros(size, dtype=int)
    for top, left in scattered_corners(MIDDLE, 32, *size).tolist():
        seen[top : top + 32, left : left + 32] += 1
    assert seen.max() == 1
    assert seen.sum() == 33 * 32 * 32


@pytest.mark.parametrize("size", [(50, 70), (70, 50), (41, 203), (8, 8), (9, 200), (255, 255)])
@pytest.mark.parametrize("train", [False, True])
def test_every_cell_is_a_native_patch_and_the_corner_the_whole_frame(
    size: tuple[int, int], train: bool
) -> None:
    frame = places(*size)
    out = shown(VIEW, frame, 5, train)
    assert out.shape == VIEW.shape == (3, 3, 40, 40)
    assert out.dtype == torch.uint8
    assert torch.equal(out[0], out[1])  # one set of places for the video
    image = out[0]
    small = tv.resize(torch.from_numpy(frame).permute(2, 0, 1), [16, 16], antialias=True)
    assert (image[:, :16, :16].int() - small.int()).abs().max() <= 1
    corners = []
    for y, x in VIEW.cells():
        cell = image[:, y : y + 8, x : x + 8]
        top, left = int(cell[0, 0, 0]), int(cell[1, 0, 0])
        assert np.array_equal(cell.permute(1, 2, 0), frame[top : top + 8, left : left + 8])
        corners.append([top, left])
    assert len(corners) == 21
    if not train:
        assert corners == scattered_corners(MIDDLE[:21], 8, *size).tolist()


def test_cells_and_defaults() -> None:
    assert len(MixedFrames().cells()) == 7 * 7 - 4 * 4
    assert MixedFrames(1, 24, 16, 8).cells() == [(0, 16), (8, 16), (16, 0), (16, 8), (16, 16)]
    assert MixedFrames().shape == (4, 3, 224, 224)


def test_evaluation_needs_no_seed_and_training_draws() -> None:
    frame = places(60, 90)
    assert torch.equal(shown(VIEW, frame, 1), shown(VIEW, frame, 2))
    drawn = [shown(VIEW, frame, seed, train=True) for seed in range(40)]
    assert len({out.numpy().tobytes() for out in drawn}) == 40
    # Every place of the first cell (4 rows and 5 columns of the frame) is drawn sooner or later.
    tops = {int(shown(VIEW, frame, s, True)[0, 0, 0, 16]) for s in range(300)}
    assert tops == set(range(min(tops), max(tops) + 1))
    assert min(tops) == 0
    assert max(tops) >= 60 // 4 - 8 - 1


def test_frames_are_those_of_key_frames() -> None:
    video = VideoInfo(num_frames=100, fps=25.0, width=64, height=64)
    for options in ({}, {"sampling": "second_middle", "seconds": 2}, {"train_frames": 2}):
        for train in (False, True):
            ours = MixedFrames(4, 40, 16, 8, **options).begin(video, 3, train)  # type: ignore[arg-type]
            theirs = KeyFrames(4, 40, **options).begin(video, 3, train)  # type: ignore[arg-type]
            assert ours.indices.tolist() == theirs.indices.tolist()
    assert MixedFrames(4).begin(video, 3, False).indices.tolist() == spread(4, 100).tolist()


@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_small_frames_are_enlarged_to_one_patch_and_no_more(
    height: int, width: int, seed: int
) -> None:
    frame = noise(height, width)
    out = shown(MixedFrames(1, 24, 16, 8), frame, seed, train=True)[0]
    if min(height, width) >= 8:  # the levels of the patches are the frame's own
        own = {tuple(pixel) for pixel in frame.reshape(-1, 3).tolist()}
        for y, x in MixedFrames(1, 24, 16, 8).cells():
            cell = out[:, y : y + 8, x : x + 8].permute(1, 2, 0).reshape(-1, 3)
            assert {tuple(pixel) for pixel in cell.tolist()} <= own
    flat = shown(MixedFrames(1, 24, 16, 8), np.full((height, width, 3), 9, np.uint8), seed, True)
    assert (flat == 9).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 100}, "size 100 is no multiple of 32"),
        ({"whole": 100}, "whole 100 is no multiple of 32"),
        ({"whole": 224}, "whole 224 leaves no room for patches in size 224"),
        ({"patch": 0}, "MixedFrames.patch must be an integer >= 1, got 0"),
        ({"whole": None}, "MixedFrames.whole must be an integer >= 1, got None"),
        ({"train_frames": 0}, "MixedFrames.train_frames must be"),
        ({"sampling": "middle"}, "MixedFrames.sampling must be one of"),
        ({"padding": "zeros"}, "MixedFrames.padding must be one of"),
        ({"seconds": 2}, "seconds 2 needs sampling second_start or second_middle"),
    ],
)
def test_bad_options_are_named(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MixedFrames(**options)
