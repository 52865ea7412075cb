"""Loaders for evaluation, and what every loader of this program does; knows no Lightning."""

import os
import signal
from collections.abc import Mapping, Sequence

import torch
from torch.utils.data import DataLoader

from distill.data.dataset import Example, Sample, VideoDataset, collate
from distill.data.reader import VideoReader
from distill.data.views import View


def ignore_signals(_: int) -> None:
    """Ctrl-C reaches a whole process group; the main process decides, workers end with it."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


def decoding_workers(given: int | None) -> int:
    """Decoding processes: as given, or one per core and at most 8."""
    if given is not None:
        return given
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, cores or 1)


def eval_loader(
    examples: Sequence[Example],
    views: Mapping[str, View],
    reader: VideoReader,
    *,
    batch_size: int,
    num_workers: int,
) -> DataLoader[Sample]:
    """Videos in order with evaluation views; yields ``Batch``. No video is read twice or padded."""
    return DataLoader(
        VideoDataset(examples, views, reader, train=False),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=ignore_signals,
        pin_memory=torch.cuda.is_available(),
    )
