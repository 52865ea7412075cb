"""Mixed frames: the whole frame, small, and native patches of it, spliced into one image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.sampling import scattered_corners
from distill.data.views.base import (
    Collector,
    FrameCollector,
    check_positive,
    check_stills,
    generators,
    resize,
    resize_short,
    still_slots,
)


@dataclass(frozen=True)
class MixedFrames:
    """T images, each the whole frame at low resolution beside native patches of the same frame.

    The top left square of ``whole`` pixels is the frame, both sides resized to it; all other cells
    of ``patch`` pixels are native patches, in reading order both in the frame and in the image. By
    default 16 cells of 49 show the frame, and 33 its patches.

    Args:
        num_frames: T.
        size: side of the image in pixels, a multiple of ``patch``.
        whole: side of the square that shows the whole frame, a multiple of ``patch``, < ``size``.
        patch: side of a native patch in pixels.
        train_frames: frames in training, where each step may draw others; None is ``num_frames``.
        sampling, seconds, padding: which frames; see :class:`~distill.data.views.KeyFrames`.

    The patches lie evenly over the frame, whatever its shape; see
    :func:`~distill.data.sampling.scattered_corners`. They have one set of places per video: the
    middle of their cells in evaluation, drawn within them in training. Where a frame is small,
    patches overlap; only one with a side shorter than a patch is enlarged, for they shall show
    pixels as they were coded. Yields (T, 3, size, size).

    Source: the idea of one image for both is MVQA's (arXiv 2504.16003), unified semantic and
        distortion sampling.
    Differs: it sets single cells of the small frame between the fragments, for a network that
        reads cells as a sequence. Here the small frame stays in one piece, so that convolutions
        and windows see it as a picture, and the two can be pooled apart.
    """

    mirror_frames: ClassVar[bool] = True  # or the square would lie on the other side

    num_frames: int = 4
    size: int = 224
    whole: int = 128
    patch: int = 32
    train_frames: int | None = None
    sampling: str = "spread"
    seconds: int = 1
    padding: str = "repeat"

    def __post_init__(self) -> None:
        check_positive(self, "num_frames", "size", "whole", "patch", "train_frames")
        check_stills(self)
        for name in ("size", "whole"):
            if getattr(self, name) % self.patch:
                raise ValueError(f"{name} {getattr(self, name)} is no multiple of {self.patch}")
        if self.whole >= self.size:
            raise ValueError(f"whole {self.whole} leaves no room for patches in size {self.size}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, 3, size, size)."""
        return (self.num_frames, 3, self.size, self.size)

    def cells(self) -> list[tuple[int, int]]:
        """Top and left of every cell that holds a patch, in reading order."""
        steps = range(0, self.size, self.patch)
        return [(y, x) for y in steps for x in steps if max(y, x) >= self.whole]

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        """Start collecting; see :class:`~distill.data.views.base.View`."""
        return _MixedFramesCollector(self, info, seed, train)


class _MixedFramesCollector(FrameCollector):
    def __init__(self, view: MixedFrames, info: VideoInfo, seed: int, train: bool) -> None:
        time, space = generators(seed)
        super().__init__(still_slots(view, info, time if train else None), view.shape[1:])
        self._view, self._cells = view, view.cells()
        shape = (len(self._cells), 2)
        self._at = space.random(shape) if train else np.full(shape, 0.5)

    def _fill(self, slots: list[int], image: np.ndarray) -> None:
        view, patch = self._view, self._view.patch
        whole = resize(image, view.whole, view.whole).transpose(1, 2, 0)
        image = resize_short(image, max(min(image.shape[-2:]), patch))
        frame = image.transpose(1, 2, 0)
        spliced = np.empty((view.size, view.size, 3), dtype=np.uint8)
        spliced[: view.whole, : view.whole] = whole
        corners = scattered_corners(self._at, patch, *frame.shape[:2])
        for (y, x), (top, left) in zip(self._cells, corners.tolist(), strict=True):
            spliced[y : y + patch, x : x + patch] = frame[top : top + patch, left : left + patch]
        self._out[slots] = spliced.transpose(2, 0, 1)
