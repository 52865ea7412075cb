"""Train a light student on MOS and pseudo-labels, within a budget of GMACs a video.

    python train_student.py +budget=120                     newest labels, the demo data
    python train_student.py student=swin_t +budget=120      always the Swin-T
    python train_student.py student=compact +budget=4       EfficientNet-Lite0
    python train_student.py +budget=120 labels=none         without pseudo-labels
    python train_student.py +budget=120 doubt.rule=sigma    without the most doubtful pseudo-labels
    python train_student.py -m +budget=20,120               one run for each cap
    python train_student.py +budget=120 dry_run=true        check everything, print the plan
    python train_student.py +budget=120 resume=true         continue after a kill

The budget counts fvcore multiply-adds (GMACs) over all frames of one video, as the NTIRE 2025
challenge does with its cap of 120. A student over the budget is refused before any training.
Next: python evaluate.py, python score.py VIDEO_OR_FOLDER
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from omegaconf import DictConfig

from distill import plots
from distill.bundle import save_bundle
from distill.config import TrainStudentConfig, to_config
from distill.data.manifest import Manifest
from distill.data.reader import VideoReader
from distill.evaluation.predictions import write_predictions
from distill.guide import Guide
from distill.inference import score_all
from distill.labels import LabelStore
from distill.metrics import evaluate, interval_over_contents
from distill.model import QualityModel
from distill.runs import PREDICTIONS, Run, first_process
from distill.stages.assess import Fitted, Trained, assess, scoring_options, told_examples
from distill.stages.finetune import fit_two_stages
from distill.stages.fit import fit
from distill.stages.front import trained_before
from distill.stages.inputs import (
    digest,
    label_range,
    without_weights,
)
from distill.stages.label_report import report_targets
from distill.stages.report import report
from distill.stages.rounds import told_rounds
from distill.stages.student_plan import Plan, prepare, settle_student, told, with_latency
from distill.stages.tracked import origins, tell_agreement, tell_inputs
from distill.tracking import Tracker
from distill.tracking.cards import model_card

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
    pl.seed_everything(config.seed, verbose=False)
    settle_student(config, out, resumed)
    if (same := trained_before(out, asdict(config))) is not None:
        log.info("the student of %s: %s; not trained again", same["same_as"], same["bundle"])
        return same
    plan = prepare(config, out, resumed)
    log.info("plan: %s, %d for validation", told(plan, config), len(plan.val))
    if config.dry_run:
        log.info("dry run: nothing was trained")
        return {}
    this = plan.run or Run(out, config, resumed)
    plan.cost = with_latency(plan.cost, this)
    this.inputs(
        {
            "labels": str(plan.store.folder) if plan.store else "none",
            "videos": digest(plan.examples, plan.val),
            "weights": plan.model.licenses(),
            "init": plan.start.fingerprint,
            "guide": plan.guide.bundle.fingerprint if plan.guide else "none",
        }
    )
    bundles = [config.guide.bundle, config.init]
    tracker = Tracker(
        config.tracking, out, "train_student", config, resumed, origins(plan.store, bundles)
    )
    tell_inputs(tracker, config.data, plan.manifest, plan.examples, plan.store, bundles)
    if plan.store is not None:
        report_targets(plan.decisions, plan.examples, this, tracker, plan.reader)
    fitted = _fit(plan, config, this, tracker)
    if fitted is None:
        return {}
    test = _test(fitted, plan.manifest, plan.reader, config, this, tracker)
    result, spec = _export(plan, fitted, test, config, out, tracker.group)
    tracker.summary(result["val"], "val")
    tracker.summary({k.removeprefix("test ").replace(" ", "_"): v for k, v in test.items()}, "test")
    figures = ("gmacs", "params_m", "budget", "minutes", "data_wait", "steps")
    tracker.summary({name: result[name] for name in figures})
    tracker.makes(model_card(spec), out / "bundle")
    tracker.close()
    this.finish(result)
    report(out, config, plan.reader)
    log.info("%.1f minutes; bundle: %s", fitted.minutes, out / "bundle")
    log.info("next: python score.py VIDEO_OR_FOLDER")
    return result


def _fit(plan: Plan, config: TrainStudentConfig, run: Run, tracker: Tracker) -> Fitted | None:
    """Train as the options say; None on every process but the first."""
    rest = (plan.reader, config, run, tracker, plan.manifest)
    if config.training.epochs == 0:
        return assess(plan.model, plan.val, *rest, Trained()) if first_process() else None
    train_it = fit_two_stages if config.finetune.epochs else fit
    return train_it(plan.model, plan.examples, plan.val, *rest)


def _export(
    plan: Plan, fitted: Fitted, test: dict[str, float], config: TrainStudentConfig, out: Path,
    group: str,
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Write the bundle; what ``result.json`` holds, and its specification."""
    assert fitted.val is not None
    val = asdict(fitted.val)
    spec = save_bundle(
        out / "bundle",
        fitted.model,
        role="student",
        architecture={"_target_": config.student["_target_"], **without_weights(plan.kwargs)},
        calibration=fitted.calibration,
        cost={**asdict(plan.cost), "budget": config.budget},
        provenance={
            "data": str(plan.manifest.path),
            "labels": plan.manifest.labels,
            "also": config.data.also,
            **told_examples(config, plan.labelled, len(plan.examples), fitted),
            "teacher": plan.store.meta["teacher"] if plan.store else None,
            "guide": plan.guide.bundle.fingerprint if plan.guide else None,
            "run": str(out),
            "group": group,
            **plan.start.provenance,
        },
        licenses=[*plan.start.licenses, *_licenses(plan.model, plan.store, plan.guide)],
        metrics={f"val {k}": round(v, 4) for k, v in val.items()} | test,
        test_views=config.test_views,
        slopes=fitted.slopes,
        score_range=label_range(plan.manifest),
    )
    result = {
        "bundle": str(out / "bundle"),
        "fingerprint": spec["fingerprint"],
        "val": val,
        "test": test,
        "gmacs": plan.cost.gmacs,
        "params_m": plan.cost.params_m,
        "latency_ms": plan.cost.latency_ms,
        "budget": config.budget,
        "minutes": fitted.minutes,
        "data_wait": round(fitted.data_wait, 4),
        "steps": fitted.steps,
        "rounds": told_rounds(out),
    }
    return result, spec


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
    interval = interval_over_contents(predicted, mos, groups)
    log.info(
        "test: SRCC %.3f [%.3f, %.3f] (95%% over %d contents), PLCC %.3f, KRCC %.3f, RMSE %.3f",
        scores.srcc, interval.low, interval.high, interval.n_groups, scores.plcc, scores.krcc,
        scores.rmse_raw,
    )  # fmt: skip
    path = run.folder / PREDICTIONS.format("test")
    write_predictions(path, sound, predicted.tolist(), fitted.calibration)
    picture = run.plots / "test_scatter.png"
    plots.scatter(picture, predicted.tolist(), mos.tolist(), scores, "test")
    tracker.picture("plots/test_scatter", picture)
    tell_agreement(tracker, "test", sound, predicted.tolist(), reader)
    found = {f"test {k}": round(v, 4) for k, v in asdict(scores).items()}
    return found | {"test srcc low": interval.low, "test srcc high": interval.high}


def _licenses(model: QualityModel, store: LabelStore | None, guide: Guide | None) -> list[str]:
    taught = store.meta.get("licenses", []) if store else []
    guided = guide.bundle.spec["licenses"] if guide else []
    return list(dict.fromkeys([*model.licenses(), *taught, *guided]))
