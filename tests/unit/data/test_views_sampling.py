"""Frames per second, motion chunks and patch grids: numbers worked out by hand, then properties."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.data.sampling import (
    PAD,
    every_nth,
    fragment_clips,
    most_textured,
    motion_chunks,
    patch_corners,
    slow_pathway,
    still_frames,
)

LENGTHS = st.integers(1, 2000)
RATES = st.one_of(st.just(0.0), st.floats(0, 240), st.sampled_from([23.976, 25.0, 29.97, 59.94]))
SEEDS = st.one_of(st.none(), st.integers(0, 2**32))


def rng_of(seed: int | None) -> np.random.Generator | None:
    return None if seed is None else np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("num_frames", "total", "fps", "sampling", "padding", "expected"),
    [
        # RQ-VQA, 8 frames: one of each second, the first 8 seconds only.
        (8, 300, 29.97, "second_start", "repeat", [0, 30, 60, 90, 120, 150, 180, 210]),
        # Four seconds and a bit at 25: frames 0, 25, 50, 75 and 100 exist; the last is repeated.
        (8, 101, 25.0, "second_start", "repeat", [0, 25, 50, 75, 100, 100, 100, 100]),
        (8, 100, 25.0, "second_start", "zero", [0, 25, 50, 75, PAD, PAD, PAD, PAD]),
        # E-VQA: the middle of 30 is 15, of 25 is 12.
        (4, 300, 30.0, "second_middle", "repeat", [15, 45, 75, 105]),
        (3, 37, 25.0, "second_middle", "repeat", [12, 12, 12]),  # 12 + 25 = 37 is one too many
        (3, 38, 25.0, "second_middle", "repeat", [12, 37, 37]),
        # 9 frames at 30: no frame 15; the middle one is 9 // 2.
        (3, 9, 30.0, "second_middle", "zero", [4, PAD, PAD]),
        (3, 9, 30.0, "second_start", "repeat", [0, 0, 0]),
        # No rate, or one that rounds to 0: spread, middles of four parts of 25.
        (4, 100, 0.0, "second_start", "repeat", [12, 37, 62, 87]),
        (4, 100, 0.4, "second_middle", "zero", [12, 37, 62, 87]),
        # Spread over 3 frames: each twice, or each once and then nothing.
        (6, 3, 30.0, "spread", "repeat", [0, 0, 1, 1, 2, 2]),
        (6, 3, 30.0, "spread", "zero", [0, 1, 2, PAD, PAD, PAD]),
        (2, 500, 240.0, "second_start", "repeat", [0, 240]),
    ],
)
def test_still_frames_by_hand(
    num_frames: int, total: int, fps: float, sampling: str, padding: str, expected: list[int]
) -> None:
    found = still_frames(num_frames, total, fps, sampling, padding)
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_e_vqa_s_frames_by_hand() -> None:
    # Of 15, 45, 75, ... every second one; 7 s at 30 have 15 + 60 * 3 = 195, 6 s have not.
    for total, last in [(240, 195), (210, 195), (180, 135)]:
        found = still_frames(4, total, 30.0, "second_middle", seconds=2)
        assert found.tolist() == [15, 75, 135, last]


@given(st.integers(1, 40), LENGTHS, RATES, st.sampled_from(["second_start", "second_middle"]))
def test_frames_per_second_are_those_of_a_plain_loop(
    num_frames: int, total: int, fps: float, sampling: str
) -> None:
    rate = round(fps)
    if rate == 0:
        return
    rest = rate // 2 if sampling == "second_middle" else 0
    kept = [i for i in range(total) if i % rate == rest][:num_frames] or [total // 2]
    zero = still_frames(num_frames, total, fps, sampling, "zero").tolist()
    assert zero == kept + [PAD] * (num_frames - len(kept))
    repeat = still_frames(num_frames, total, fps, sampling).tolist()
    assert repeat == kept + kept[-1:] * (num_frames - len(kept))


@given(
    num_frames=st.integers(1, 40), total=LENGTHS, fps=RATES, seed=SEEDS,
    sampling=st.sampled_from(["spread", "second_start", "second_middle"]),
    padding=st.sampled_from(["repeat", "zero"]), drawn=st.one_of(st.none(), st.integers(1, 40)),
)  # fmt: skip
def test_still_frames_are_in_range_and_in_order(
    num_frames: int, total: int, fps: float, seed: int | None, sampling: str, padding: str,
    drawn: int | None,
) -> None:  # fmt: skip
    rng = rng_of(seed)
    found = still_frames(num_frames, total, fps, sampling, padding, rng, drawn)
    assert len(found) == (num_frames if rng is None else drawn or num_frames)
    real = found[found != PAD]
    assert len(real) >= 1 and (found[: len(real)] == real).all()
    assert (real >= 0).all() and (real < total).all() and (np.diff(real) >= 0).all()
    assert padding == "zero" or len(real) == len(found)
    if rng is not None and sampling != "spread" and round(fps):
        assert real.max() < num_frames * round(fps)  # training stays where evaluation looks


def test_training_draws_each_frame_of_a_second() -> None:
    seen = {
        tuple(still_frames(2, 90, 3.0, "second_start", rng=np.random.default_rng(s)).tolist())
        for s in range(200)
    }
    assert seen == {(a, b) for a in (0, 1, 2) for b in (3, 4, 5)}


def test_motion_chunks_by_hand() -> None:
    # 10 s at 30: ten chunks, the first eight are taken; the last ends at 210 + 31.
    chunks = motion_chunks(8, 32, 300, 30.0)
    assert chunks.shape == (8, 32) and chunks.dtype == np.int64
    assert chunks[:, 0].tolist() == [0, 30, 60, 90, 120, 150, 180, 210]
    assert chunks[7].tolist() == list(range(210, 242))
    # 100 frames at 29.97: 100 // 30 = 3 chunks, the third from 60 to 91, then repeated.
    chunks = motion_chunks(5, 32, 100, 29.97)
    assert chunks[:, 0].tolist() == [0, 30, 60, 60, 60]
    assert chunks[:, -1].tolist() == [31, 61, 91, 91, 91]
    # 61 frames at 30: two chunks; the second has frames 30 to 60, 31 of them, and one more.
    assert motion_chunks(2, 32, 61, 30.0)[1].tolist() == [*range(30, 61), 60]
    assert motion_chunks(2, 32, 61, 30.0, "zero")[1].tolist() == [*range(30, 61), PAD]
    assert motion_chunks(3, 32, 61, 30.0, "zero")[2].tolist() == [PAD] * 32
    # Shorter than a second: one chunk of 3 frames.
    assert motion_chunks(2, 4, 3, 25.0).tolist() == [[0, 1, 2, 2]] * 2
    assert motion_chunks(2, 4, 3, 25.0, "zero").tolist() == [[0, 1, 2, PAD], [PAD] * 4]
    # No rate: whole chunks of 32 start at 0 to 68; the middles of two halves of 69 are 17 and 51.
    assert motion_chunks(2, 32, 100, 0.0)[:, 0].tolist() == [17, 51]
    assert motion_chunks(2, 4, 3, 0.0).tolist() == [[0, 1, 2, 2]] * 2


@given(st.integers(1, 12), st.integers(1, 40), LENGTHS, st.floats(0.51, 240))
def test_motion_chunks_equal_a_plain_loop(
    num_chunks: int, chunk_len: int, total: int, fps: float
) -> None:
    rate = round(fps)
    made = []
    for k in range(max(1, total // rate))[:num_chunks]:
        frames = [i for i in range(k * rate, k * rate + chunk_len) if i < total]
        made.append(frames + [frames[-1]] * (chunk_len - len(frames)))
    made += [made[-1]] * (num_chunks - len(made))
    assert motion_chunks(num_chunks, chunk_len, total, fps).tolist() == made


@given(
    num_chunks=st.integers(1, 12), chunk_len=st.integers(1, 40), total=LENGTHS, fps=RATES,
    padding=st.sampled_from(["repeat", "zero"]), seed=SEEDS,
    drawn=st.one_of(st.none(), st.integers(1, 12)),
)  # fmt: skip
def test_motion_chunks_are_runs_in_range(
    num_chunks: int, chunk_len: int, total: int, fps: float, padding: str, seed: int | None,
    drawn: int | None,
) -> None:  # fmt: skip
    rng = rng_of(seed)
    chunks = motion_chunks(num_chunks, chunk_len, total, fps, padding, rng, drawn)
    assert chunks.shape == (num_chunks if rng is None else drawn or num_chunks, chunk_len)
    assert (chunks[0] != PAD).any()
    for chunk in chunks:
        real = chunk[chunk != PAD]
        assert (real >= 0).all() and (real < total).all()
        assert set(np.diff(real).tolist()) <= ({1} if padding == "zero" else {0, 1})
        assert padding == "zero" or len(real) == chunk_len
        if rng is not None and total >= chunk_len:
            assert len(set(chunk.tolist())) == chunk_len


def test_the_slow_pathway_is_torch_s() -> None:
    assert slow_pathway().tolist() == [0, 4, 8, 13, 17, 22, 26, 31]
    assert slow_pathway().tolist() == torch.linspace(0, 31, 8).long().tolist()
    for chunk_len, alpha in [(16, 4), (32, 8), (64, 4), (64, 8), (8, 4)]:
        wanted = torch.linspace(0, chunk_len - 1, chunk_len // alpha).long().tolist()
        assert slow_pathway(chunk_len, alpha).tolist() == wanted
    with pytest.raises(ValueError, match="chunk_len 4 must be at least 2"):
        slow_pathway(4)


class Last:
    """A generator that draws the last number of its range and remembers the range."""

    def __init__(self) -> None:
        self.highs: list[int] = []

    def integers(self, low: int, high: int, size: int) -> np.ndarray:
        self.highs.append(high - low)
        return np.full(size, high - 1)


def test_temporal_fragments_by_hand() -> None:
    # FasterVQA on 240 frames: 8 parts of 30, each 4 frames at stride 2, starts in [0, 22).
    rng = Last()
    clips = fragment_clips(1, 32, 2, 240, rng, t_frag=8)  # type: ignore[arg-type]
    assert rng.highs == [22]
    assert clips.shape == (1, 32)
    assert clips[0, :8].tolist() == [21, 23, 25, 27, 51, 53, 55, 57]
    assert clips[0, -4:].tolist() == [231, 233, 235, 237]
    # Parts of 8 frames are as long as a fragment: no draw. 40 frames: parts of 5, too short too.
    rng = Last()
    assert fragment_clips(1, 32, 2, 64, rng, t_frag=8)[0, 4:8].tolist() == [8, 10, 12, 14]  # type: ignore[arg-type]
    short = fragment_clips(1, 32, 2, 40, rng, t_frag=8)[0]  # type: ignore[arg-type]
    assert short[4:8].tolist() == [5, 7, 9, 11] and short[-4:].tolist() == [35, 37, 39, 1]
    assert rng.highs == []
    # Each of several clips draws its own fragments from the whole video.
    clips = fragment_clips(3, 8, 1, 400, np.random.default_rng(0), t_frag=2)
    assert clips.shape == (3, 8) and len({tuple(c) for c in clips.tolist()}) == 3
    assert ((clips[:, :4] < 200) & (clips[:, 4:] >= 200)).all()


@given(st.integers(1, 4), st.sampled_from([1, 2, 4, 8]), st.integers(1, 4), LENGTHS)
def test_temporal_fragments_equal_a_plain_loop(
    num_clips: int, t_frag: int, interval: int, total: int
) -> None:
    part = total // t_frag
    late = max(0, part - 8 // t_frag * interval - 1)  # the last start that can be drawn
    clip = [
        (k * part + late + step * interval) % total
        for k in range(t_frag)
        for step in range(8 // t_frag)
    ]
    found = fragment_clips(num_clips, 8, interval, total, Last(), t_frag)  # type: ignore[arg-type]
    assert found.tolist() == [clip] * num_clips


def test_patch_corners_by_hand() -> None:
    # LIQE on 1080p: 27 rows (856 // 32 + 1) and 54 columns (1696 // 32 + 1).
    corners = patch_corners(1080, 1920, 224, 32)
    assert corners.shape == (1458, 2)
    assert corners[0].tolist() == [0, 0] and corners[53].tolist() == [0, 1696]
    assert corners[54].tolist() == [32, 0] and corners[-1].tolist() == [832, 1696]
    assert patch_corners(224, 255, 224, 32).tolist() == [[0, 0]]
    assert patch_corners(224, 256, 224, 32).tolist() == [[0, 0], [0, 32]]
    with pytest.raises(ValueError, match="frame 300x223 is smaller than a patch of 224"):
        patch_corners(223, 300, 224, 32)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 30))
def test_patch_corners_are_those_of_torch_unfold(
    height: int, width: int, patch: int, stride: int
) -> None:
    if min(height, width) < patch:
        return
    numbers = torch.arange(height * width).reshape(height, width)
    unfolded = numbers.unfold(0, patch, stride).unfold(1, patch, stride)
    first = unfolded.reshape(-1, patch, patch)[:, 0, 0]
    top, left = patch_corners(height, width, patch, stride).T
    assert (top * width + left).tolist() == first.tolist()


def test_every_nth_by_hand() -> None:
    # 1458 patches, 15 wanted: every 97th. 29: every one. 4: each 3 or 4 times.
    assert every_nth(1458, 15).tolist() == list(range(0, 1359, 97))  # the last is 14 * 97
    assert every_nth(29, 15).tolist() == list(range(15))
    assert every_nth(30, 15).tolist() == list(range(0, 30, 2))
    assert every_nth(4, 15).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]
    assert every_nth(1, 3).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="got 0 and 3"):
        every_nth(0, 3)


@given(st.integers(1, 300), st.integers(1, 60))
def test_every_nth_is_in_range_and_even(available: int, wanted: int) -> None:
    numbers = every_nth(available, wanted)
    assert len(numbers) == wanted and numbers.min() >= 0 and numbers.max() < available
    times = np.bincount(numbers, minlength=available)
    if available <= wanted:
        assert times.max() - times.min() <= 1
    else:
        assert times.max() == 1


def test_most_textured_by_hand() -> None:
    texture = np.array([5.0, 100.0, 300.0, 7.0, 300.0, 101.0, 5.0, 200.0])
    # Above 100: 2, 4, 5, 7. Two wanted: every second of them.
    assert most_textured(texture, 2, 100.0).tolist() == [2, 5]
    assert most_textured(texture, 4, 100.0).tolist() == [2, 4, 5, 7]
    # Six wanted: the four, then 1 (exactly 100 is not above it) and 3.
    assert most_textured(texture, 6, 100.0).tolist() == [1, 2, 3, 4, 5, 7]
    # Seven: of the two with 5 the first.
    assert most_textured(texture, 7, 100.0).tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert most_textured(texture, 1, 1000.0).tolist() == [2]
    # More than there are.
    assert most_textured(np.array([3.0, 9.0]), 5, 4.0).tolist() == [0, 0, 0, 1, 1]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.integers(1, 20),
    st.integers(0, 9),
    SEEDS,
)
def test_most_textured_never_takes_a_flat_patch_in_place_of_a_textured_one(
    levels: list[int], wanted: int, threshold: int, seed: int | None
) -> None:
    texture = np.array(levels, dtype=float)
    found = most_textured(texture, wanted, threshold, rng_of(seed)).tolist()
    assert len(found) == wanted and found == sorted(found)
    left = set(range(len(levels))) - set(found)
    textured = [k for k in range(len(levels)) if levels[k] > threshold]
    if len(textured) >= wanted:
        assert len(set(found)) == wanted and set(found) <= set(textured)
    else:
        assert set(textured) <= set(found)
        assert all(levels[a] >= levels[b] for a in found for b in left)


@given(
    total=st.integers(1, 5000),
    fps=st.floats(0.6, 240),
    num_chunks=st.integers(1, 10),
    seed=st.integers(0, 2**32),
)
def test_motion_chunks_train_where_evaluation_looks(
    total: int, fps: float, num_chunks: int, seed: int
) -> None:
    """Of a long video evaluation sees the first seconds only, and so must training."""
    seen = motion_chunks(num_chunks, 16, total, fps)
    drawn = motion_chunks(num_chunks, 16, total, fps, rng=np.random.default_rng(seed))
    if total >= round(fps) * num_chunks:
        assert drawn.max() <= seen.max()
    assert drawn.min() >= 0 and drawn.max() < total
