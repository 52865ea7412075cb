"""Native patches: LIQE's view, overlapping squares of single frames at their own resolution."""

from dataclasses import dataclass

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.sampling import every_nth, patch_corners
from distill.data.views.base import Collector, check_positive, check_stills, resize_short
from distill.data.views.patches import PatchCollector

_WIDE = 1024  # pixels; LIQE's data sets take a wider stride from this side on


@dataclass(frozen=True)
class NativePatches:
    """P patches of each of T frames, from a dense grid at native resolution.

    Args:
        num_frames: T.
        num_patches: P.
        patch: side of a patch in pixels.
        stride: pixels between the patches of the grid.
        short_side: None cuts native frames with ``stride``, as the class ``LIQE`` does. A number
            resizes frames of which both sides are at least this long to this short side, and takes
            1.5 times the stride where a side is then 1024 or more: LIQE's data sets, with 768.
        sampling, seconds, padding: which frames; see :class:`~distill.data.views.KeyFrames`.
        train_frames: frames in training; None is ``num_frames``.
        train_patches: patches in training; None is ``num_patches``.

    In evaluation patch i is number N // P * i of the grid's N, row by row; in training P are drawn
    for each frame, with repeats. Only these are cut. Frames
    with a side shorter than a patch are enlarged until it fits. Where the grid has fewer patches
    than P, each is taken as often as the others, give or take one. Yields (T, P, 3, patch, patch).

    Source: LIQE (Zhang et al., CVPR 2023), LIQE.py, ImageDataset2.py and utils.py; 3 patches in
        training, 15 in evaluation.
    Differs: LIQE refuses small frames and grids. Its LIQE.py counts patches along the wrong axis
        and cuts the first one 15 times; RQ-VQA's copy, which we follow, does not.
    """

    num_frames: int = 8
    num_patches: int = 15
    patch: int = 224
    stride: int = 32
    short_side: int | None = None
    sampling: str = "spread"
    seconds: int = 1
    padding: str = "repeat"
    train_frames: int | None = None
    train_patches: int | None = None

    def __post_init__(self) -> None:
        check_positive(self, "num_frames", "num_patches", "patch", "stride", "short_side")
        check_positive(self, "train_frames", "train_patches")
        check_stills(self)
        if self.short_side is not None and self.short_side < self.patch:
            raise ValueError(f"short_side {self.short_side} is smaller than patch {self.patch}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, P, 3, patch, patch)."""
        return (self.num_frames, self.num_patches, 3, self.patch, self.patch)

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        """Start collecting; see :class:`~distill.data.views.base.View`."""
        return _NativePatchesCollector(self, info, seed, train)


class _NativePatchesCollector(PatchCollector):
    def __init__(self, view: NativePatches, info: VideoInfo, seed: int, train: bool) -> None:
        super().__init__(view, info, seed, train)
        self._view = view

    def _sized(self, image: np.ndarray) -> np.ndarray:
        short_side = self._view.short_side
        if short_side is not None and min(image.shape[-2:]) >= short_side:
            image = resize_short(image, short_side)
        return super()._sized(image)

    def _corners(self, image: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        height, width = image.shape[-2:]
        stride = self._view.stride
        if self._view.short_side is not None and max(height, width) >= _WIDE:
            stride += stride // 2
        corners = patch_corners(height, width, self._side, stride)
        if rng is not None:
            return corners[rng.integers(0, len(corners), self._patches)]
        return corners[every_nth(len(corners), self._patches)]
