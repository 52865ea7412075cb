"""Which frames and which pixels: pure index arithmetic, no I/O, no tensors.

All functions return int64 arrays. Randomness comes in as a ``numpy.random.Generator`` or, for
evaluation, as None (the deterministic middle).
"""

import math

import numpy as np

PAD = -1  # in place of a frame index: no frame, black
SAMPLING = ("spread", "second_start", "second_middle")
PADDING = ("repeat", "zero")


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


def still_frames(
    num_frames: int,
    total: int,
    fps: float = 0.0,
    sampling: str = "spread",
    padding: str = "repeat",
    rng: np.random.Generator | None = None,
    drawn: int | None = None,
    seconds: int = 1,
) -> np.ndarray:
    """Single frames: spread over the video, or one of each second from its start on.

    Args:
        num_frames: frames wanted, >= 1.
        total: frames the video has, >= 1.
        fps: frames per second, rounded to a whole number as the field does. Where that is 0, so
            unknown or below half a frame per second, frames are spread.
        sampling: ``spread``; ``second_start`` takes frame k * fps; ``second_middle`` takes
            k * fps + fps // 2, and the middle frame of a video that ends before the first of these.
        padding: where the video has fewer such frames: ``repeat`` the last one (``spread``
            repeats each as often as the others, give or take one), or ``zero``, PAD at the end.
        rng: draws the frames from the stretch that evaluation looks at, one from each of as many
            equal parts; None takes the deterministic ones.
        drawn: frames wanted where rng draws them; None is num_frames.
        seconds: one frame of this many seconds, in place of each second.

    Returns:
        (num_frames or drawn,) indices in [0, total), non-decreasing, or PAD.

    Source: RQ-VQA, extract_frame_NTIREVideo_384p.py: i % fps == 0, the last frame repeated up to
        8; MinimalisticVQA and E-VQA (test_videos.py): i % fps == fps // 2,
        of which E-VQA keeps every second one (``seconds=2``).
    Differs: without a frame rate they take the first frames of the video. E-VQA repeats the last
        frame before it leaves out every second one.
    """
    wanted = num_frames if rng is None else drawn or num_frames
    rate = 0 if sampling == "spread" else round(fps)
    if rate < 1:
        frames = spread(min(wanted, total) if padding == "zero" else wanted, total, rng)
        return _padded(frames, wanted, padding)
    step = rate * seconds
    stretch = min(total, num_frames * step)
    frames = np.arange(rate // 2 if sampling == "second_middle" else 0, stretch, step)
    if len(frames) == 0:
        frames = np.array([total // 2])
    if rng is not None:
        frames = spread(min(wanted, len(frames)), stretch, rng)
    return _padded(frames, wanted, padding)


def motion_chunks(
    num_chunks: int,
    chunk_len: int,
    total: int,
    fps: float,
    padding: str = "repeat",
    rng: np.random.Generator | None = None,
    drawn: int | None = None,
) -> np.ndarray:
    """The SlowFast protocol: chunk k is the ``chunk_len`` consecutive frames from second k on.

    Args:
        num_chunks: chunks wanted, >= 1; only so many seconds of the video are seen.
        chunk_len: frames of one chunk, >= 1.
        total: frames the video has, >= 1.
        fps: frames per second, rounded to a whole number. Where that is 0, chunks start at
            frames spread evenly over those from which a whole chunk fits.
        padding: for frames beyond the end: ``repeat`` the last frame, or ``zero``, PAD. For chunks
            beyond the ``total // fps`` that the video has (at least one): ``repeat`` the last
            chunk, or PAD.
        rng: draws the starts, one from each of as many equal parts of those from which a whole
            chunk fits into the seconds that evaluation looks at; None takes the seconds.
        drawn: chunks wanted where rng draws them; None is num_chunks.

    Returns:
        (num_chunks or drawn, chunk_len) indices in [0, total), or PAD.

    Source: SimpleVQA and RQ-VQA, ``BVQA_VideoDataset_SlowFast``.
    """
    wanted = num_chunks if rng is None else drawn or num_chunks
    rate = round(fps)
    if rng is not None or rate < 1:
        seen = min(total, (num_chunks - 1) * rate + chunk_len) if rate >= 1 else total
        starts = spread(wanted, max(1, seen - chunk_len + 1), rng)
    else:
        starts = rate * np.arange(min(wanted, max(1, total // rate)))
    chunks = starts[:, None] + np.arange(chunk_len)
    chunks[chunks >= total] = PAD if padding == "zero" else total - 1
    return _padded(chunks, wanted, padding)


def slow_pathway(chunk_len: int = 32, alpha: int = 4) -> np.ndarray:
    """The frames of a chunk that SlowFast's slow pathway sees: 0 4 8 13 17 22 26 31 of 32.

    Args:
        chunk_len: frames of the fast pathway.
        alpha: the fast pathway has this many times the frames of the slow one.

    Source: pytorchvideo's recipe for SlowFast, ``linspace(0, 31, 8).long()``: not a stride of 4.
    """
    count = chunk_len // alpha
    if count < 2:
        raise ValueError(f"chunk_len {chunk_len} must be at least 2 * alpha, {2 * alpha}")
    return np.arange(count) * (chunk_len - 1) // (count - 1)


def _padded(rows: np.ndarray, wanted: int, padding: str) -> np.ndarray:
    """Rows up to ``wanted``: copies of the last one, or PAD."""
    last = np.full_like(rows[-1:], PAD) if padding == "zero" else rows[-1:]
    return np.concatenate([rows, np.repeat(last, wanted - len(rows), axis=0)])


def fragment_clips(
    num_clips: int,
    clip_len: int,
    frame_interval: int,
    total: int,
    rng: np.random.Generator,
    t_frag: int | None = None,
) -> np.ndarray:
    """FAST-VQA's temporal sampling: a start drawn in each of ``num_clips`` equal parts.

    Args:
        num_clips: equal parts of the video, one clip from each.
        clip_len: frames per clip.
        frame_interval: stride between the frames of a clip.
        total: frames the video has; indices wrap around its end.
        rng: draws the starts, in evaluation too (seeded by the video's content).
        t_frag: temporal fragments: each clip is drawn on its own as so many shorter clips from as
            many equal parts of the whole video. Must divide clip_len.

    Returns:
        (num_clips, clip_len) indices in [0, total).

    Source: FAST-VQA, ``FragmentSampleFrames``: start uniform in [0, part - clip_len *
        frame_interval), 0 where the part is not longer than the clip; FasterVQA has ``t_frag`` 8.
    """
    if min(num_clips, clip_len, frame_interval, total) < 1:
        raise ValueError("num_clips, clip_len, frame_interval and total must be >= 1")
    if t_frag is not None:
        runs = [
            fragment_clips(t_frag, clip_len // t_frag, frame_interval, total, rng)
            for _ in range(num_clips)
        ]
        return np.stack(runs).reshape(num_clips, clip_len)
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


def scattered_corners(at: np.ndarray, patch: int, height: int, width: int) -> np.ndarray:
    """Corners of patches that lie evenly over a frame of any shape, row by row.

    The frame is cut into about as many rows as keep the cells square, and each row into cells of
    equal width, one for each patch; rows differ by one cell at the most.

    Args:
        at: (N, 2) where in the room of its cell each patch lies, down and across, in [0, 1]; 0.5
            is the middle.
        patch: patch side in pixels. Where cells are smaller, patches overlap.
        height, width: of the frame, at least ``patch``.

    Returns:
        (N, 2) top and left, whole patches within the frame.
    """
    if min(height, width) < patch:
        raise ValueError(f"frame {width}x{height} is smaller than a patch of {patch}")
    number = len(at)
    rows = min(max(round(math.sqrt(number * height / width)), 1), number)
    first = np.arange(rows + 1) * number // rows
    row = np.repeat(np.arange(rows), np.diff(first))
    columns = np.diff(first)[row]
    index = np.stack([row, np.arange(number) - first[row]], axis=1)
    frame = np.array([height, width])
    cell = frame / np.stack([np.full(number, rows), columns], axis=1)
    corners = index * cell + at * (cell - patch)
    # Thirds of a pixel that add up to a whole one shall not fall short of it.
    return np.clip(np.floor(corners + 1e-9).astype(np.int64), 0, frame - patch)


def patch_corners(height: int, width: int, patch: int, stride: int) -> np.ndarray:
    """Corners of every whole patch of a grid that begins at the top left, row by row.

    Args:
        height, width: of the frame, at least ``patch``.
        patch: patch side in pixels.
        stride: pixels from one patch to the next.

    Returns:
        (N, 2) top and left.
    """
    if min(height, width) < patch:
        raise ValueError(f"frame {width}x{height} is smaller than a patch of {patch}")
    tops = np.arange(0, height - patch + 1, stride)
    lefts = np.arange(0, width - patch + 1, stride)
    return np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)


def every_nth(available: int, wanted: int) -> np.ndarray:
    """``wanted`` numbers out of [0, available): i * (available // wanted), as LIQE takes patches.

    Where fewer are available, each as often as the others, give or take one.

    Returns:
        (wanted,) non-decreasing numbers.

    Source: LIQE, ImageDataset2.py: ``sel_step * i``.
    Differs: it refuses fewer patches than wanted.
    """
    if min(available, wanted) < 1:
        raise ValueError(f"available and wanted must be >= 1, got {available} and {wanted}")
    numbers = np.arange(wanted)
    if available < wanted:
        return numbers * available // wanted
    return numbers * (available // wanted)


def most_textured(
    texture: np.ndarray, wanted: int, threshold: float, rng: np.random.Generator | None = None
) -> np.ndarray:
    """``wanted`` patches with texture; those without only where there are too few.

    Args:
        texture: (N,) a number for each patch, more is more texture.
        wanted: patches wanted, >= 1.
        threshold: a patch above it has texture.
        rng: draws among the textured ones, without repeats; None takes every n-th.

    Returns:
        (wanted,) non-decreasing patch numbers: of the textured ones where there are enough, else
        the ``wanted`` largest, the first of equals first; repeated evenly where N is less.
    """
    textured = np.flatnonzero(texture > threshold)
    if len(textured) >= wanted:
        if rng is not None:
            return np.sort(rng.choice(textured, wanted, replace=False))
        return textured[every_nth(len(textured), wanted)]
    largest = np.sort(np.argsort(-texture, kind="stable")[:wanted])
    return largest[every_nth(len(largest), wanted)]
