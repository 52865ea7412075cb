"""The Lightning data module: training and validation videos of one model."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from distill.augment import AugmentConfig
from distill.data.batches import EpochBatches, batch_plan
from distill.data.dataset import Batch, Example, Sample, VideoDataset
from distill.data.features import FeatureStore
from distill.data.loading import (
    Waiting,
    WatchedLoader,
    eval_loader,
    loader_options,
)
from distill.data.manifest import Row
from distill.data.reader import VideoReader
from distill.data.views import View
from distill.options import decoding_workers


class ResumableLoader(WatchedLoader):
    """A DataLoader whose position is saved in checkpoints; Lightning calls the two methods."""

    batch_sampler: EpochBatches

    def state_dict(self) -> dict[str, int]:
        """See ``EpochBatches.state_dict``."""
        return self.batch_sampler.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """See ``EpochBatches.load_state_dict``."""
        self.batch_sampler.load_state_dict(state)


class VQADataModule(pl.LightningDataModule):
    """Training batches drawn by ``EpochBatches``, validation in order, on every rank its share.

    Args:
        train, val: examples.
        views: of the model.
        reader: of the videos.
        batch_size: videos per rank and step.
        num_workers: decoding processes per rank; None chooses.
        seed: of the run.
        frozen_views: evaluation views in training too; see ``QualityModel.frozen_views``.
        batches_per_epoch: fewer than a whole pass, for trials; None is a whole pass.
        pseudo_share: share of each batch that is pseudo-labelled; see ``batch_plan``.
        prefetch: batches that each decoding process has ready ahead.
        features: makes the cached features of these videos on all ranks of this trainer, and
            returns their store.
        augment: what is done to training videos; None is nothing.

    Attributes:
        features: the store; None before training, and where there is none.
        waiting: how long training and validation wait for videos, from the first batch on.
    """

    def __init__(
        self,
        train: Sequence[Example],
        val: Sequence[Example],
        views: Mapping[str, View],
        reader: VideoReader,
        *,
        batch_size: int,
        num_workers: int | None = None,
        seed: int = 0,
        frozen_views: Collection[str] = (),
        batches_per_epoch: int | None = None,
        pseudo_share: float | None = None,
        prefetch: int = 2,
        features: Callable[[Sequence[Row], pl.Trainer], FeatureStore | None] | None = None,
        augment: AugmentConfig | None = None,
    ) -> None:
        super().__init__()
        self.train_examples, self.val_examples = list(train), list(val)
        self.views, self.reader = dict(views), reader
        self.batch_size, self.seed = batch_size, seed
        pseudo = [example.pseudo for example in self.train_examples]
        self.streams = batch_plan(pseudo, batch_size, pseudo_share)
        self.num_workers = decoding_workers(num_workers)
        self.frozen_views = tuple(frozen_views)
        self.batches_per_epoch, self.prefetch = batches_per_epoch, prefetch
        self._make_features, self.augment = features, augment
        self.features: FeatureStore | None = None
        self.waiting = Waiting()

    def epoch_batches(self) -> EpochBatches:
        """The batches of this process, at the start of the first epoch."""
        trainer = self.trainer
        return EpochBatches(
            self.streams,
            self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            stop_after=self.batches_per_epoch,
        )

    def train_dataloader(self) -> ResumableLoader:
        """Make what is missing of the cached features, then the loader of training.

        Here and not in ``setup``: by now a checkpoint's weights are restored.
        """
        if self._make_features is not None and self.trainer is not None:
            rows = [example.row for example in (*self.train_examples, *self.val_examples)]
            self.features = self._make_features(rows, self.trainer)
        self.waiting = Waiting()
        dataset = VideoDataset(
            self.train_examples, self.views, self.reader, train=True, seed=self.seed,
            frozen_views=self.frozen_views, features=self.features, augment=self.augment,
        )  # fmt: skip
        return ResumableLoader(
            dataset,
            self.waiting,
            batch_sampler=self.epoch_batches(),
            persistent_workers=self.num_workers > 0,
            **loader_options(self.num_workers, self.prefetch),
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return eval_loader(
            self.val_examples[rank::world],
            self.views,
            self.reader,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            prefetch=self.prefetch,
            frozen_views=self.frozen_views,
            features=self.features,
            waiting=self.waiting,
        )

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        """Move a batch."""
        assert isinstance(batch, Batch)
        return batch.to(device)
