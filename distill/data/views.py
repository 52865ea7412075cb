"""Views: what one model wants to see of one video, as data.

A view says which frame indices it needs, then takes those frames one by one as they are decoded
and cuts or shrinks each at once, so that no stack of native frames ever exists. Views yield uint8;
the network that asked for a view normalises it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.reader import VideoInfo
from distill.data.sampling import fragment_clips, fragment_offsets, spread


class Collector(Protocol):
    """One view of one video while it is being decoded.

    Attributes:
        indices: frame indices wanted, any order, repeats allowed.
    """

    indices: np.ndarray

    def add(self, index: int, frame: np.ndarray) -> None:
        """Take one decoded frame (H, W, 3) uint8; called once per distinct wanted index."""
        ...

    def result(self) -> Tensor:
        """The finished uint8 tensor of the view's shape; call after every index was added."""
        ...


class View(Protocol):
    """What a model wants to see of a video."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one video's tensor, without the batch axis."""
        ...

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        """Start collecting.

        Args:
            info: metadata of the video.
            seed: in evaluation a function of the video's content alone, so that a score never
                depends on the run; in training of run seed, epoch and row.
            train: draw frames and crops at random; else take the deterministic ones.
        """
        ...


class _Frames:
    """Collects T distinct cuts (C, S, S), one for each entry of ``indices``."""

    def __init__(self, indices: np.ndarray, side: int) -> None:
        self.indices = indices
        self._out = torch.empty((len(indices), 3, side, side), dtype=torch.uint8)
        self._missing = np.ones(len(indices), dtype=bool)

    def add(self, index: int, frame: np.ndarray) -> None:
        for slot in np.flatnonzero(self.indices == index):
            self._out[slot] = self._cut(int(slot), frame)
            self._missing[slot] = False

    def _cut(self, slot: int, frame: np.ndarray) -> Tensor:
        raise NotImplementedError(type(self).__name__)

    def result(self) -> Tensor:
        if self._missing.any():
            raise RuntimeError(f"frames {self.indices[self._missing].tolist()} never arrived")
        return self._out


@dataclass(frozen=True)
class KeyFrames:
    """T frames spread evenly, each a square of ``size`` pixels: a crop after an optional resize.

    Args:
        num_frames: T.
        size: side of the square in pixels.
        short_side: the frame's short side is resized to this before the crop; None crops at
            native resolution. Frames too small for the crop are enlarged to fit, never padded.
        train_frames: frames in training, where each step may draw others; None is ``num_frames``.

    The crop has one position per video: drawn in training (with a horizontal flip), the centre in
    evaluation. Yields (T, 3, size, size).

    Source: 10 frames of 224 are SharpMind's as far as public (NTIRE 2025, arXiv 2504.13131);
        resize then crop is RQ-VQA's.
    Differs: RQ-VQA draws the crop anew for each frame; one position keeps frames comparable.
    """

    num_frames: int = 10
    size: int = 224
    short_side: int | None = None
    train_frames: int | None = None

    def __post_init__(self) -> None:
        _positive(self, "num_frames", "size")
        if self.train_frames is not None:
            _positive(self, "train_frames")
        if self.short_side is not None and self.short_side < self.size:
            raise ValueError(f"short_side {self.short_side} is smaller than size {self.size}")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_frames, 3, self.size, self.size)

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        return _KeyFramesCollector(self, info, seed, train)


class _KeyFramesCollector(_Frames):
    def __init__(self, view: KeyFrames, info: VideoInfo, seed: int, train: bool) -> None:
        frames = view.train_frames or view.num_frames if train else view.num_frames
        time, space = _generators(seed)
        super().__init__(spread(frames, info.num_frames, time if train else None), view.size)
        self._view = view
        # Fractions, not pixels: some files change size in mid-stream.
        self._at = (space.random(), space.random()) if train else (0.5, 0.5)
        self._flip = train and space.random() < 0.5

    def _cut(self, slot: int, frame: np.ndarray) -> Tensor:
        size = self._view.size
        image = _chw(frame)
        short = min(image.shape[-2:])
        target = self._view.short_side or max(short, size)
        if target != short:
            image = _resize(image, target / short)
        top = int(round((image.shape[-2] - size) * self._at[0]))
        left = int(round((image.shape[-1] - size) * self._at[1]))
        cut = image[:, top : top + size, left : left + size]
        return cut.flip(-1) if self._flip else cut


@dataclass(frozen=True)
class Fragments:
    """FAST-VQA's fragments: a grid of small native patches, spliced into one image per frame.

    Args:
        grid: cells per side.
        patch: patch side in pixels.
        num_clips: N, clips spread over the video; with ``clip_len`` 1, N single frames.
        clip_len: T, frames per clip.
        frame_interval: stride between the frames of a clip.
        aligned: consecutive frames that share one draw of patch positions; None is the whole
            clip. Must divide ``clip_len``.
        train_clips: clips in training, where each step may draw others; None is ``num_clips``.

    Positions are random in training and in evaluation alike, there seeded by the video's content.
    Frames smaller than the grid are enlarged first. Yields (N, T, 3, grid*patch, grid*patch).

    Source: FAST-VQA (Wu et al., ECCV 2022), ``get_spatial_fragments``; 12x12 stills with one
        draw for all frames are E-VQA's (``clip_len=1``, ``aligned=None``).
    Differs: seeded by content in evaluation, where the published code draws anew at every run.
    """

    grid: int = 7
    patch: int = 32
    num_clips: int = 4
    clip_len: int = 32
    frame_interval: int = 2
    aligned: int | None = None
    train_clips: int | None = None

    def __post_init__(self) -> None:
        _positive(self, "grid", "patch", "num_clips", "clip_len", "frame_interval")
        if self.train_clips is not None:
            _positive(self, "train_clips")
        if self.aligned is not None and (self.aligned < 1 or self.clip_len % self.aligned):
            raise ValueError(f"aligned {self.aligned} does not divide clip_len {self.clip_len}")

    @property
    def side(self) -> int:
        """Side of the spliced image in pixels."""
        return self.grid * self.patch

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_clips, self.clip_len, 3, self.side, self.side)

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        return _FragmentsCollector(self, info, seed, train)


class _FragmentsCollector(_Frames):
    def __init__(self, view: Fragments, info: VideoInfo, seed: int, train: bool) -> None:
        time, space = _generators(seed)
        clips = view.train_clips or view.num_clips if train else view.num_clips
        if view.clip_len == 1:
            # Stills: the middle of each part, so that evaluation shares its frames with KeyFrames.
            indices = spread(clips, info.num_frames, time if train else None)
        else:
            indices = fragment_clips(
                clips, view.clip_len, view.frame_interval, info.num_frames, time
            ).ravel()
        super().__init__(indices, view.side)
        self._view, self._clips = view, clips
        self._seed = int(space.integers(2**63))
        self._flip = train and space.random() < 0.5
        self._corners: dict[tuple[int, int], np.ndarray] = {}

    def _cut(self, slot: int, frame: np.ndarray) -> Tensor:
        view, image = self._view, _chw(frame)
        short = min(image.shape[-2:])
        if short < view.side:
            image = _resize(image, view.side / short)
        out = torch.empty((3, view.side, view.side), dtype=torch.uint8)
        cells = out.unflatten(2, (view.grid, view.patch)).unflatten(1, (view.grid, view.patch))
        for i, row in enumerate(self._positions(slot, image.shape[-2], image.shape[-1])):
            for j, (top, left) in enumerate(row):
                patch = image[:, top : top + view.patch, left : left + view.patch]
                cells[:, i, :, j] = patch
        return out.flip(-1) if self._flip else out

    def result(self) -> Tensor:
        return super().result().reshape(self._clips, *self._view.shape[1:])

    def _positions(self, slot: int, height: int, width: int) -> Sequence[Sequence[tuple[int, int]]]:
        """Corners for one frame; drawn once per frame size, the same whatever the order."""
        view = self._view
        block = view.clip_len if view.clip_len > 1 else self._clips
        aligned = view.aligned or block
        sets = self._clips * view.clip_len // aligned
        if (height, width) not in self._corners:
            self._corners[height, width] = fragment_offsets(
                view.grid, view.patch, height, width, sets, np.random.default_rng(self._seed)
            )
        return self._corners[height, width][slot // aligned].tolist()


def _generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """One for time, one for space: views with as many frames take the same ones."""
    return np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])


def _chw(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)


def _resize(image: Tensor, ratio: float) -> Tensor:
    """Bilinear with antialiasing; sides rounded, the short side exact."""
    height, width = (max(1, round(side * ratio)) for side in image.shape[-2:])
    return F.interpolate(image[None], size=(height, width), mode="bilinear", antialias=True)[0]


def _positive(view: object, *names: str) -> None:
    for name in names:
        value = getattr(view, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{type(view).__name__}.{name} must be an integer >= 1, got {value!r}")
