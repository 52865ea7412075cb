"""Where the training commands keep features of frozen members, and who makes what is missing."""

from collections.abc import Callable, Sequence

import pytorch_lightning as pl
import torch

from distill.cache import cache_folder
from distill.config import TrainStudentConfig, TrainTeacherConfig, folder
from distill.data.features import FeatureStore
from distill.data.manifest import Row
from distill.data.reader import VideoReader
from distill.errors import Interrupted
from distill.features import feature_store, fill, missing
from distill.model import QualityModel
from distill.options import decoding_workers


def trainer_features(
    model: QualityModel, reader: VideoReader, config: TrainTeacherConfig | TrainStudentConfig
) -> Callable[[Sequence[Row], pl.Trainer], FeatureStore | None]:
    """What caches the features of frozen members on all ranks of a trainer."""

    def make(rows: Sequence[Row], trainer: pl.Trainer) -> FeatureStore | None:
        strategy, share = trainer.strategy, (trainer.global_rank, trainer.world_size)
        return cached_features(
            model, rows, reader, config, strategy.root_device, share, strategy.barrier
        )

    return make


def cached_features(
    model: QualityModel,
    rows: Sequence[Row],
    reader: VideoReader,
    config: TrainTeacherConfig | TrainStudentConfig,
    device: torch.device,
    share: tuple[int, int] = (0, 1),
    barrier: Callable[[str], None] = lambda name: None,
) -> FeatureStore | None:
    """The cached features of these videos; None where there are none to cache."""
    choice = config.training.feature_cache
    if choice == "none":
        return None
    where = cache_folder() / "features" if choice == "auto" else folder(choice)
    store = feature_store(model, where, device)
    if store is None:
        return None
    todo = missing(store, rows)
    barrier("features listed")  # all ranks see the same ones missing
    rank, ranks = share
    try:
        fill(
            store, model, todo[rank::ranks], reader, batch_size=config.training.batch_size,
            num_workers=decoding_workers(config.data.num_workers), device=device,
        )  # fmt: skip
    except KeyboardInterrupt as stop:  # Lightning would end with a code of its own
        text = "stopped; the features made so far are kept for the next start"
        raise Interrupted.by(stop, text) from stop
    barrier("features made")
    return store
