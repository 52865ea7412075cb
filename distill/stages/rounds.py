"""Noisy student: a new teacher learns from labels and pseudo-labels, and labels the pool again."""

import csv
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from distill.bundle import read_spec
from distill.config import TrainStudentConfig
from distill.errors import ConfigError
from distill.labels import LabelStore
from distill.runs import CONFIG, RESULT, Run
from distill.stages.run_config import start

log = logging.getLogger(__name__)
NOTE = "rounds.json"


@dataclass(frozen=True)
class Round:
    """A teacher and what it labelled.

    Attributes:
        number: 1 is the teacher whose store the command was given.
        teacher: folder of its bundle.
        store: of its labels; "" for a teacher that was not better, which labels nothing.
        select: mean of its SRCC and PLCC on validation.
    """

    number: int
    teacher: str
    store: str
    select: float


def more_rounds(config: TrainStudentConfig, store: LabelStore, run: Run) -> LabelStore:
    """Train and label again until ``config.rounds`` or until validation stops improving.

    Each round's teacher has the options of the first one's run, another seed, and learns from the
    store of the round before. Whatever is finished is kept: killed, it goes on.

    Args:
        config: of the student's command.
        store: of the first teacher.
        run: of the student; the rounds lie in it as ``round_2``, ``round_3`` ...

    Returns:
        The store of the best teacher on validation.

    Raises:
        ConfigError: the first teacher's run is not there any more.
        DistillError: a part failed, or was stopped by a signal.

    Source: noisy student (Xie et al., CVPR 2020), with a teacher in the place of the student; for
        quality Efficient-FIQA (Sun et al., 2025) does the like by hand.
    """
    options = teacher_options(store)
    first = Path(store.meta["bundle"])
    rounds = [Round(1, str(first), str(store.folder), select_of(read_spec(first)))]
    run.write(NOTE, [asdict(rounds[0])])  # a resumed run begins with this store, not a newer one
    for number in range(2, config.rounds + 1):
        before = rounds[-1]
        folder = run.folder / f"round_{number}"
        teacher = folder / "teacher"
        log.info("round %d: a teacher learns from MOS and labels of round %d", number, number - 1)
        if not (teacher / RESULT).is_file():
            resumed = any(teacher.glob("**/checkpoints/*.ckpt"))
            start(
                "train_teacher", _round_options(options, config, before, number), teacher, resumed
            )
        reached = select_of(read_spec(teacher / "bundle"))
        better = reached > before.select
        log.info(
            "round %d: validation %.4f (mean of SRCC and PLCC), round %d had %.4f: %s", number,
            reached, number - 1, before.select,
            "it labels the pool" if better else "the rounds end",
        )  # fmt: skip
        labelled = folder / "labels"
        rounds.append(
            Round(
                number, str(teacher / "bundle"), str(labelled / "store") if better else "", reached
            )
        )
        if not better:
            break
        if not (labelled / RESULT).is_file():
            start("pseudo_label", _labelling_options(config, store, teacher, labelled), labelled)
    run.write(NOTE, [asdict(each) for each in rounds])
    best = max((each for each in rounds if each.store), key=lambda each: each.select)
    log.info("rounds: the student learns from the labels of round %d", best.number)
    return LabelStore(Path(best.store))


def told_rounds(folder: Path) -> list[dict[str, Any]]:
    """What the rounds of a run came to; empty where it had none."""
    path = folder / NOTE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def select_of(spec: Mapping[str, Any]) -> float:
    """Mean of SRCC and PLCC on validation, as a bundle's specification tells; -inf where not."""
    try:
        found = (float(spec["metrics"]["val srcc"]) + float(spec["metrics"]["val plcc"])) / 2
    except (KeyError, TypeError, ValueError):
        return -math.inf
    return -math.inf if math.isnan(found) else found


def teacher_options(store: LabelStore) -> dict[str, Any]:
    """Options of the run whose teacher wrote a store.

    Raises:
        ConfigError: the run is not there any more, or its teacher learns nothing.
    """
    if not store.meta.get("bundle"):
        raise ConfigError(
            f"rounds: {store.folder} does not say which teacher wrote it, and that teacher's"
            " options are needed; take a store of pseudo_label.py, or leave rounds=1"
        )
    where = Path(store.meta["bundle"]).parent / CONFIG
    if not where.is_file():
        raise ConfigError(
            f"rounds: {where} is missing; it has the options of the teacher that wrote"
            f" {store.folder}; put the teacher's run back, or leave rounds=1"
        )
    options = dict(yaml.safe_load(where.read_text(encoding="utf-8")))
    if options.get("training", {}).get("epochs") == 0:
        raise ConfigError(
            f"rounds: the teacher that wrote {store.folder} was not trained (training=none in"
            f" {where}), so it would learn nothing from its labels; leave rounds=1"
        )
    return options


def _round_options(
    options: Mapping[str, Any], config: TrainStudentConfig, before: Round, number: int
) -> dict[str, Any]:
    mine = asdict(config)
    # Not the data: the teachers of all rounds are compared on one validation set.
    taken = ("reader", "tracking", "leak_check", "doubt", "select", "outputs")
    return {
        **options,
        **{name: mine[name] for name in taken},
        "labels": before.store,
        "labels_root": None,
        "seed": config.seed + number - 1,
        "resume": False,
        "dry_run": False,
    }


def _labelling_options(
    config: TrainStudentConfig, store: LabelStore, teacher: Path, labelled: Path
) -> dict[str, Any]:
    """Label the videos of the first store, with its precision."""
    labelled.mkdir(parents=True, exist_ok=True)
    pool = labelled / "pool.csv"
    written = pool.with_suffix(".tmp")
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "group"])
        writer.writerows((label.path, label.group) for label in store.read())
    os.replace(written, pool)
    mine = asdict(config)
    return {
        **{name: mine[name] for name in ("data", "reader", "tracking", "outputs", "seed")},
        "teacher_bundle": str(teacher / "bundle"),
        "pool": str(pool),
        "store": str(labelled / "store"),
        "precision": store.meta.get("precision", "float32"),
        "device": "cpu" if config.training.accelerator == "cpu" else "auto",
    }
