"""What both training commands do once network, loss and examples are chosen."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl

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
from distill.inference import Scored, score_all
from distill.losses import WeightedLoss
from distill.metrics import Logistic4, Scores, calibrate, evaluate
from distill.model import QualityModel
from distill.runs import Run
from distill.tracking import Tracker, metric_files
from distill.training import BEST, LAST, QualityModule, make_trainer

log = logging.getLogger(__name__)


@dataclass
class Fitted:
    """A trained network.

    Attributes:
        model: with the averaged weights of the best epoch on validation.
        calibration: raw score -> MOS, fitted on validation.
        val: calibrated scores on validation.
        minutes: of training, validation included; of this process only where it resumed.
        steps: of the optimiser, all processes of a resumed run together.
        data_wait: share of the time of training and its validation that they waited for videos;
            features that were cached before are not part of it.
    """

    model: QualityModel
    calibration: Logistic4
    val: Scores
    minutes: float
    steps: int
    data_wait: float


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
    training, data = config.training, config.data
    loss = WeightedLoss(config.loss)
    module = QualityModule(model, loss, training, config.seed)
    datamodule = VQADataModule(
        train,
        [Example(row, target=row.mos) for row in val],
        model.views,
        reader,
        batch_size=training.batch_size,
        num_workers=data.num_workers,
        seed=config.seed,
        frozen_views=model.frozen_views(),
        batches_per_epoch=training.batches_per_epoch,
        prefetch=data.prefetch,
        features=_features(model, reader, config),
    )
    trainer = make_trainer(training, run.folder, tracker.loggers())
    last = run.folder / "checkpoints" / LAST
    start = time.monotonic()
    trainer.fit(
        module, datamodule=datamodule, ckpt_path=last if run.resumed else None, weights_only=True
    )
    if trainer.global_rank != 0:
        return None
    minutes, data_wait = (time.monotonic() - start) / 60, datamodule.waiting.whole_share()
    best = run.folder / "checkpoints" / BEST
    load_weights(model, best if best.is_file() else last)
    scored = score_all(
        model, val, reader, what="validating", features=datamodule.features,
        **scoring_options(config),
    )  # fmt: skip
    failed = [
        Problem(str(manifest.path), s.row.line, s.row.video, s.error) for s in scored if s.error
    ]
    failed += [
        Problem(str(manifest.path), train[i].row.line, train[i].row.video, reason)
        for i, reason in sorted(module.failed.items())
    ]
    run.problems([*manifest.problems, *failed])
    if failed:
        log.warning("%d videos could not be decoded; see problems.csv", len(failed))
    sound = [s for s in scored if not s.error]
    if len(sound) < 3:
        reason = next(s.error for s in scored if s.error)
        raise ManifestError(
            f"{manifest.path}: only {len(sound)} of {len(scored)} validation videos have a score;"
            f" the first that has none: {reason}"
        )
    raw = np.array([s.raw for s in sound])
    mos = np.array([s.row.mos for s in sound])
    calibration = calibrate(raw, mos)
    predicted = np.asarray(calibration(raw))
    scores = evaluate(predicted, mos, [s.row.group for s in sound])
    _report(run, tracker, sound, predicted, scores, reader)
    log.info("training waited for videos %.0f%% of its time", 100 * data_wait)
    return Fitted(model, calibration, scores, minutes, trainer.global_step, data_wait)


def _features(
    model: QualityModel, reader: VideoReader, config: TrainTeacherConfig | TrainStudentConfig
) -> Callable[[Sequence[Row], pl.Trainer], FeatureStore | None] | None:
    """How the features of frozen members are cached; None where they are not."""
    choice = config.training.feature_cache
    if choice == "none" or not model.frozen_members():
        return None
    where = cache_folder() / "features" if choice == "auto" else folder(choice)

    def make(rows: Sequence[Row], trainer: pl.Trainer) -> FeatureStore | None:
        device = trainer.strategy.root_device
        store = feature_store(model, where, device)
        if store is not None:
            todo = missing(store, rows)
            trainer.strategy.barrier("features listed")  # all ranks see the same ones missing
            try:
                fill(
                    store, model, todo[trainer.global_rank :: trainer.world_size], reader,
                    batch_size=config.training.batch_size,
                    num_workers=decoding_workers(config.data.num_workers),
                    device=device,
                )  # fmt: skip
            except KeyboardInterrupt as stop:  # Lightning would end with a code of its own
                text = "stopped; the features made so far are kept for the next start"
                raise Interrupted.by(stop, text) from stop
            trainer.strategy.barrier("features made")
        return store

    return make


def _report(
    run: Run, tracker: Tracker, sound: list[Scored], predicted: np.ndarray, scores: Scores,
    reader: VideoReader,
) -> None:  # fmt: skip
    mos = [s.row.mos for s in sound]
    plots.scatter(run.plots / "val_scatter.png", predicted.tolist(), mos, scores, "validation")
    plots.worst_cases(run.plots / "val_worst.png", sound, predicted.tolist(), reader)
    plots.curves(run.plots / "curves.png", metric_files(run.folder))
    tracker.picture("plots/curves", run.plots / "curves.png")
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
    """How a training command scores videos: in its own batches, on its own kind of device."""
    return {
        "batch_size": config.training.batch_size,
        "num_workers": decoding_workers(config.data.num_workers),
        "prefetch": config.data.prefetch,
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
