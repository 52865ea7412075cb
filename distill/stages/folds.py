"""Training a committee: one teacher per fold of the training contents, each a run of its own."""

from collections.abc import Callable, Sequence

from distill.bundle import read_weights
from distill.committee import FOLD, Committee
from distill.config import TrainTeacherConfig
from distill.data.dataset import Example
from distill.data.identity import seed_of
from distill.data.manifest import Manifest, Row
from distill.data.reader import VideoReader
from distill.errors import ConfigError, Interrupted
from distill.model import QualityModel
from distill.runs import Run, first_process
from distill.stages.assess import Fitted, Trained, assess
from distill.stages.further import without
from distill.stages.inputs import MIN_TRAIN, MIN_VAL
from distill.stages.parts import joined, train_part
from distill.tracking import Tracker


def split_folds(examples: Sequence[Example], folds: int) -> list[tuple[list[Example], list[Row]]]:
    """Split by content: a content's videos are held out together, by one fold.

    Args:
        examples: videos to learn from. Those of further data sets, and those that a teacher
            labelled, are trained on by every fold that does not hold the same file out.
        folds: K.

    Returns:
        Per fold what is trained on and what is held out. Folds differ by one content at the most,
        and do not depend on the order of the examples.

    Raises:
        ConfigError: fewer contents than folds, or so few videos that a fold could learn nothing.
    """
    main = [example for example in examples if example.dataset == 0 and not example.pseudo]
    further = [example for example in examples if example.dataset != 0 or example.pseudo]
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
                f" its epoch on {len(held_out)}, but needs at least {MIN_TRAIN} and {MIN_VAL}; use"
                " fewer folds or more videos"
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
            trained = train_part(
                f"{FOLD}{k}", build, train, held_out, reader, config, run, tracker, tables
            )
            if trained is not None:
                done.append(trained)
    except KeyboardInterrupt as stop:
        if not done:
            raise
        text = f"stopped; {len(done)} of {config.folds} folds are kept; continue with resume=true"
        raise Interrupted.by(stop, text) from stop
    if not first_process():
        return None
    committee.fill(read_weights(t.checkpoint) for t in done if t.checkpoint is not None)
    # Without the features of the folds, which lack the validation videos.
    return assess(committee, val, reader, config, run, tracker, manifest, joined(done))
