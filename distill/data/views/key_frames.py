"""Key frames: single frames of the video, each a square."""

from dataclasses import dataclass

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.views.base import (
    Collector,
    FrameCollector,
    check_choice,
    check_positive,
    check_stills,
    generators,
    resize,
    resize_short,
    still_slots,
)

FITS = ("crop", "pad", "squeeze")


@dataclass(frozen=True)
class KeyFrames:
    """T frames, each a square of ``size`` pixels: a crop, or the whole frame.

    Args:
        num_frames: T.
        size: side of the square in pixels.
        short_side: the frame's short side is resized to this before the crop; None crops at
            native resolution. Frames too small for the crop are enlarged to fit, never padded.
        train_frames: frames in training, where each step may draw others; None is ``num_frames``.
        sampling: ``spread`` over the video, ``second_start`` or ``second_middle``, one frame of
            each second; see :func:`~distill.data.sampling.still_frames`.
        seconds: one frame of this many seconds, in place of each second.
        padding: where the video has fewer such frames than T: ``repeat`` or ``zero``, black frames
            at the end.
        fit: ``crop`` as above; ``pad`` takes the whole frame, its long side resized to ``size``,
            in the middle of a square; ``squeeze`` resizes both sides to ``size``.
        pad_level: 0..255, one or for R, G and B: the colour of the padding.

    The crop has one position per video: drawn in training, the centre in evaluation. Yields
    (T, 3, size, size).

    Source: 10 frames of 224 are SharpMind's as far as public (NTIRE 2025, arXiv 2504.13131);
        resize then crop is RQ-VQA's, with ``second_start`` (extract_frame_NTIREVideo_384p.py);
        ``second_middle`` is MinimalisticVQA's and E-VQA's (test_videos.py), there with
        ``seconds=2``. ``pad`` is Q-Align's and DeQA-Score's (scorer.py, expand2square), and so is
        the colour: CLIP's mean in whole levels.
    Differs: RQ-VQA draws the crop anew for each frame; one position keeps frames comparable. The
        long side is rounded where torchvision and RQ-VQA truncate: 1920x1080 becomes 683x384, not
        682x384. Q-Align pads, then resizes with a bicubic filter, which blends frame and padding
        at their border.
    """

    num_frames: int = 10
    size: int = 224
    short_side: int | None = None
    train_frames: int | None = None
    sampling: str = "spread"
    seconds: int = 1
    padding: str = "repeat"
    fit: str = "crop"
    pad_level: int | tuple[int, ...] = (122, 116, 104)

    def __post_init__(self) -> None:
        check_positive(self, "num_frames", "size", "short_side", "train_frames")
        check_stills(self)
        if self.short_side is not None and self.short_side < self.size:
            raise ValueError(f"short_side {self.short_side} is smaller than size {self.size}")
        check_choice(self, "fit", FITS)
        if self.fit != "crop" and self.short_side is not None:
            raise ValueError(f"short_side {self.short_side} belongs to fit crop, not {self.fit}")
        given = self.pad_level
        levels = (given,) * 3 if isinstance(given, int) else tuple(given)
        if len(levels) != 3 or any(type(v) is not int or not 0 <= v <= 255 for v in levels):
            raise ValueError(f"KeyFrames.pad_level must be one or three of 0..255, got {given!r}")
        object.__setattr__(self, "pad_level", levels)

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, 3, size, size)."""
        return (self.num_frames, 3, self.size, self.size)

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        """Start collecting; see :class:`~distill.data.views.base.View`."""
        return _KeyFramesCollector(self, info, seed, train)


class _KeyFramesCollector(FrameCollector):
    def __init__(self, view: KeyFrames, info: VideoInfo, seed: int, train: bool) -> None:
        time, space = generators(seed)
        slots = still_slots(view, info, time if train else None)
        super().__init__(slots, view.shape[1:])
        self._view = view
        # Fractions, not pixels: some files change size in mid-stream.
        self._at = (space.random(), space.random()) if train else (0.5, 0.5)

    def _fill(self, slots: list[int], image: np.ndarray) -> None:
        cut = self._crop(image) if self._view.fit == "crop" else self._whole(image)
        for slot in slots:
            self._out[slot] = cut

    def _crop(self, image: np.ndarray) -> np.ndarray:
        size = self._view.size
        image = resize_short(image, self._view.short_side or max(min(image.shape[-2:]), size))
        top = int(round((image.shape[-2] - size) * self._at[0]))
        left = int(round((image.shape[-1] - size) * self._at[1]))
        return image[:, top : top + size, left : left + size]

    def _whole(self, image: np.ndarray) -> np.ndarray:
        size, sides = self._view.size, image.shape[-2:]
        if self._view.fit == "squeeze":
            return resize(image, size, size)
        height, width = (max(1, round(side * size / max(sides))) for side in sides)
        square = np.empty((3, size, size), dtype=np.uint8)
        square[:] = np.reshape(self._view.pad_level, (3, 1, 1))
        top, left = (size - height) // 2, (size - width) // 2
        square[:, top : top + height, left : left + width] = resize(image, height, width)
        return square
