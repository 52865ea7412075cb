"""Whether the mean of the last epochs' weights is better than the best epoch."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from distill.bundle import load_weights
from distill.callbacks import epoch_weights, mean_weights, save_weights
from distill.config import TrainStudentConfig, TrainTeacherConfig
from distill.data.features import FeatureStore
from distill.data.manifest import Row
from distill.data.reader import VideoReader
from distill.inference import score_all
from distill.metrics import plcc, srcc
from distill.model import QualityModel
from distill.stages.assess import scoring_options

log = logging.getLogger(__name__)
AVERAGE = "average.ckpt"


def best_or_average(
    model: QualityModel,
    best: Path,
    val: Sequence[Row],
    reader: VideoReader,
    config: TrainTeacherConfig | TrainStudentConfig,
    features: FeatureStore | None,
) -> tuple[Path, float | None]:
    """The better checkpoint on validation: the best epoch's, or the mean of the last epochs.

    Both are scored here in the same way, as the bundle will score. That is a choice between two
    on the videos that the epoch was chosen on: the measured validation score is as much too good
    as with one epoch more.

    Args:
        model: gets other weights; its parts train or stand still as before.
        best: checkpoint of the best epoch; beside it lie those of ``EpochWeights``.
        val: validation videos.
        reader, config: of the command.
        features: cached features of frozen members.

    Returns:
        ``best`` and None; or the file of the mean, which is written beside it, and its mean of
        SRCC and PLCC.
    """
    files = epoch_weights(best.parent)
    average = best.with_name(AVERAGE)
    save_weights(mean_weights(files), average)
    options = scoring_options(config)
    found: dict[Path, float] = {}
    modes = {part: part.training for part in model.modules()}
    for path, what in ((best, "the best epoch"), (average, "the average")):
        load_weights(model, path)
        scored = score_all(model, val, reader, what=what, features=features, **options)
        found[path] = _agreement([(s.raw, s.row.mos) for s in scored if not s.error])
    for part, training in modes.items():  # a second stage may train it on
        part.training = training
    chosen = average if found[average] > found[best] else best
    log.info(
        "mean of SRCC and PLCC on validation: best epoch %.4f, average of the last %d epochs %.4f;"
        " the %s is kept", found[best], len(files), found[average],
        "average" if chosen == average else "best epoch",
    )  # fmt: skip
    return (average, found[average]) if chosen == average else (best, None)


def _agreement(pairs: Sequence[tuple[float, float]]) -> float:
    """What the best epoch is chosen by; undefined is worse than anything."""
    if len(pairs) < 2:
        return -math.inf
    raw, mos = zip(*pairs, strict=True)
    value = (srcc(raw, mos) + plcc(raw, mos)) / 2
    return value if math.isfinite(value) else -math.inf
