"""Which frames and which pixels: pure index arithmetic, no I/O, no tensors.

All functions return int64 arrays. Randomness comes in as a ``numpy.random.Generator`` or, for
evaluation, as None (the deterministic middle).
"""

import numpy as np


def spread(num_frames: int, total: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """``num_frames`` indices spread evenly: one from each of as many equal parts of the video.

    Args:
        num_frames: frames wanted, >= 1.
        total: frames the video has, >= 1; fewer than ``num_frames`` repeats some.
        rng: draws a frame within each part; None takes its middle.

    Returns:
        (num_frames,) non-decreasing indices in [0, total).
    """
    if num_frames < 1 or total < 1:
        raise ValueError(f"num_frames and total must be >= 1, got {num_frames} and {total}")
    offset = np.full(num_frames, 0.5) if rng is None else rng.random(num_frames)
    index = np.floor((np.arange(num_frames) + offset) * total / num_frames).astype(np.int64)
    return np.clip(index, 0, total - 1)


def fragment_clips(
    num_clips: int,
    clip_len: int,
    frame_interval: int,
    total: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """FAST-VQA's temporal sampling: a start drawn in each of ``num_clips`` equal parts.

    Args:
        num_clips: equal parts of the video, one clip from each.
        clip_len: frames per clip.
        frame_interval: stride between the frames of a clip.
        total: frames the video has; indices wrap around its end.
        rng: draws the starts, in evaluation too (seeded by the video's content).

    Returns:
        (num_clips, clip_len) indices in [0, total).

    Source: FAST-VQA, ``FragmentSampleFrames``: start uniform in [0, part - clip_len *
        frame_interval), 0 where the part is not longer than the clip.
    """
    if min(num_clips, clip_len, frame_interval, total) < 1:
        raise ValueError("num_clips, clip_len, frame_interval and total must be >= 1")
    part = total // num_clips
    room = part - clip_len * frame_interval
    starts = np.arange(num_clips) * part
    if room > 0:
        starts = starts + rng.integers(0, room, size=num_clips)
    steps = np.arange(clip_len) * frame_interval
    return (starts[:, None] + steps[None, :]) % total


def fragment_offsets(
    grid: int, patch: int, height: int, width: int, sets: int, rng: np.random.Generator
) -> np.ndarray:
    """FAST-VQA's spatial sampling: the top-left corner of one native patch per grid cell.

    Args:
        grid: cells per side.
        patch: patch side in pixels; ``height`` and ``width`` must be at least grid * patch.
        height, width: of the frame.
        sets: how many independent draws (one per block of aligned frames).
        rng: draws the offset within each cell.

    Returns:
        (sets, grid, grid, 2) rows and columns of patch corners.

    Source: FAST-VQA, ``get_spatial_fragments``: cell i starts at min(H // grid * i, H - patch);
        the offset is uniform in [0, H // grid - patch), 0 where the cell is not larger.
    """
    if min(height, width) < grid * patch:
        raise ValueError(f"frame {width}x{height} is smaller than {grid} patches of {patch}")

    corners = np.empty((sets, grid, grid, 2), dtype=np.int64)
    for axis, size in enumerate((height, width)):
        cell = size // grid
        origin = np.minimum(cell * np.arange(grid), size - patch)
        room = cell - patch
        draws = rng.integers(0, room, size=(sets, grid, grid)) if room > 0 else 0
        corners[..., axis] = origin.reshape((-1, 1) if axis == 0 else (1, -1)) + draws
    return corners
