"""Training a committee: one teacher per fold of the training contents, each a run of its own."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl

from distill import plots
from distill.bundle import read_weights
from distill.committee import FOLD, Committee
from distill.config import TrainTeacherConfig
from distill.data.dataset import Example
from distill.data.identity import seed_of
from distill.data.manifest import Manifest, Problem, Row
from distill.data.reader import VideoReader
from distill.errors import ConfigError, Interrupted
from distill.model import QualityModel
from distill.runs import Run, first_process
from distill.stages.assess import Fitted, Trained, assess
from distill.stages.fit import optimise
from distill.stages.further import without
from distill.stages.inputs import MIN_TRAIN, MIN_VAL
from distill.tracking import Tracker, metric_files

log = logging.getLogger(__name__)
_DONE = "done.json"


def split_folds(examples: Sequence[Example], folds: int) -> list[tuple[list[Example], list[Row]]]:
    """Split by content: a content's videos are held out together, by one fold.

    Args:
        examples: labelled videos. Those of further data sets are trained on by every fold that
            does not hold the same file out.
        folds: K.

    Returns:
        Per fold what is trained on and what is held out. Folds differ by one content at the most,
        and do not depend on the order of the examples.

    Raises:
        ConfigError: fewer contents than folds, or so few videos that a fold could learn nothing.
    """
    main = [example for example in examples if example.dataset == 0]
    further = [example for example in examples if example.dataset != 0]
    groups = sorted({example.row.group for example in main}, key=lambda g: (seed_of(g), g))
    if len(groups) < folds:
        raise ConfigError(f"folds={folds}, but the training videos have {len(groups)} contents")
    fold_of = {group: at % folds for at, group in enumerate(groups)}
    parts = []
    for fold in range(folds):
        held_out = [e.row for e in main if fold_of[e.row.group] == fold]
        train = [e for e in main if fold_of[e.row.group] != fold]
        if len(train) < MIN_TRAIN or len(held_out) < MIN_VAL:
            raise ConfigError(
                f"folds={folds}: fold {fold + 1} would learn from {len(train)} videos and choose"
                f" its epoch on {len(held_out)}; that takes {MIN_TRAIN} and {MIN_VAL}: fewer folds,"
                " or more videos"
            )
        if further:
            kept = {id(row) for row in without([e.row for e in further], held_out, "data.also")[0]}
            train += [example for example in further if id(example.row) in kept]
        parts.append((train, held_out))
    return parts


def fit_committee(
    build: Callable[[], QualityModel],
    committee: Committee,
    examples: Sequence[Example],
    val: Sequence[Row],
    reader: VideoReader,
    config: TrainTeacherConfig,
    run: Run,
    tracker: Tracker,
    manifest: Manifest,
) -> Fitted | None:
    """Train ``config.folds`` teachers, each choosing its epoch on the contents that it holds out.

    A fold that was finished before a kill is not trained again.

    Args:
        build: makes a teacher to train.
        committee: of as many such teachers; gets their weights.
        examples: labelled training videos.
        val: calibrates and measures the committee; no fold has seen it.
        reader, config, run, tracker, manifest: of the command.

    Returns:
        None on every process but the first.
    """
    done: list[Trained] = []
    tables = [manifest.path, *config.data.also]
    try:
        for k, (train, held_out) in enumerate(split_folds(examples, config.folds), start=1):
            trained = _fold(k, build, train, held_out, reader, config, run, tracker, tables)
            if trained is not None:
                done.append(trained)
    except KeyboardInterrupt as stop:
        if not done:
            raise
        text = f"stopped; {len(done)} of {config.folds} folds are kept; go on with resume=true"
        raise Interrupted.by(stop, text) from stop
    if not first_process():
        return None
    committee.fill(read_weights(t.checkpoint) for t in done if t.checkpoint is not None)
    whole = Trained(
        done[0].checkpoint,
        None,  # those of the folds lack the validation videos
        sum(t.minutes for t in done),
        sum(t.steps for t in done),
        float(np.average([t.data_wait for t in done], weights=[t.minutes + 1e-9 for t in done])),
        list(dict.fromkeys(problem for t in done for problem in t.failed)),
    )
    return assess(committee, val, reader, config, run, tracker, manifest, whole)


def _fold(
    k: int,
    build: Callable[[], QualityModel],
    train: list[Example],
    held_out: list[Row],
    reader: VideoReader,
    config: TrainTeacherConfig,
    run: Run,
    tracker: Tracker,
    tables: Sequence[Path | str],
) -> Trained | None:
    """Train one fold, unless it was finished before; None on every process but the first."""
    name = f"{FOLD}{k}"
    folder = run.folder / name
    finished = _finished(folder) if run.resumed else None
    if finished is not None:
        log.info("%s of %d: finished before", name, config.folds)
        return finished
    log.info(
        "%s of %d: %d videos to learn from, %d held out", name, config.folds, len(train),
        len(held_out),
    )  # fmt: skip
    # A function of the fold's number alone, not of what was trained before it; and one of its own,
    # or teachers would differ by their videos only.
    seed = seed_of(config.seed, name)
    pl.seed_everything(seed % 2**32, verbose=False)
    trained = optimise(
        build(), train, held_out, reader, config, folder, tracker.loggers(name), tables, seed,
        run.resumed,
    )  # fmt: skip
    if trained is not None:
        plots.curves(run.plots / f"curves_{name}.png", metric_files(folder))
        tracker.picture(f"plots/curves_{name}", run.plots / f"curves_{name}.png")
        _finish(folder, trained)
    return trained


def _finish(folder: Path, trained: Trained) -> None:
    """Note a fold that is trained; then what only its resumption needs goes."""
    assert trained.checkpoint is not None
    told = asdict(replace(trained, features=None)) | {"checkpoint": trained.checkpoint.name}
    written = folder / f"{_DONE}.tmp"
    written.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    written.replace(folder / _DONE)  # a torn one would stop a resumption
    for checkpoint in trained.checkpoint.parent.glob("*.ckpt"):
        if checkpoint != trained.checkpoint:
            checkpoint.unlink()


def _finished(folder: Path) -> Trained | None:
    path = folder / _DONE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        told["checkpoint"] = folder / "checkpoints" / told["checkpoint"]
        told["failed"] = [Problem(**problem) for problem in told["failed"]]
        trained = Trained(**told)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s: %s; the fold is trained again", path, error)
        return None
    return trained if told["checkpoint"].is_file() else None
