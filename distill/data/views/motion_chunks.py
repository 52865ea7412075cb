"""Motion chunks: runs of consecutive frames at the native rate, for networks that see motion."""

from dataclasses import dataclass

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.sampling import PADDING, motion_chunks
from distill.data.views.base import (
    Collector,
    FrameCollector,
    check_choice,
    check_positive,
    generators,
    resize,
)


@dataclass(frozen=True)
class MotionChunks:
    """N chunks of T consecutive frames, one from the start of each second, squeezed to a square.

    Args:
        num_chunks: N.
        chunk_len: T, frames of one chunk.
        size: side of the square in pixels; the aspect ratio is not kept.
        padding: frames beyond the video's end and chunks beyond its last second: ``repeat`` the
            last frame and the last chunk, or ``zero``, black frames.
        train_chunks: chunks in training, where each step may draw others; None is ``num_chunks``.

    A frame is resized once, even where two chunks share it. In training the chunks start anywhere.
    Yields (N, T, 3, size, size); which of the T frames the slow
    pathway sees is the network's choice (:func:`~distill.data.sampling.slow_pathway`).

    Source: SimpleVQA and RQ-VQA (``BVQA_VideoDataset_SlowFast``): chunk k starts at frame
        k * round(fps); 32 frames; len // fps chunks; 224x224.
    Differs: without a frame rate they take one chunk ten times; we spread the chunks. A video
        shorter than a second stops them; it is one chunk here. ``zero`` is ours.
    """

    num_chunks: int = 8
    chunk_len: int = 32
    size: int = 224
    padding: str = "repeat"
    train_chunks: int | None = None

    def __post_init__(self) -> None:
        check_positive(self, "num_chunks", "chunk_len", "size", "train_chunks")
        check_choice(self, "padding", PADDING)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, T, 3, size, size)."""
        return (self.num_chunks, self.chunk_len, 3, self.size, self.size)

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        """Start collecting; see :class:`~distill.data.views.base.View`."""
        return _MotionChunksCollector(self, info, seed, train)


class _MotionChunksCollector(FrameCollector):
    def __init__(self, view: MotionChunks, info: VideoInfo, seed: int, train: bool) -> None:
        time, _ = generators(seed)
        slots = motion_chunks(
            view.num_chunks, view.chunk_len, info.num_frames, info.fps, view.padding,
            time if train else None, view.train_chunks,
        )  # fmt: skip
        super().__init__(slots.ravel(), view.shape[2:])
        self._view = view

    def _fill(self, slots: list[int], image: np.ndarray) -> None:
        small = resize(image, self._view.size, self._view.size)
        for slot in slots:
            self._out[slot] = small

    def result(self) -> np.ndarray:
        frames = super().result()
        return frames.reshape(-1, self._view.chunk_len, *frames.shape[1:])
