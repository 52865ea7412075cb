"""Train the heavy teacher on videos with mean opinion scores (MOS) and write its bundle.

    python train_teacher.py                                 the embedded demo data
    python train_teacher.py data=manifest data.manifest=videos.csv
    python train_teacher.py teacher=large training=gpu      Swin-B and Swin-T members
    python train_teacher.py dry_run=true                    check everything, print the plan
    python train_teacher.py resume=true                     go on after a kill

The table has the columns video, mos, and where you have them mos_std, split (train, val, test,
pool) and group (source content). Next: python pseudo_label.py
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from distill.bundle import save_bundle
from distill.config import TrainTeacherConfig, to_config
from distill.cost import profile
from distill.data.dataset import Example
from distill.data.readers import make_reader
from distill.losses import WeightedLoss
from distill.model import QualityModel
from distill.runs import Run
from distill.stages.fit import fit, tell_random_weights
from distill.stages.inputs import (
    digest,
    load_manifest,
    network,
    score_scale,
    training_rows,
    without_weights,
)
from distill.tracking import Tracker

log = logging.getLogger(__name__)


def run(cfg: DictConfig, out: Path, resumed: bool = False) -> dict[str, Any]:
    """Train a teacher.

    Args:
        cfg: what Hydra composed; see ``TrainTeacherConfig``.
        out: run directory.
        resumed: go on with the run of that directory.

    Returns:
        What ``result.json`` holds; empty for a dry run and on processes but the first.

    Raises:
        DistillError: the options, the data or the weights cannot be used; ``Interrupted``.
    """
    config: TrainTeacherConfig = to_config(cfg, TrainTeacherConfig)
    pl.seed_everything(config.seed, verbose=False)
    target, kwargs = network(config.teacher, "teacher")
    WeightedLoss(config.loss)
    manifest = load_manifest(config.data)
    train, val = training_rows(manifest, config.data.val_share)
    reader = make_reader(**vars(config.reader))
    examples = [Example(row, target=row.mos) for row in train]
    kwargs |= score_scale(examples)
    model: QualityModel = target(**kwargs)
    tell_random_weights(model.random_backbones())
    cost = profile(model)
    log.info("teacher: %s\n%s", config.teacher["_target_"], cost)
    for part, gmacs in cost.by_part.items():
        log.info("  %-16s %9.2f GMACs", part, gmacs)
    training = config.training
    log.info(
        "plan: %d labelled videos, %d for validation, %d epochs of batches of %d",
        len(train), len(val), training.epochs, training.batch_size,
    )  # fmt: skip
    if config.dry_run:
        log.info("dry run: nothing was trained")
        return {}
    this = Run(out, config, resumed)
    this.inputs({"videos": digest(examples, val), "weights": model.licenses()})
    tracker = Tracker(config.tracking, out, "train_teacher", config, resumed)
    fitted = fit(model, examples, val, reader, config, this, tracker, manifest)
    if fitted is None:
        return {}
    measured = {f"val {k}": round(v, 4) for k, v in asdict(fitted.val).items()}
    spec = save_bundle(
        out / "bundle",
        fitted.model,
        role="teacher",
        target=config.teacher["_target_"],
        kwargs=without_weights(kwargs),
        calibration=fitted.calibration,
        cost=asdict(cost),
        provenance={"data": str(manifest.path), "labelled": len(train), "run": str(out)},
        licenses=model.licenses(),
        metrics=measured,
    )
    result = {
        "bundle": str(out / "bundle"),
        "fingerprint": spec["fingerprint"],
        "val": asdict(fitted.val),
        "gmacs": cost.gmacs,
        "params_m": cost.params_m,
        "minutes": fitted.minutes,
        "data_wait": round(fitted.data_wait, 4),
        "steps": fitted.steps,
    }
    tracker.summary({**{f"val/{k}": v for k, v in result["val"].items()}, "gmacs": cost.gmacs})
    tracker.close()
    this.finish(result)
    log.info(
        "teacher: val SRCC %.3f, PLCC %.3f, RMSE %.3f; %.1f minutes; bundle: %s",
        fitted.val.srcc, fitted.val.plcc, fitted.val.rmse_raw, fitted.minutes, out / "bundle",
    )  # fmt: skip
    log.info("next: python pseudo_label.py")
    return result
