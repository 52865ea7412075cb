"""Train a light student on MOS and pseudo-labels, within a budget of GMACs a video.

    python train_student.py +budget=120                     newest labels, the demo data
    python train_student.py student=swin_t +budget=120      always the Swin-T
    python train_student.py student=compact +budget=4       EfficientNet-Lite0
    python train_student.py +budget=120 labels=none         without pseudo-labels
    python train_student.py +budget=120 doubt.rule=sigma    without the most doubtful of them
    python train_student.py -m +budget=20,120               one run for each cap
    python train_student.py +budget=120 dry_run=true        check everything, print the plan
    python train_student.py +budget=120 resume=true         go on after a kill

The budget counts fvcore multiply-adds (GMACs) over all frames of one video, as the NTIRE 2025
challenge does with its cap of 120. Over it, the run stops before any training.
Next: python evaluate.py, python score.py VIDEO_OR_FOLDER
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import yaml
from hydra.utils import get_method
from omegaconf import DictConfig

from distill import plots
from distill.budget import Caps, check_caps
from distill.bundle import save_bundle
from distill.config import TrainStudentConfig, to_config
from distill.data.batches import batch_plan
from distill.data.dataset import Example
from distill.data.manifest import Manifest
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.errors import ConfigError
from distill.guide import Guide
from distill.inference import score_all
from distill.label_noise import weigh_by_noise
from distill.labels import LabelStore
from distill.losses import WeightedLoss
from distill.metrics import bootstrap_groups, evaluate
from distill.model import QualityModel
from distill.runs import CONFIG, Run, read_inputs
from distill.stages.assess import Fitted, scoring_options
from distill.stages.finetune import fit_two_stages, stages_of
from distill.stages.fit import fit, tell_random_weights, tell_test_views
from distill.stages.further import build, further_examples
from distill.stages.inputs import (
    digest,
    load_manifest,
    network,
    score_scale,
    take_labels,
    training_rows,
    without_weights,
)
from distill.stages.label_report import report_targets
from distill.stages.pseudo import choose_labels, examples_of
from distill.stages.rounds import more_rounds, told_rounds
from distill.tracking import Tracker
from distill.training import require_bins

log = logging.getLogger(__name__)


def run(cfg: DictConfig, out: Path, resumed: bool = False) -> dict[str, Any]:
    """Train a student.

    Args:
        cfg: what Hydra composed; see ``TrainStudentConfig``.
        out: run directory.
        resumed: go on with the run of that directory.

    Returns:
        What ``result.json`` holds; empty for a dry run and on processes but the first.

    Raises:
        BudgetError: the student costs more than ``budget``; nothing was trained.
        DistillError: the options, the data or the weights cannot be used; ``Interrupted``.
    """
    config: TrainStudentConfig = to_config(cfg, TrainStudentConfig)
    training = config.training
    pl.seed_everything(config.seed, verbose=False)
    caps = Caps(config.budget, config.max_params, config.max_latency)
    if "choose" in config.student:
        config.student = _chosen(config, caps, out if resumed else None)
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
    examples = weigh_by_noise(examples, training.label_noise, manifest.path)
    kwargs |= score_scale(examples)
    held_out = [*val, *manifest.split("test")]
    examples += further_examples(config, examples, held_out, manifest)
    labelled = len(examples)
    # A resumed run goes on with its own labels, not with newer ones.
    labels = read_inputs(out).get("labels") if resumed else None
    store = take_labels(labels or config.labels, Path(config.outputs), config.labels_root)
    if config.rounds > 1 and not labels:
        store = _rounds(config, store, out, resumed)
    decisions = []
    if store is not None:
        decisions = choose_labels(store, train, held_out, config, reader)
        examples += examples_of(decisions, training.pseudo_weight)
    model, start = build(target, kwargs, config.init)
    for loss in losses:
        require_bins(loss, model)
    guide = Guide.of(config.guide, model)
    if guide is not None:
        guide.tell(model)
    tell_random_weights(model.random_backbones())
    tell_test_views(config.test_views)
    log.info("plan: %s, %d for validation", _plan(examples, config), len(val))
    if config.dry_run:
        log.info("dry run: nothing was trained")
        return {}
    this = Run(out, config, resumed)
    this.inputs(
        {
            "labels": str(store.folder) if store else "none",
            "videos": digest(examples, val),
            "weights": model.licenses(),
            "init": start.fingerprint,
            "guide": guide.bundle.fingerprint if guide else "none",
        }
    )
    tracker = Tracker(config.tracking, out, "train_student", config, resumed)
    if store is not None:
        report_targets(decisions, examples, this, tracker, reader)
    train_it = fit_two_stages if config.finetune.epochs else fit
    fitted = train_it(model, examples, val, reader, config, this, tracker, manifest)
    if fitted is None:
        return {}
    assert fitted.val is not None
    val_scores = asdict(fitted.val)
    test = _test(fitted, manifest, reader, config, this, tracker)
    spec = save_bundle(
        out / "bundle",
        fitted.model,
        role="student",
        architecture={"_target_": config.student["_target_"], **without_weights(kwargs)},
        calibration=fitted.calibration,
        cost={**asdict(cost), "budget": config.budget},
        provenance={
            "data": str(manifest.path),
            "also": config.data.also,
            "labelled": labelled,
            "pseudo_labelled": len(examples) - labelled,
            "teacher": store.meta["teacher"] if store else None,
            "guide": guide.bundle.fingerprint if guide else None,
            "run": str(out),
            **start.provenance,
        },
        licenses=[*start.licenses, *_licenses(model, store, guide)],
        metrics={f"val {k}": round(v, 4) for k, v in val_scores.items()} | test,
        test_views=config.test_views,
        slopes=fitted.slopes,
    )
    result = {
        "bundle": str(out / "bundle"),
        "fingerprint": spec["fingerprint"],
        "val": val_scores,
        "test": test,
        "gmacs": cost.gmacs,
        "params_m": cost.params_m,
        "budget": config.budget,
        "minutes": fitted.minutes,
        "data_wait": round(fitted.data_wait, 4),
        "steps": fitted.steps,
        "rounds": told_rounds(out),
    }
    tracker.summary(
        {**{f"val/{k}": v for k, v in result["val"].items()}, **test, "gmacs": cost.gmacs,
         "budget": config.budget}
    )  # fmt: skip
    tracker.close()
    this.finish(result)
    log.info("%.1f minutes; bundle: %s", fitted.minutes, out / "bundle")
    log.info("next: python score.py VIDEO_OR_FOLDER")
    return result


def _chosen(config: TrainStudentConfig, caps: Caps, resumed: Path | None) -> dict[str, Any]:
    """The student that a function of ``students`` takes under the caps (``student=fit``).

    Args:
        config: its ``student`` names the function and what to hand it.
        caps: what the student may cost.
        resumed: folder of the run to go on with: the choice was made there.
    """
    if resumed is not None and (resumed / CONFIG).is_file():
        return dict(yaml.safe_load((resumed / CONFIG).read_text(encoding="utf-8"))["student"])
    options = {key: value for key, value in config.student.items() if key != "choose"}
    name = str(config.student["choose"])
    if not name.startswith("students."):
        raise ConfigError(f"student.choose={name}: must be a function of students, as in fit.yaml")
    return get_method(name)(caps, config.test_views, **options)


def _rounds(
    config: TrainStudentConfig, store: LabelStore | None, out: Path, resumed: bool
) -> LabelStore | None:
    """The labels of the best round, made now; a dry run, and other processes, make none.

    Raises:
        ConfigError: there is no store to begin with.
    """
    if store is None:
        raise ConfigError(f"rounds={config.rounds} starts from a label store, and labels=none")
    if config.dry_run:
        log.info(
            "rounds: up to %d teachers more are trained, and label the pool", config.rounds - 1
        )
        return store
    return more_rounds(config, store, Run(out, config, resumed))


def _plan(examples: Sequence[Example], config: TrainStudentConfig) -> str:
    """How many videos of which kind each stage learns from, in what batches.

    Raises:
        ConfigError: the options ask for a kind of label that there is none of.
    """
    stages = [("", list(examples), config)]
    if config.finetune.epochs:
        stages = stages_of(examples, config)
    told = []
    for name, learned, options in stages:
        training = options.training
        pseudo = [example.pseudo for example in learned]
        made_of = batch_plan(pseudo, training.batch_size, training.pseudo_share)
        each = " + ".join(str(stream.count) for stream in made_of)
        told.append(
            f"{name and f'{name}: '}{pseudo.count(False)} labelled and {pseudo.count(True)}"
            f" pseudo-labelled videos, {training.epochs} epochs of batches of {each}"
        )
    return "; ".join(told)


def _test(
    fitted: Fitted, manifest: Manifest, reader: VideoReader, config: TrainStudentConfig, run: Run,
    tracker: Tracker,
) -> dict[str, float]:  # fmt: skip
    """The test split, once; empty where the table has none."""
    rows = manifest.split("test")
    if not rows:
        log.warning("%s: no test split, so nothing is tested", manifest.path)
        return {}
    scored = score_all(fitted.model, rows, reader, what="testing", **scoring_options(config))
    sound = [s for s in scored if not s.error]
    if len(sound) < 3:
        log.warning("only %d test videos could be decoded, so nothing is tested", len(sound))
        return {}
    mos = np.array([s.row.mos for s in sound])
    assert fitted.calibration is not None
    predicted = np.asarray(fitted.calibration(np.array([s.raw for s in sound])))
    groups = [s.row.group for s in sound]
    scores = evaluate(predicted, mos, groups)
    interval = bootstrap_groups(predicted, mos, groups)
    log.info(
        "test: SRCC %.3f [%.3f, %.3f] (95%% over %d contents), PLCC %.3f, KRCC %.3f, RMSE %.3f",
        scores.srcc, interval.low, interval.high, interval.n_groups, scores.plcc, scores.krcc,
        scores.rmse_raw,
    )  # fmt: skip
    picture = run.plots / "test_scatter.png"
    plots.scatter(picture, predicted.tolist(), mos.tolist(), scores, "test")
    tracker.picture("plots/test_scatter", picture)
    found = {f"test {k}": round(v, 4) for k, v in asdict(scores).items()}
    return found | {"test srcc low": interval.low, "test srcc high": interval.high}


def _licenses(model: QualityModel, store: LabelStore | None, guide: Guide | None) -> list[str]:
    taught = store.meta.get("licenses", []) if store else []
    guided = guide.bundle.spec["licenses"] if guide else []
    return list(dict.fromkeys([*model.licenses(), *taught, *guided]))
