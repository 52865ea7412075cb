"""Two stages of a student: what others labelled first, then the MOS at a small learning rate."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from distill.bundle import load_weights
from distill.config import TrainStudentConfig
from distill.data.dataset import Example
from distill.data.manifest import Manifest, Row
from distill.data.reader import VideoReader
from distill.errors import ConfigError, Interrupted
from distill.label_options import GuideConfig
from distill.model import QualityModel
from distill.runs import Run, first_process
from distill.stages.assess import Fitted, Trained, assess
from distill.stages.parts import joined, train_part
from distill.tracking import Tracker

log = logging.getLogger(__name__)
FIRST, SECOND = "stage_1", "stage_2"


def stages_of(
    examples: Sequence[Example], config: TrainStudentConfig
) -> list[tuple[str, list[Example], TrainStudentConfig]]:
    """What each of the two stages learns from, and with which options.

    Args:
        examples: all that there is to learn from, MOS and pseudo-labels.
        config: of the command; its ``finetune`` says what the second stage does differently.

    Raises:
        ConfigError: there is nothing but the main table's MOS.
    """
    options, training = config.finetune, config.training
    second = [e for e in examples if not e.pseudo and e.dataset == 0]
    first = [e for e in examples if e.pseudo or e.dataset != 0 or options.first == "all"]
    if len(second) == len(examples):
        raise ConfigError(
            f"finetune.epochs={options.epochs}: the first stage learns from pseudo-labels and"
            " further tables, and there are none (labels=none); leave it out, or name a store with"
            " labels=FOLDER, or tables with data.also"
        )
    tenth = (training.lr / 10, training.backbone_lr / 10)
    slower = replace(
        training,
        epochs=options.epochs,
        lr=tenth[0] if options.lr is None else options.lr,
        backbone_lr=tenth[1] if options.backbone_lr is None else options.backbone_lr,
        ema_decay=training.ema_decay if options.ema_decay is None else options.ema_decay,
        pseudo_share=None,
        average_last=min(training.average_last, options.epochs),
        find_lr=False,  # its rates are small on purpose
    )
    if training.pseudo_share is not None and all(example.pseudo for example in first):
        raise ConfigError(
            f"training.pseudo_share={training.pseudo_share:g}: the first stage learns from"
            " pseudo-labels alone, so there is nothing to share a batch with; leave it out, or"
            " take finetune.first=all, or tables with data.also"
        )
    return [
        (FIRST, first, config),
        (SECOND, second, replace(config, training=slower, loss=options.loss, guide=GuideConfig())),
    ]


def fit_two_stages(
    model: QualityModel,
    examples: Sequence[Example],
    val: Sequence[Row],
    reader: VideoReader,
    config: TrainStudentConfig,
    run: Run,
    tracker: Tracker,
    manifest: Manifest,
) -> Fitted | None:
    """Train both stages, take the better epoch of the two on validation, calibrate, write plots.

    A stage that was finished before a kill is not trained again.

    Args:
        model: network to train.
        examples, val: what it learns from, and what the best epoch is chosen on.
        reader, config, run, tracker, manifest: of the command.

    Returns:
        None on every process but the first.

    Raises:
        ConfigError: there is nothing but the main table's MOS.
        Interrupted: a signal; a checkpoint was written.

    Source: E-VQA (NTIRE 2025, third): fidelity on 52,000 pseudo-labelled videos, then PLCC on KVQ
        with averaged weights.
    Differs: the first stage's best epoch is kept where the second never reaches it.
    """
    done: list[Trained] = []
    tables = [manifest.path, *config.data.also]
    try:
        for name, learned, options in stages_of(examples, config):
            trained = train_part(
                name, lambda: model, learned, val, reader, options, run, tracker, tables
            )
            if trained is not None:
                assert trained.checkpoint is not None
                load_weights(model, trained.checkpoint)
                done.append(trained)
    except KeyboardInterrupt as stop:
        if not done:
            raise
        raise Interrupted.by(stop, f"stopped; {FIRST} is kept; continue with resume=true") from stop
    if not first_process():
        return None
    best = max(reversed(done), key=lambda t: -math.inf if math.isnan(t.select) else t.select)
    for name, trained in zip((FIRST, SECOND), done, strict=True):
        taken = " (taken)" if trained is best else ""
        log.info("%s: %.4f on validation, mean of SRCC and PLCC%s", name, trained.select, taken)
    assert best.checkpoint is not None
    load_weights(model, best.checkpoint)
    return assess(model, val, reader, config, run, tracker, manifest, joined(done))
