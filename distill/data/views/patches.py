"""What views of patches share: P squares of each single frame, wherever the view wants them."""

from typing import Any

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.views.base import FrameCollector, generators, resize_short, still_slots


class PatchCollector(FrameCollector):
    """Cuts the patches that a subclass places; (T, P, 3, patch, patch).

    Args:
        view: has ``num_frames``, ``num_patches``, ``patch``, ``train_patches`` and what says which
            single frames it takes.
        info, seed, train: as ``View.begin`` gets them.
    """

    def __init__(self, view: Any, info: VideoInfo, seed: int, train: bool) -> None:
        time, space = generators(seed)
        self._patches = view.train_patches or view.num_patches if train else view.num_patches
        shape = (self._patches, 3, view.patch, view.patch)
        super().__init__(still_slots(view, info, time if train else None), shape)
        self._side = view.patch
        self._seed = int(space.integers(2**63)) if train else None

    def _corners(self, image: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """(P, 2) top and left of the patches of a frame (3, H, W); None is evaluation."""
        raise NotImplementedError(type(self).__name__)

    def _sized(self, image: np.ndarray) -> np.ndarray:
        """The frame, enlarged until a patch fits."""
        return resize_short(image, max(min(image.shape[-2:]), self._side))

    def _fill(self, slots: list[int], image: np.ndarray) -> None:
        image = self._sized(image)
        if self._seed is None:
            self._cut(slots, image, self._corners(image, None))
            return
        for slot in slots:
            # A generator for each slot, so that the order of frames does not matter.
            rng = np.random.default_rng([self._seed, slot])
            self._cut([slot], image, self._corners(image, rng))

    def _cut(self, slots: list[int], image: np.ndarray, corners: np.ndarray) -> None:
        for place, (top, left) in enumerate(corners.tolist()):
            cut = image[:, top : top + self._side, left : left + self._side]
            for slot in slots:
                self._out[slot, place] = cut
