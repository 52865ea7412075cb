"""What both training commands do once network, loss and examples are chosen."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from distill import plots
from distill.bundle import load_weights
from distill.cache import cache_folder
from distill.config import TrainStudentConfig, TrainTeacherConfig, folder
from distill.data.datamodule import VQADataModule
from distill.data.dataset import Example
from distill.data.features import FeatureStore
from distill.data.loading import decoding_workers
from distill.data.manifest import Manifest, Problem, Row
from distill.data.reader import VideoReader
from distill.errors import Interrupted, ManifestError
from distill.features import feature_store, fill, missing
from distill.inference import Scored, pick_device, score_all
from distill.losses import WeightedLoss
from distill.metrics import Logistic4, Scores, calibrate, evaluate
from distill.model import QualityModel
from distill.runs import Run
from distill.tracking import Tracker, metric_files
from distill.training import BEST, LAST, QualityModule, make_trainer

log = logging.getLogger(__name__)


@dataclass
class Trained:
    """What an optimiser left on disk.

    Attributes:
        checkpoint: the averaged weights of the best epoch; None where nothing was trained.
        features: cached features of frozen members, where they were made.
        minutes: of training, validation included; of this process only where it resumed.
        steps: of the optimiser, all processes of a resumed run together.
        data_wait: share of the time of training and its validation that they waited for videos;
            features that were cached before are not part of it.
        failed: videos of the training set that could not be decoded.
    """

    checkpoint: Path | None = None
    features: FeatureStore | None = None
    minutes: float = 0.0
    steps: int = 0
    data_wait: float = 0.0
    failed: list[Problem] = field(default_factory=list)


@dataclass
class Fitted:
    """A network that was trained, calibrated and measured.

    Attributes:
        model: with the weights that were measured.
        calibration: raw score -> MOS; None where there were no labels.
        val: calibrated scores on validation; None likewise.
        minutes, steps, data_wait: see ``Trained``.
    """

    model: QualityModel
    calibration: Logistic4 | None = None
    val: Scores | None = None
    minutes: float = 0.0
    steps: int = 0
    data_wait: float = 0.0


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
    loss = WeightedLoss(config.loss)
    sets = 1 + max(example.dataset for example in train)
    module = QualityModule(model, loss, training, seed, sets)
    datamodule = VQADataModule(
        train,
        [Example(row, target=row.mos) for row in val],
        model.views,
        reader,
        batch_size=training.batch_size,
        num_workers=data.num_workers,
        seed=seed,
        frozen_views=model.frozen_views(),
        batches_per_epoch=training.batches_per_epoch,
        prefetch=data.prefetch,
        features=_features(model, reader, config),
    )
    trainer = make_trainer(training, folder, loggers)
    if len(val) < trainer.world_size:
        raise ManifestError(
            f"{tables[0]}: {len(val)} videos to choose the epoch on, and {trainer.world_size}"
            " processes to share them; use fewer training.devices, or fewer folds"
        )
    last = folder / "checkpoints" / LAST
    start = time.monotonic()
    trainer.fit(
        module, datamodule=datamodule, weights_only=True,
        ckpt_path=last if resumed and last.is_file() else None,
    )  # fmt: skip
    if trainer.global_rank != 0:
        return None
    best = folder / "checkpoints" / BEST
    return Trained(
        best if best.is_file() else last,
        datamodule.features,
        (time.monotonic() - start) / 60,
        trainer.global_step,
        datamodule.waiting.whole_share(),
        [
            Problem(str(tables[train[i].dataset]), train[i].row.line, train[i].row.video, reason)
            for i, reason in sorted(module.failed.items())
        ],
    )


def assess(
    model: QualityModel,
    val: Sequence[Row],
    reader: VideoReader,
    config: TrainTeacherConfig | TrainStudentConfig,
    run: Run,
    tracker: Tracker,
    manifest: Manifest,
    trained: Trained,
    calibration_rows: Sequence[Row] = (),
) -> Fitted:
    """Score validation, calibrate, measure, write plots and the table of problems.

    Args:
        model: with the weights to measure.
        val: what is measured.
        reader, config, run, tracker, manifest: of the command.
        trained: how it came about.
        calibration_rows: what the calibration is fitted on; empty takes ``val``.

    Raises:
        ManifestError: too few videos can be decoded.
    """
    options = scoring_options(config)
    device, every = pick_device(options["device"]), [*calibration_rows, *val]
    features = trained.features or _cached(model, every, reader, config, device)

    def score(rows: Sequence[Row], what: str) -> list[Scored]:
        return score_all(model, rows, reader, what=what, features=features, **options)

    other = score(calibration_rows, "calibrating") if calibration_rows else []
    scored = score(val, "validating")
    failed = [
        Problem(str(manifest.path), s.row.line, s.row.video, s.error)
        for s in (*other, *scored)
        if s.error
    ]
    run.problems([*manifest.problems, *failed, *trained.failed])
    if failed or trained.failed:
        count = len({problem.video for problem in (*failed, *trained.failed)})
        log.warning("%d videos could not be decoded; see problems.csv", count)
    sound = [s for s in scored if not s.error]
    if len(sound) < 3:
        reason = next(s.error for s in scored if s.error)
        raise ManifestError(
            f"{manifest.path}: only {len(sound)} of {len(scored)} validation videos have a score;"
            f" the first that has none: {reason}"
        )
    raw = np.array([s.raw for s in sound])
    mos = np.array([s.row.mos for s in sound])
    learned = [s for s in other if not s.error] or sound
    calibration = calibrate([s.raw for s in learned], [s.row.mos for s in learned])
    predicted = np.asarray(calibration(raw))
    scores = evaluate(predicted, mos, [s.row.group for s in sound])
    _report(run, tracker, sound, predicted, scores, reader)
    return Fitted(model, calibration, scores, trained.minutes, trained.steps, trained.data_wait)


def _features(
    model: QualityModel, reader: VideoReader, config: TrainTeacherConfig | TrainStudentConfig
) -> Callable[[Sequence[Row], pl.Trainer], FeatureStore | None]:
    """What caches the features of frozen members on all ranks of a trainer."""

    def make(rows: Sequence[Row], trainer: pl.Trainer) -> FeatureStore | None:
        strategy, share = trainer.strategy, (trainer.global_rank, trainer.world_size)
        return _cached(model, rows, reader, config, strategy.root_device, share, strategy.barrier)

    return make


def _cached(
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


def _report(
    run: Run, tracker: Tracker, sound: list[Scored], predicted: np.ndarray, scores: Scores,
    reader: VideoReader,
) -> None:  # fmt: skip
    mos = [s.row.mos for s in sound]
    plots.scatter(run.plots / "val_scatter.png", predicted.tolist(), mos, scores, "validation")
    plots.worst_cases(run.plots / "val_worst.png", sound, predicted.tolist(), reader)
    tracker.predictions(
        "val",
        [
            {"video": s.row.video, "mos": s.row.mos, "predicted": float(p), "group": s.row.group}
            for s, p in zip(sound, predicted, strict=True)
        ],
    )
    tracker.picture("plots/val_scatter", run.plots / "val_scatter.png")
    tracker.frames("plots/val_worst", run.plots / "val_worst.png")


def scoring_options(config: TrainTeacherConfig | TrainStudentConfig) -> dict[str, Any]:
    """How a training command scores videos: in its own batches and views, on its own device."""
    return {
        "batch_size": config.training.batch_size,
        "num_workers": decoding_workers(config.data.num_workers),
        "prefetch": config.data.prefetch,
        "test_views": config.test_views,
        "device": "cpu" if config.training.accelerator == "cpu" else "auto",
    }


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
            "test views: every score is the mean of %d looks at a video; the GMACs above are those"
            " of all", test_views,
        )  # fmt: skip
