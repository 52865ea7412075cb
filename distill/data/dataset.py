"""Videos as samples: each decoded once, for all views of all models."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from distill.augment import AugmentConfig
from distill.data.features import FeatureStore
from distill.data.identity import content_hash, seed_of
from distill.data.looks import Look, further_looks, read_looks
from distill.data.manifest import Row
from distill.data.reader import VideoInfo, VideoReader
from distill.data.spool import fetch_ahead, local
from distill.data.views import View, at_full_count
from distill.errors import VideoError, why

_NO_FEATURES = (
    "it has no cached features: it changed, or could not be read when they were made; start again"
)


@dataclass(frozen=True)
class Example:
    """A video and what to learn from it.

    Attributes:
        row: the video.
        target: MOS or calibrated pseudo-label; NaN where there is none (scoring only).
        weight: of this example in the loss, >= 0.
        pseudo: whether the target is a teacher's.
        error: standard deviation of the target's error, in its units; NaN where it is not known.
        dataset: number of its data set; 0 is the main one. Targets are compared within a set only.
    """

    row: Row
    target: float = math.nan
    weight: float = 1.0
    pseudo: bool = False
    error: float = math.nan
    dataset: int = 0


@dataclass
class Sample:
    """One decoded video, or the reason why there is none.

    Attributes:
        index: position in the data set.
        example: the video.
        views: by name; those of frozen members may be replaced by cached features.
        info: metadata; None where there is none.
        content: content hash, where it was needed.
        error: the reason; empty where the video is sound.
        others: further draws of the views, for the passes after the first.
    """

    index: int
    example: Example
    views: dict[str, Tensor]
    info: VideoInfo | None = None
    content: str = ""
    error: str = ""
    others: list[dict[str, Tensor]] = field(default_factory=list)


@dataclass
class Batch:
    """The sound videos of a batch; the broken ones as reasons.

    Attributes:
        views: name -> uint8 (B, *view.shape), or cached features (B, T, D); empty if B is 0.
        index: (B,) int64 positions in the data set.
        target, weight, error: (B,) float32; see ``Example``.
        pseudo: (B,) bool.
        dataset: (B,) int64.
        group: (B,) int64, one number for each content; see :func:`content_code`.
        infos, contents: per video, metadata and content hash.
        failed: (position, reason) of the videos that could not be decoded.
        others: as ``views``, for the passes after the first.
    """

    views: dict[str, Tensor]
    index: Tensor
    target: Tensor
    weight: Tensor
    error: Tensor
    pseudo: Tensor
    dataset: Tensor
    group: Tensor
    infos: list[VideoInfo]
    contents: list[str]
    failed: list[tuple[int, str]]
    others: list[dict[str, Tensor]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on a device (Lightning calls this)."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same batch in pinned memory (DataLoader calls this)."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            views={name: change(tensor) for name, tensor in self.views.items()},
            others=[{name: change(view) for name, view in each.items()} for each in self.others],
            index=change(self.index),
            target=change(self.target),
            weight=change(self.weight),
            error=change(self.error),
            pseudo=change(self.pseudo),
            dataset=change(self.dataset),
            group=change(self.group),
        )


class VideoDataset(Dataset[Sample]):
    """Examples as samples. A broken video is a sample with a reason, never an exception.

    Args:
        examples: what to read.
        views: of the model that will see them.
        reader: opened and closed within each item, so the data set is fork-safe.
        train: random views seeded by ``seed``, epoch and position; else deterministic ones seeded
            by the video's content alone.
        seed: of the run.
        frozen_views: names of the views that are evaluation views in training too.
        features: cached features that stand for the frozen views; None reads the views.
        test_views: looks at a video in evaluation, all in one decode. The first is the evaluation
            view; the others draw as training does, but all frames, seeded by content and number,
            and half of them are mirrored.
        augment: what training does to the pictures; None is nothing.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        views: Mapping[str, View],
        reader: VideoReader,
        *,
        train: bool,
        seed: int = 0,
        frozen_views: Collection[str] = (),
        features: FeatureStore | None = None,
        test_views: int = 1,
        augment: AugmentConfig | None = None,
    ) -> None:
        self.examples = list(examples)
        self.frozen_views = tuple(frozen_views)
        self.features = features
        self.views = dict(views)
        self.drawn = {name: at_full_count(view) for name, view in views.items()}
        self.test_views = 1 if train else test_views
        self.augment = augment
        self.reader = reader
        self.train = train
        self.seed = seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """A sample by position, or by (draw, position) in training; see ``EpochBatches``."""
        draw, index = key if isinstance(key, tuple) else (0, key)
        return self.sample(self.examples[index], index, draw)

    def __getitems__(self, keys: Sequence[Any]) -> list[Sample]:
        """A batch (DataLoader asks so); a remote video comes while the one before is decoded."""
        samples = []
        for at, key in enumerate(keys):
            for one in keys[at : at + 2]:
                fetch_ahead(self.example(one).row.path)
            samples.append(self[key])
        return samples

    def example(self, key: Any) -> Example:
        """The video of a key of ``__getitem__``."""
        return self.examples[key[1] if isinstance(key, tuple) else key]

    def sample(self, example: Example, index: int, draw: int = 0) -> Sample:
        """A sample of a video that need not be one of ``examples``."""
        try:
            with local(example.row.path) as path:
                return self._read(path, example, index, draw)
        except (VideoError, OSError) as error:
            return Sample(index, example, {}, error=why(error))

    def _read(self, path: Path, example: Example, index: int, draw: int) -> Sample:
        """From a file that is there.

        Raises:
            VideoError, OSError: it cannot be read.
        """
        content = content_hash(path) if self.frozen_views or not self.train else ""
        seed = seed_of(self.seed, draw, index) if self.train else seed_of(content)
        frozen = dict.fromkeys(self.frozen_views, seed_of(content))
        cached = self.features.load(content) if self.features else None
        wanted = {n: v for n, v in self.views.items() if not cached or n not in frozen}
        looks = [Look(wanted, seed, self.train, frozen, self.augment)]
        looks += further_looks(self.drawn, content, self.test_views)
        found, info = read_looks(path, self.reader, looks, example.row.path)
        views, *others = [_tensors(each) for each in found]
        if self.features and not cached:
            return Sample(index, example, {}, error=_NO_FEATURES)
        return Sample(index, example, views | (cached or {}), info, content, others=others)


def content_code(row: Row) -> int:
    """A number in [0, 2^63) for a row's content; a row of no known group has one of its own."""
    return seed_of("group", row.group) if row.group else seed_of("video", str(row.path))


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack the sound samples; list the others."""
    sound = [sample for sample in samples if not sample.error]
    examples = [sample.example for sample in sound]
    return Batch(
        views=_stacked([sample.views for sample in sound]),
        index=torch.tensor([sample.index for sample in sound], dtype=torch.int64),
        target=torch.tensor([example.target for example in examples], dtype=torch.float32),
        weight=torch.tensor([example.weight for example in examples], dtype=torch.float32),
        error=torch.tensor([example.error for example in examples], dtype=torch.float32),
        pseudo=torch.tensor([example.pseudo for example in examples], dtype=torch.bool),
        dataset=torch.tensor([example.dataset for example in examples], dtype=torch.int64),
        group=torch.tensor([content_code(example.row) for example in examples], dtype=torch.int64),
        infos=[sample.info for sample in sound if sample.info is not None],
        contents=[sample.content for sample in sound],
        failed=[(sample.index, sample.error) for sample in samples if sample.error],
        others=[_stacked(each) for each in zip(*(s.others for s in sound), strict=True)],
    )


def _stacked(views: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    names = views[0] if views else {}
    return {name: torch.stack([each[name] for each in views]) for name in names}
