"""What comes after training: scores of validation, a calibration, plots, the table of problems."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill import plots
from distill.config import TrainStudentConfig, TrainTeacherConfig
from distill.content_levels import ContentSlopes
from distill.data.features import FeatureStore
from distill.data.manifest import Manifest, Problem, Row
from distill.data.reader import VideoReader
from distill.errors import ManifestError
from distill.evaluation.predictions import write_predictions
from distill.inference import Scored, pick_device, score_all
from distill.metrics import Logistic4, Scores, calibrate, evaluate
from distill.model import QualityModel
from distill.options import decoding_workers
from distill.runs import PREDICTIONS, Run
from distill.stages.feature_cache import cached_features
from distill.stages.tracked import tell_agreement
from distill.tracking import Tracker

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
        select: mean of SRCC and PLCC on validation that the checkpoint was chosen by; NaN where
            there is none.
    """

    checkpoint: Path | None = None
    features: FeatureStore | None = None
    minutes: float = 0.0
    steps: int = 0
    data_wait: float = 0.0
    failed: list[Problem] = field(default_factory=list)
    select: float = math.nan


@dataclass
class Fitted:
    """A network that was trained, calibrated and measured.

    Attributes:
        model: with the weights that were measured.
        calibration: raw score -> MOS; None where there were no labels.
        val: calibrated scores on validation; None likewise.
        minutes, steps, data_wait: see ``Trained``.
        slopes: what its scores are worth between contents and within them, on validation.
        calibrated_on: videos that the calibration was fitted on.
    """

    model: QualityModel
    calibration: Logistic4 | None = None
    val: Scores | None = None
    minutes: float = 0.0
    steps: int = 0
    data_wait: float = 0.0
    slopes: ContentSlopes | None = None
    calibrated_on: int = 0


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
    features = trained.features or cached_features(model, every, reader, config, device)

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
    contents = [s.row.group for s in sound]
    scores = evaluate(predicted, mos, contents)
    slopes = ContentSlopes.of(predicted.tolist(), mos.tolist(), contents)
    _report(run, tracker, sound, predicted, scores, reader, calibration)
    return Fitted(
        model, calibration, scores, trained.minutes, trained.steps, trained.data_wait, slopes,
        len(learned),
    )  # fmt: skip


def _report(
    run: Run, tracker: Tracker, sound: list[Scored], predicted: np.ndarray, scores: Scores,
    reader: VideoReader, calibration: Logistic4,
) -> None:  # fmt: skip
    mos = [s.row.mos for s in sound]
    path = run.folder / PREDICTIONS.format("val")
    write_predictions(path, sound, predicted.tolist(), calibration)
    plots.scatter(run.plots / "val_scatter.png", predicted.tolist(), mos, scores, "validation")
    plots.worst_cases(run.plots / "val_worst.png", sound, predicted.tolist(), reader)
    tell_agreement(tracker, "val", sound, predicted.tolist(), reader)
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


def told_examples(
    config: TrainTeacherConfig | TrainStudentConfig, labelled: int, examples: int, fitted: Fitted
) -> dict[str, int]:
    """What a bundle says of the videos that it learned from; with training=none, from none.

    Args:
        config: of the command.
        labelled: examples with a MOS.
        examples: all of them.
        fitted: which knows what the calibration was fitted on.
    """
    learned = config.training.epochs > 0
    return {
        "labelled": labelled if learned else 0,
        "pseudo_labelled": examples - labelled if learned else 0,
        "calibrated_on": fitted.calibrated_on,
    }
