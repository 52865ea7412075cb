"""Mirrored and reversed videos: against the same views of a video that was filmed so."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distill.augment import AugmentConfig
from distill.data.dataset import Example, VideoDataset
from distill.data.looks import Look, read_looks
from distill.data.manifest import Row
from distill.data.reader import VideoInfo
from distill.data.views import (
    Fragments,
    KeyFrames,
    MixedFrames,
    MotionChunks,
    NativePatches,
    TexturePatches,
    View,
)
from distill.errors import ConfigError

VIEWS: dict[str, View] = {
    "frames": KeyFrames(4, 16, train_frames=3),
    "padded": KeyFrames(4, 16, sampling="second_start", padding="zero"),
    "clips": Fragments(2, 8, num_clips=2, clip_len=4, frame_interval=2),
    "stills": Fragments(3, 8, num_clips=4, clip_len=1),
    "chunks": MotionChunks(3, 8, 16, padding="zero"),
    "native": NativePatches(3, 4, 16, 8, train_patches=2),
    "texture": TexturePatches(3, 4, 16),
    "mixed": MixedFrames(3, 40, whole=16, patch=8),
}
COUNT = 45  # 2.25 seconds: the last chunk lacks frames


class Film:
    """Noise by frame number; perhaps filmed in a mirror, or run backwards."""

    name = "film"

    def __init__(self, mirrored: bool = False, backwards: bool = False) -> None:
        self.mirrored, self.backwards = mirrored, backwards

    def probe(self, path: Path) -> VideoInfo:
        return VideoInfo(COUNT, 20.0, 48, 32)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in indices:
            at = COUNT - 1 - index if self.backwards else index
            frame = np.random.default_rng(at).integers(0, 256, (32, 48, 3), dtype=np.uint8)
            yield index, frame[:, ::-1] if self.mirrored else frame


def _look(
    film: Film, augment: AugmentConfig | None, seed: int = 5, train: bool = True,
    frozen: dict[str, int] | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    look = Look(VIEWS, seed, train, frozen or {}, augment)
    (found,), _ = read_looks(Path("film.mp4"), film, [look])
    return {name: torch.from_numpy(np.ascontiguousarray(view)) for name, view in found.items()}


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in VIEWS)


@given(st.integers(0, 2**62))
def test_reversed_is_the_same_views_of_a_video_that_runs_backwards(seed: int) -> None:
    turned = _look(Film(), AugmentConfig(flip=0, reverse=1), seed)
    assert _equal(turned, _look(Film(backwards=True), None, seed))


@given(st.integers(0, 2**62))
def test_mirrored_is_the_finished_view_turned_left_to_right(seed: int) -> None:
    turned, plain = _look(Film(), AugmentConfig(flip=1), seed), _look(Film(), None, seed)
    for name, view in turned.items():
        if name == "mixed":  # its square is always on the left: that is of the mirrored frames
            assert torch.equal(view, _look(Film(mirrored=True), None, seed)[name])
        else:
            assert np.array_equal(view.numpy(), plain[name].numpy()[..., ::-1])


@pytest.mark.parametrize("reverse", [0, 1])
def test_a_mirrored_fragment_image_is_one_of_the_mirrored_frame(reverse: int) -> None:
    """Grid and patches: cell (i, j) is a patch of the mirrored frame's own cell (i, j)."""
    grid, patch = 3, 8
    for seed in range(20):
        found = _look(Film(), AugmentConfig(flip=1, reverse=reverse), seed)["stills"]
        for still in found[:, 0].numpy():
            frames = [f for _, f in Film(True).read(Path(), range(COUNT))]
            home = [f for f in frames if _cells(still, f, grid, patch)]
            assert len(home) == 1


def _cells(still: np.ndarray, frame: np.ndarray, grid: int, patch: int) -> bool:
    """Whether every cell of a spliced image lies in its cell of the frame."""
    height, width = frame.shape[0] // grid, frame.shape[1] / grid
    for i in range(grid):
        for j in range(grid):
            cut = still[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch]
            top, left = i * height, int(j * width)
            area = frame[top : top + height + 2, left : left + int(width) + 1].transpose(2, 0, 1)
            windows = np.lib.stride_tricks.sliding_window_view(area, cut.shape)[0]
            if not (windows == cut).all(axis=(-3, -2, -1)).any():
                return False
    return True


def test_all_views_of_a_video_are_mirrored_or_none() -> None:
    seen = set()
    for seed in range(40):
        found, plain = _look(Film(), AugmentConfig(), seed), _look(Film(), None, seed)
        other = _look(Film(), AugmentConfig(flip=1), seed)
        turned = {bool(torch.equal(found[n], other[n])) for n in VIEWS}
        kept = {bool(torch.equal(found[n], plain[n])) for n in VIEWS}
        assert len(turned) == 1 and len(kept) == 1 and turned != kept
        seen |= turned
    assert seen == {False, True}


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_shares_are_as_asked_for_and_independent(share: float) -> None:
    drawn = np.array([AugmentConfig(share, 0.5).draw(seed) for seed in range(4000)])
    slack = 5 * (0.25 / 4000) ** 0.5  # five standard deviations of the widest share
    assert drawn.mean(0) == pytest.approx([share, 0.5], abs=slack)
    if 0 < share < 1:
        assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.08


def test_evaluation_and_frozen_views_are_untouched() -> None:
    all_of_it = AugmentConfig(1, 1)
    assert _equal(_look(Film(), all_of_it, train=False), _look(Film(), None, train=False))
    frozen = {"clips": 9, "frames": 9}
    found, plain = (_look(Film(), each, frozen=frozen) for each in (all_of_it, None))
    assert all(torch.equal(found[name], plain[name]) for name in frozen)
    assert not torch.equal(found["stills"], plain["stills"])


def test_draws_are_of_seed_epoch_and_row(tmp_path: Path) -> None:
    rows = [Row(f"{n}.mp4", tmp_path / f"{n}.mp4") for n in range(8)]

    def mirrored(seed: int, epoch: int) -> list[bool]:
        options = {"train": True, "seed": seed}
        views = {"frames": VIEWS["frames"]}
        data, plain = (
            VideoDataset([Example(r) for r in rows], views, Film(), augment=each, **options)  # type: ignore[arg-type]
            for each in (AugmentConfig(), None)
        )
        keys = [(epoch, at) for at in range(8)]
        return [
            not torch.equal(data[key].views["frames"], plain[key].views["frames"]) for key in keys
        ]

    assert mirrored(0, 0) == mirrored(0, 0)
    assert len({tuple(mirrored(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("name", ["flip", "reverse"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"augment\.{name}={value} must lie between 0 and 1"):
        AugmentConfig(**{name: value})
