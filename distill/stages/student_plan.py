"""What a student is trained on, and whether it may be: all that comes before its training."""

import inspect
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_method

from distill.budget import Caps, check_caps
from distill.choice import Decision
from distill.config import TrainStudentConfig
from distill.cost import Cost
from distill.data.batches import batch_plan
from distill.data.dataset import Example
from distill.data.manifest import Manifest, Row
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.errors import ConfigError
from distill.guide import Guide
from distill.label_noise import weigh_by_noise
from distill.labels import LabelStore
from distill.losses import WeightedLoss
from distill.model import QualityModel
from distill.runs import CONFIG, Run, first_process, read_inputs
from distill.stages.finetune import stages_of
from distill.stages.fit import tell_random_weights, tell_test_views
from distill.stages.further import Start, build, further_examples, tell_shares
from distill.stages.inputs import (
    load_manifest,
    network,
    score_scale,
    take_labels,
    training_rows,
    without_weights,
)
from distill.stages.pseudo import choose_labels, examples_of
from distill.stages.rounds import more_rounds, teacher_options, told_rounds
from distill.stages.teachers_data import warn_of_mixed_data
from distill.training import require_bins

log = logging.getLogger(__name__)
LATENCY = "latency.json"


@dataclass
class Plan:
    """What a run trains, and on what.

    Attributes:
        kwargs: arguments of the network's class.
        labelled: how many of the examples have a MOS.
        store, decisions: pseudo-labels, and what became of each; None and empty without.
        start: what the network began from.
        run: of the rounds before this training, which began it; None without.
    """

    manifest: Manifest
    reader: VideoReader
    model: QualityModel
    kwargs: dict[str, Any]
    cost: Cost
    start: Start
    guide: Guide | None
    val: list[Row]
    examples: list[Example]
    labelled: int
    store: LabelStore | None
    decisions: list[Decision]
    run: Run | None


def prepare(config: TrainStudentConfig, out: Path, resumed: bool) -> Plan:
    """Check options, cost, data and weights; train and label what rounds there are.

    Args:
        config: of the command; ``student=fit`` becomes the student that it stands for.
        out: run directory.
        resumed: go on with the run of that directory.

    Raises:
        BudgetError: the student costs more than a cap.
        DistillError: something cannot be used; ``Interrupted`` in a round.
    """
    caps = settle_student(config, out, resumed)
    target, kwargs = network(config.student, "student")
    mixes = [config.loss, config.finetune.loss] if config.finetune.epochs else [config.loss]
    losses = [WeightedLoss.of(mix) for mix in mixes]
    cost = check_caps(target, without_weights(kwargs), caps, config.test_views)
    log.info("student: %s\n%s", config.student["_target_"], cost)
    if config.budget is not None:
        log.info("budget: %.2f of %g GMACs a video", cost.gmacs, config.budget)
    manifest = load_manifest(config.data)
    train, val = training_rows(manifest, config.data.val_share)
    reader = make_reader(**vars(config.reader))
    examples = [Example(row, target=row.mos) for row in train]
    examples = weigh_by_noise(examples, config.training.label_noise, manifest.path)
    kwargs |= score_scale(examples)
    held_out = [*val, *manifest.split("test")]
    examples += further_examples(config, examples, held_out, manifest, reader)
    labelled = len(examples)
    # A resumed run goes on with its own labels, not with newer ones.
    labels = read_inputs(out).get("labels") if resumed else None
    if config.training.epochs == 0:
        labels = "none"
    rounds = told_rounds(out) if resumed else []
    taken = labels or (rounds[0]["store"] if rounds else config.labels)
    store = take_labels(taken, Path(config.outputs), config.labels_root)
    run = None
    if config.rounds > 1 and not labels:
        store, run = _rounds(config, store, out, resumed)
    decisions: list[Decision] = []
    if store is not None:
        warn_of_mixed_data(store, manifest.path)
        decisions = choose_labels(store, train, held_out, config, reader)
        examples += examples_of(decisions, config.training.pseudo_weight)
    model, start = build(target, kwargs, config.init)
    for loss in losses:
        require_bins(loss, model)
    guide = Guide.of(config.guide, model)
    if guide is not None:
        guide.tell(model)
    tell_random_weights(model.random_backbones())
    tell_test_views(config.test_views)
    return Plan(
        manifest, reader, model, kwargs, cost, start, guide, val, examples, labelled, store,
        decisions, run,
    )  # fmt: skip


def settle_student(config: TrainStudentConfig, out: Path, resumed: bool) -> Caps:
    """Let ``student=fit`` become the student that it stands for.

    Args:
        config: of the command; its ``student`` is replaced.
        out, resumed: see ``prepare``.

    Returns:
        The caps that the student is held to.

    Raises:
        BudgetError: no student is within them.
        ConfigError: there is no such way to choose.
    """
    caps = Caps(config.budget, config.max_params, config.max_latency)
    began = (resumed or not first_process()) and (out / CONFIG).is_file()
    if began:  # its latency was measured then: a busier hour must not stop it, or one process of it
        caps = replace(caps, latency_ms=None)
    if "choose" in config.student:
        config.student = _student_of(out) if began else _chosen(config, caps)
    return caps


def with_latency(cost: Cost, run: Run) -> Cost:
    """The cost with the latency that the run measured when it began; resumed, it measures none."""
    if cost.latency_ms is not None:
        run.write(LATENCY, {"latency_ms": cost.latency_ms})
    elif run.resumed and (path := run.folder / LATENCY).is_file():
        return cost.taking(json.loads(path.read_text(encoding="utf-8"))["latency_ms"])
    return cost


def _student_of(run: Path) -> dict[str, Any]:
    """The student that a run chose when it began."""
    return dict(yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))["student"])


def _chosen(config: TrainStudentConfig, caps: Caps) -> dict[str, Any]:
    """The student that a function of ``students`` takes under the caps (``student=fit``).

    Args:
        config: its ``student`` names the function and what to hand it.
        caps: what the student may cost.

    Raises:
        ConfigError: there is no such function, or it takes no such option.
    """
    options = {key: value for key, value in config.student.items() if key != "choose"}
    name = str(config.student["choose"])
    if not name.startswith("students."):
        raise ConfigError(f"student.choose={name}: must be a function of students, as in fit.yaml")
    try:
        choose = get_method(name)
    except Exception as error:  # Hydra's, of several kinds
        raise ConfigError(f"student.choose={name}: {error}") from error
    known = list(inspect.signature(choose).parameters)[2:]
    if unknown := [key for key in options if key not in known]:
        raise ConfigError(
            f"student.{unknown[0]}: has no effect on {name}, which chooses the student with all of"
            f" its options; its own are {', '.join(f'student.{key}' for key in known)}. Name a"
            f" student to change it: student=mixed_view student.{unknown[0]}=..."
        )
    return choose(caps, config.test_views, **options)


def _rounds(
    config: TrainStudentConfig, store: LabelStore | None, out: Path, resumed: bool
) -> tuple[LabelStore | None, Run | None]:
    """The labels of the best round, made now, and the run that they were made in.

    A dry run makes none. Other processes of a distributed run take what the first one made before
    it started them.

    Raises:
        ConfigError: there is no store to begin with, or processes were started all at once.
    """
    if store is None:
        raise ConfigError(f"rounds={config.rounds} starts from a label store, but labels=none")
    if config.dry_run:
        teacher_options(store)
        log.info("rounds: up to %d more teachers are trained and label the pool", config.rounds - 1)
        return store, None
    if not first_process():
        made = read_inputs(out).get("labels")
        if made is None:
            raise ConfigError(
                f"rounds={config.rounds} starts processes of its own: give training.devices in"
                " place of torchrun or several SLURM tasks, or train the rounds by hand"
                " (train_teacher.py labels=STORE, pseudo_label.py)"
            )
        return LabelStore(Path(made)), None
    run = Run(out, config, resumed)
    return more_rounds(config, store, run), run


def told(plan: Plan, config: TrainStudentConfig) -> str:
    """How many videos of which kind each stage learns from, in what batches.

    Raises:
        ConfigError: the options ask for a kind of label that there is none of.
    """
    stages = [("", plan.examples, config)]
    if config.finetune.epochs:
        stages = stages_of(plan.examples, config)
    told = []
    for name, learned, options in stages:
        training = options.training
        tell_shares(learned, training, [plan.manifest.path, *config.data.also])
        pseudo = [example.pseudo for example in learned]
        made_of = batch_plan(pseudo, training.batch_size, training.pseudo_share)
        each = " + ".join(str(stream.count) for stream in made_of)
        told.append(
            f"{name and f'{name}: '}{pseudo.count(False)} labelled and {pseudo.count(True)}"
            f" pseudo-labelled videos, {training.epochs} epochs of batches of {each}"
        )
    return "; ".join(told)
