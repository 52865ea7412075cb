"""Index arithmetic against plain loops and cases worked out by hand (FIELD notes on FAST-VQA)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.sampling import fragment_clips, fragment_offsets, spread


class Scripted:
    """A generator that returns chosen numbers and remembers the range it was asked for."""

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction
        self.highs: list[int] = []

    def integers(self, low: int, high: int, size: object) -> np.ndarray:
        assert low == 0
        self.highs.append(high)
        return np.full(size, int(self.fraction * (high - 1)))


@pytest.mark.parametrize(
    ("num_frames", "total", "expected"),
    [
        (4, 100, [12, 37, 62, 87]),
        (10, 10, list(range(10))),
        (1, 9, [4]),
        (3, 2, [0, 1, 1]),  # middles 1/3, 1, 5/3
        (5, 1, [0] * 5),
        (2, 3, [0, 2]),  # middles .75 and 2.25
    ],
)
def test_spread_takes_the_middle_of_each_part(
    num_frames: int, total: int, expected: list[int]
) -> None:
    found = spread(num_frames, total)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@given(st.integers(1, 64), st.integers(1, 5000), st.one_of(st.none(), st.integers(0, 2**32)))
def test_spread_has_one_index_in_each_equal_part(
    num_frames: int, total: int, seed: int | None
) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    found = spread(num_frames, total, rng).tolist()
    assert len(found) == num_frames
    assert found == sorted(found)
    for k, index in enumerate(found):
        # Part k is [k * total / n, (k + 1) * total / n); compared in whole numbers.
        assert 0 <= index < total
        assert (k * total) // num_frames <= index
        assert index * num_frames < (k + 1) * total
    if num_frames <= total and rng is None:  # random neighbours may meet in a frame they share
        assert len(set(found)) == num_frames


@given(st.integers(1, 64), st.integers(1, 5000))
def test_spread_middle_equals_exact_integer_arithmetic(num_frames: int, total: int) -> None:
    exact = [(2 * k + 1) * total // (2 * num_frames) for k in range(num_frames)]
    assert spread(num_frames, total).tolist() == exact


def test_spread_draws_every_frame_of_a_part() -> None:
    seen = {tuple(spread(2, 6, np.random.default_rng(s)).tolist()) for s in range(200)}
    assert seen == {(a, b) for a in (0, 1, 2) for b in (3, 4, 5)}


@pytest.mark.parametrize(("num_frames", "total"), [(0, 5), (5, 0), (-1, 5)])
def test_spread_refuses_nothing(num_frames: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"got {num_frames} and {total}"):
        spread(num_frames, total)


def test_fragment_clips_by_hand() -> None:
    # FAST-VQA-B on 400 frames: parts of 100, starts in [0, 36), 32 frames at stride 2.
    rng = Scripted(1.0)
    clips = fragment_clips(4, 32, 2, 400, rng)  # type: ignore[arg-type]
    assert rng.highs == [36]
    assert clips.shape == (4, 32) and clips.dtype == np.int64
    assert clips[:, 0].tolist() == [35, 135, 235, 335]
    assert clips[:, -1].tolist() == [97, 197, 297, 397]
    # A part of exactly 64 frames leaves no room: no draw at all.
    rng = Scripted(1.0)
    assert fragment_clips(4, 32, 2, 256, rng)[:, 0].tolist() == [0, 64, 128, 192]  # type: ignore[arg-type]
    assert rng.highs == []
    # Short videos wrap around.
    assert fragment_clips(1, 5, 2, 4, rng).tolist() == [[0, 2, 0, 2, 0]]  # type: ignore[arg-type]
    assert fragment_clips(3, 2, 1, 2, rng).tolist() == [[0, 1]] * 3  # type: ignore[arg-type]


@given(
    num_clips=st.integers(1, 8),
    clip_len=st.integers(1, 32),
    interval=st.integers(1, 4),
    total=st.integers(1, 600),
    fraction=st.floats(0, 1),
)
def test_fragment_clips_equal_a_plain_loop(
    num_clips: int, clip_len: int, interval: int, total: int, fraction: float
) -> None:
    part = total // num_clips
    expected = []
    for clip in range(num_clips):
        start = clip * part
        if part > clip_len * interval:
            start += int(fraction * (part - clip_len * interval - 1))
        expected.append([(start + step * interval) % total for step in range(clip_len)])
    rng = Scripted(fraction)
    found = fragment_clips(num_clips, clip_len, interval, total, rng)  # type: ignore[arg-type]
    assert found.tolist() == expected


def test_fragment_clips_refuse_nothing() -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        fragment_clips(1, 32, 2, 0, np.random.default_rng(0))


def test_fragment_offsets_by_hand() -> None:
    # 540 x 960, grid 7: cells of 77 x 137, offsets in [0, 45) and [0, 105).
    rng = Scripted(1.0)
    corners = fragment_offsets(7, 32, 540, 960, 2, rng)  # type: ignore[arg-type]
    assert rng.highs == [45, 105]
    assert corners.shape == (2, 7, 7, 2)
    assert corners[0, :, 0, 0].tolist() == [77 * i + 44 for i in range(7)]
    assert corners[1, 0, :, 1].tolist() == [137 * j + 104 for j in range(7)]
    # 224 x 230: cells of 32 leave no room in either direction (230 // 7 is 32).
    rng = Scripted(1.0)
    corners = fragment_offsets(7, 32, 224, 230, 1, rng)  # type: ignore[arg-type]
    assert rng.highs == []
    assert corners[0, :, 3, 0].tolist() == corners[0, 3, :, 1].tolist() == list(range(0, 224, 32))


@given(
    grid=st.integers(1, 8),
    patch=st.integers(1, 16),
    extra=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    sets=st.integers(1, 3),
    fraction=st.floats(0, 1),
)
def test_fragment_offsets_equal_a_plain_loop(
    grid: int, patch: int, extra: tuple[int, int], sets: int, fraction: float
) -> None:
    height, width = grid * patch + extra[0], grid * patch + extra[1]

    def corner(cell: int, size: int) -> int:
        room = size // grid - patch
        return min(size // grid * cell, size - patch) + (
            int(fraction * (room - 1)) if room > 0 else 0
        )

    found = fragment_offsets(grid, patch, height, width, sets, Scripted(fraction))  # type: ignore[arg-type]
    expected = [
        [[[corner(i, height), corner(j, width)] for j in range(grid)] for i in range(grid)]
        for _ in range(sets)
    ]
    assert found.tolist() == expected
    assert (found >= 0).all()
    assert (found[..., 0] + patch <= height).all() and (found[..., 1] + patch <= width).all()


def test_fragment_offsets_draw_every_place_for_each_cell_alone() -> None:
    rng = np.random.default_rng(0)
    corners = fragment_offsets(2, 4, 14, 16, 500, rng)  # rooms 3 and 4
    origins = np.stack(np.meshgrid([0, 7], [0, 8], indexing="ij"), axis=-1)
    offsets = corners - origins
    assert {tuple(o) for o in offsets.reshape(-1, 2).tolist()} == {
        (y, x) for y in range(3) for x in range(4)
    }
    assert (offsets[:, 0, 0] != offsets[:, 1, 1]).any()
    assert (offsets[:, 0, 0] != offsets[:, 0, 1]).any()


def test_fragment_offsets_refuse_a_small_frame() -> None:
    with pytest.raises(ValueError, match="frame 300x223 is smaller than 7 patches of 32"):
        fragment_offsets(7, 32, 223, 300, 1, np.random.default_rng(0))
