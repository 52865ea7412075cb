"""Loaders for evaluation, and what every loader of this program does; knows no Lightning."""

import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from distill.data.dataset import Batch, Example, Sample, VideoDataset, collate
from distill.data.features import FeatureStore
from distill.data.reader import VideoReader
from distill.data.views import View
from distill.errors import SpoolError

log = logging.getLogger(__name__)
_SMALL_SHARED_MEMORY = 1 << 30  # bytes; a batch of four teacher views is about 80 MB a video


def ignore_signals(_: int) -> None:
    """Ctrl-C reaches a whole process group; the main process decides, workers end with it."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


def eval_loader(
    examples: Sequence[Example],
    views: Mapping[str, View],
    reader: VideoReader,
    *,
    batch_size: int,
    num_workers: int,
    prefetch: int = 2,
    frozen_views: Sequence[str] = (),
    features: FeatureStore | None = None,
    waiting: "Waiting | None" = None,
    test_views: int = 1,
) -> "WatchedLoader":
    """Videos in order with evaluation views; yields ``Batch``. No video is read twice or padded.

    Args:
        examples: the videos.
        views: of the model.
        reader: of the videos.
        batch_size: videos per batch.
        num_workers: decoding processes.
        prefetch: batches that each of them decodes ahead.
        frozen_views, features: see ``VideoDataset``.
        waiting: measures the time spent waiting for the batches.
        test_views: looks at each video, see ``VideoDataset``.
    """
    dataset = VideoDataset(
        examples, views, reader, train=False, frozen_views=frozen_views, features=features,
        test_views=test_views,
    )  # fmt: skip
    options = loader_options(num_workers, prefetch)
    return WatchedLoader(dataset, waiting, batch_size=batch_size, **options)


def stream_loader(
    examples: Iterable[Example],
    views: Mapping[str, View],
    reader: VideoReader,
    *,
    batch_size: int,
    num_workers: int,
    prefetch: int = 2,
    frozen_views: Sequence[str] = (),
    features: FeatureStore | None = None,
    waiting: "Waiting | None" = None,
    test_views: int = 1,
) -> "WatchedLoader":
    """``eval_loader`` of videos that come one by one, however many: once around.

    No process holds more of them than it reads ahead: ``examples`` is iterated in this process as
    batches are asked for, and each video goes to the worker that decodes it.
    """
    dataset = _Stream(
        (), views, reader, train=False, frozen_views=frozen_views, features=features,
        test_views=test_views,
    )  # fmt: skip
    options = loader_options(num_workers, prefetch)
    batches = _batches(examples, batch_size)
    return WatchedLoader(dataset, waiting, batch_sampler=batches, **options)


class _Stream(VideoDataset):
    """Videos that come with their keys."""

    def __getitem__(self, key: tuple[int, Example]) -> Sample:  # type: ignore[override]
        index, example = key
        return self.sample(example, index)

    def example(self, key: tuple[int, Example]) -> Example:
        return key[1]


def _batches(examples: Iterable[Example], size: int) -> Iterator[list[tuple[int, Example]]]:
    source = enumerate(examples)
    while batch := list(islice(source, size)):
        yield batch


def loader_options(num_workers: int, prefetch: int) -> dict[str, Any]:
    """Arguments that all loaders of this program share: decoding ahead, into pinned memory."""
    if num_workers:
        _check_shared_memory()
    return {
        "num_workers": num_workers,
        "prefetch_factor": prefetch if num_workers else None,
        "collate_fn": collate,
        "worker_init_fn": ignore_signals,
        "pin_memory": torch.cuda.is_available(),
    }


@lru_cache(maxsize=1)
def _check_shared_memory(folder: str = "/dev/shm") -> None:
    """Say so, once, before workers die of a bus error: containers often have 64 MiB."""
    try:
        status = os.statvfs(folder)
    except OSError:  # not on this system
        return
    size = status.f_blocks * status.f_frsize
    if size < _SMALL_SHARED_MEMORY:
        log.warning(
            "shared memory is %d MiB, too little for batches of video: start the container with"
            " --shm-size=8g or --ipc=host, or decode in this process with data.num_workers=0",
            size >> 20,
        )


class Waiting:
    """Measures how long its user waits for batches, from now on.

    Attributes:
        seconds: waited in all.
    """

    def __init__(self) -> None:
        self.seconds, self._start = 0.0, time.perf_counter()
        self._last = 0.0, self._start  # seconds waited, and when, at the last ``share``

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches, timed."""
        source = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(source, None)
            self.seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def share(self) -> float:
        """Share of the time since the last call, or since the start, that was spent waiting."""
        (waited, then), now = self._last, time.perf_counter()
        self._last = self.seconds, now
        return (self.seconds - waited) / max(now - then, 1e-9)

    def whole_share(self) -> float:
        """Share of all the time since the start that was spent waiting."""
        return self.seconds / max(time.perf_counter() - self._start, 1e-9)


class WatchedLoader(DataLoader[Sample]):
    """A DataLoader whose user's waiting is measured.

    Args:
        dataset: of samples.
        waiting: measures; None measures for nobody.
        options: DataLoader's.
    """

    def __init__(
        self, dataset: VideoDataset, waiting: Waiting | None = None, **options: Any
    ) -> None:
        super().__init__(dataset, **options)
        self.waiting = waiting or Waiting()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator suffices
        return _told(self.waiting.watch(super().__iter__()))


def _told(batches: Iterator[Any]) -> Iterator[Any]:
    """The same; torch puts a traceback in front of what a worker's error says."""
    try:
        yield from batches
    except SpoolError as error:
        text = str(error).rsplit(f"{SpoolError.__name__}: ", 1)[-1]
        raise SpoolError(text.strip()) from error
