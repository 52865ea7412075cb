"""What both training commands do once network, loss and examples are chosen."""

import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from distill import plots
from distill.bundle import load_weights
from distill.config import TrainStudentConfig, TrainTeacherConfig
from distill.data.datamodule import VQADataModule
from distill.data.dataset import Example
from distill.data.identity import seed_of
from distill.data.manifest import Manifest, Problem, Row
from distill.data.reader import VideoReader
from distill.errors import ManifestError
from distill.guide import Guide
from distill.losses import WeightedLoss
from distill.lr_finder import find_factor
from distill.model import QualityModel
from distill.runs import Run
from distill.stages.assess import Fitted, Trained, assess
from distill.stages.average import best_or_average
from distill.stages.feature_cache import trainer_features
from distill.tracking import Tracker, metric_files
from distill.training import BEST, LAST, QualityModule, best_select, make_trainer

log = logging.getLogger(__name__)


def fit(
    model: QualityModel,
    train: Sequence[Example],
    val: Sequence[Row],
    reader: VideoReader,
    config: TrainTeacherConfig | TrainStudentConfig,
    run: Run,
    tracker: Tracker,
    manifest: Manifest,
) -> Fitted | None:
    """Train, take the best epoch, calibrate on validation, write plots.

    Returns:
        None on every process but the first.

    Raises:
        Interrupted: a signal; a checkpoint was written.
        ManifestError: too few validation videos can be decoded.
    """
    loggers = tracker.loggers()
    tables = [manifest.path, *config.data.also]
    trained = optimise(
        model, train, val, reader, config, run.folder, loggers, tables, config.seed, run.resumed
    )
    if trained is None:
        return None
    assert trained.checkpoint is not None
    load_weights(model, trained.checkpoint)
    plots.curves(run.plots / "curves.png", metric_files(run.folder))
    tracker.picture("plots/curves", run.plots / "curves.png")
    log.info("training waited for videos %.0f%% of its time", 100 * trained.data_wait)
    return assess(model, val, reader, config, run, tracker, manifest, trained)


def optimise(
    model: QualityModel,
    train: Sequence[Example],
    val: Sequence[Row],
    reader: VideoReader,
    config: TrainTeacherConfig | TrainStudentConfig,
    folder: Path,
    loggers: list[Any],
    tables: Sequence[Path | str],
    seed: int,
    resumed: bool = False,
) -> Trained | None:
    """Train one network.

    Args:
        model: network to train.
        train: what it learns from.
        val: what the best epoch is chosen on.
        reader: of the videos.
        config: of the command.
        folder: of the run, or of this part of it.
        loggers: Lightning's.
        tables: that the videos come from, by ``Example.dataset``; for messages.
        seed: of order, draws and dropout.
        resumed: go on from a checkpoint that lies in ``folder``.

    Returns:
        None on every process but the first.

    Raises:
        Interrupted: a signal; a checkpoint was written.
    """
    training, data = config.training, config.data
    loss = WeightedLoss.of(config.loss)
    sets = 1 + max(example.dataset for example in train)
    guide = None
    if isinstance(config, TrainStudentConfig):
        guide = Guide.of(config.guide, model, training.chunk)
    module = QualityModule(model, loss, training, seed, sets, guide)
    make_data = partial(
        VQADataModule,
        train,
        [Example(row, target=row.mos) for row in val],
        model.views,
        reader,
        batch_size=training.batch_size,
        num_workers=data.num_workers,
        frozen_views=model.frozen_views(),
        batches_per_epoch=training.batches_per_epoch,
        pseudo_share=training.pseudo_share,
        prefetch=data.prefetch,
        features=trainer_features(model, reader, config),
        augment=config.augment,
    )
    last = folder / "checkpoints" / LAST
    start = time.monotonic()
    going_on = resumed and last.is_file()
    if training.find_lr and not going_on:  # a checkpoint knows its rates
        probe = make_data(seed=seed_of(seed, "find_lr"))
        module.rate_factor = find_factor(module, probe, training, folder)
    datamodule = make_data(seed=seed)
    trainer = make_trainer(training, folder, loggers)
    if len(val) < trainer.world_size:
        raise ManifestError(
            f"{tables[0]}: {len(val)} videos to choose the epoch on are too few for"
            f" {trainer.world_size} processes; use fewer training.devices, or fewer folds"
        )
    trainer.fit(
        module, datamodule=datamodule, weights_only=True, ckpt_path=last if going_on else None
    )
    if trainer.global_rank != 0:
        return None
    select, checkpoint = best_select(trainer), folder / "checkpoints" / BEST
    if not math.isfinite(select):  # ModelCheckpoint keeps the first epoch, which has learned least
        log.warning(
            "validation never had a correlation (all scores equal, or fewer than two videos that"
            " can be decoded), so the last epoch is kept"
        )
        checkpoint = last
    if training.average_last:
        checkpoint, better = best_or_average(
            model, checkpoint, val, reader, config, datamodule.features
        )
        select = select if better is None else better
    return Trained(
        checkpoint,
        datamodule.features,
        (time.monotonic() - start) / 60,
        trainer.global_step,
        datamodule.waiting.whole_share(),
        [
            Problem(str(tables[train[i].dataset]), train[i].row.line, train[i].row.video, reason)
            for i, reason in sorted(module.failed.items())
        ],
        select,
    )


def tell_random_weights(names: Sequence[str]) -> None:
    """A trainable backbone without pretrained weights: a warning that nobody can miss."""
    if names:
        bar = "!" * 88
        log.warning(
            "%s\n! RANDOM WEIGHTS: %s start(s) untrained; on a few thousand videos that costs much"
            "\n! accuracy. Pretrained weights: ...weights=auto, or a path to a file.\n%s",
            bar, ", ".join(names), bar,
        )  # fmt: skip


def tell_test_views(test_views: int) -> None:
    """What a score costs where a video is looked at more than once."""
    if test_views > 1:
        log.info(
            "test views: every score is the mean of %d looks at a video; the GMACs above are for"
            " all of them", test_views,
        )  # fmt: skip
