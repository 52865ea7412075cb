"""Train a teacher on videos with mean opinion scores (MOS) and write its bundle.

The default is teacher=compact, two EfficientNet-Lite0 members that a CPU can train; for a GPU, take
experiment=heavy: Swin-B, SlowFast, FAST-VQA and LIQE.

    python train_teacher.py                                 the embedded demo data
    python train_teacher.py data=manifest data.manifest=videos.csv
    python train_teacher.py experiment=heavy data=kvq data.root=FOLDER
    python train_teacher.py folds=5                         a committee of five, with a spread
    python train_teacher.py teacher=fast_vqa training=none data=manifest data.manifest=videos.csv
                                                            a published network, only calibrated
    python train_teacher.py teacher=fast_vqa training=none data=none
                                                            the same, without any labels
    python train_teacher.py dry_run=true                    check everything, print the plan
    python train_teacher.py init=BUNDLE data=kvq ...        start from a teacher of other data
    python train_teacher.py labels=STORE                    learn from pseudo-labels as well
    python train_teacher.py resume=true                     continue after a kill

The table has the columns video and mos and, if you have them, mos_std, split (train, val, test,
pool) and group (source content). Next: python pseudo_label.py
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from distill.bundle import save_bundle
from distill.choice import Decision
from distill.committee import Committee
from distill.config import TrainTeacherConfig, to_config
from distill.cost import Cost, profile
from distill.data.dataset import Example
from distill.data.manifest import Manifest, Row
from distill.data.readers import make_reader
from distill.errors import ConfigError
from distill.label_noise import weigh_by_noise
from distill.labels import LabelStore
from distill.losses import WeightedLoss
from distill.model import QualityModel
from distill.runs import Run, first_process, read_inputs
from distill.specification import uncalibrated
from distill.stages.assess import Fitted, Trained, assess, told_examples
from distill.stages.fit import fit, tell_random_weights, tell_test_views
from distill.stages.folds import fit_committee, split_folds
from distill.stages.further import build, further_examples, tell_shares
from distill.stages.inputs import (
    digest,
    label_range,
    load_manifest,
    network,
    score_scale,
    take_labels,
    training_rows,
    without_weights,
)
from distill.stages.label_report import report_targets
from distill.stages.pseudo import choose_labels, examples_of
from distill.stages.report import report
from distill.stages.teachers_data import data_words, warn_of_mixed_data
from distill.stages.tracked import origins, tell_inputs
from distill.tracking import Tracker
from distill.tracking.cards import model_card
from distill.training import require_bins

log = logging.getLogger(__name__)
_NONE = "training.epochs=0 (training=none)"


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
    loss = WeightedLoss.of(config.loss)
    manifest, examples, val = _videos(config)
    reader = make_reader(**vars(config.reader))
    store: LabelStore | None = None
    decisions: list[Decision] = []
    labelled = 0
    if manifest is not None:
        kwargs |= score_scale(examples)
        held_out = [*val, *manifest.split("test")]
        rows = [example.row for example in examples]
        examples += further_examples(config, examples, held_out, manifest, reader)
        labelled = len(examples)
        if config.labels != "none":
            labels = read_inputs(out).get("labels") if resumed else None
            store = take_labels(labels or config.labels, Path(config.outputs), config.labels_root)
        if store is not None:
            warn_of_mixed_data(store, manifest.path)
            decisions = choose_labels(store, rows, held_out, config, reader)
            examples += examples_of(decisions, config.training.pseudo_weight)
    if manifest is not None:
        tell_shares(examples, config.training, [manifest.path, *config.data.also])
    model, start = build(target, kwargs, config.init)
    require_bins(loss, model)
    _check_trainable(model, config)
    tell_random_weights(model.random_backbones())
    # Where scores lie without labels is the members' word, a table's perhaps, which may change.
    kwargs |= {"score_mean": model.score_mean, "score_std": model.score_std}
    architecture = {"_target_": config.teacher["_target_"], **without_weights(kwargs)}
    committee: Committee | None = None
    if config.folds > 1:
        split_folds(examples, config.folds)
        committee = Committee(architecture, config.folds)
        committee.fill([model.state_dict()] * config.folds)
        architecture = {
            "_target_": f"{Committee.__module__}.{Committee.__name__}",
            "teacher": architecture,
            "folds": config.folds,
        }
    cost = _plan(committee or model, config, examples, len(val))
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
        }
    )
    # Not the group of what it starts from: many teachers may start from one.
    tracker = Tracker(config.tracking, out, "train_teacher", config, resumed, origins(store, ()))
    tell_inputs(tracker, config.data, manifest, examples, store, [config.init])
    if store is not None:
        report_targets(decisions, examples, this, tracker, reader)
    fitted: Fitted | None
    if config.training.epochs == 0 and not first_process():
        return {}
    if manifest is None:
        fitted = Fitted(model)
    elif config.training.epochs == 0:
        rows = [example.row for example in examples]
        fitted = assess(
            model, val, reader, config, this, tracker, manifest, Trained(), calibration_rows=rows
        )
    elif committee is not None:
        fitted = fit_committee(
            lambda: build(target, kwargs, config.init)[0], committee, examples, val, reader, config,
            this, tracker, manifest,
        )  # fmt: skip
    else:
        fitted = fit(model, examples, val, reader, config, this, tracker, manifest)
    if fitted is None:
        return {}
    measured = asdict(fitted.val) if fitted.val else {}
    taught = store.meta.get("licenses", []) if store else []
    spec = save_bundle(
        out / "bundle",
        fitted.model,
        role="teacher",
        architecture=architecture,
        calibration=fitted.calibration,
        cost=asdict(cost),
        provenance={
            "data": str(manifest.path) if manifest else None,
            "labels": manifest.labels if manifest else None,
            "also": config.data.also,
            **told_examples(config, labelled, len(examples), fitted),
            "teacher": store.meta["teacher"] if store else None,
            "run": str(out),
            "group": tracker.group,
            **start.provenance,
        },
        licenses=list(dict.fromkeys([*start.licenses, *model.licenses(), *taught])),
        metrics={f"val {k}": round(v, 4) for k, v in measured.items()},
        test_views=config.test_views,
        slopes=fitted.slopes,
        score_range=label_range(manifest),
    )
    result = {
        "bundle": str(out / "bundle"),
        "fingerprint": spec["fingerprint"],
        "val": measured,
        "gmacs": cost.gmacs,
        "params_m": cost.params_m,
        "minutes": fitted.minutes,
        "data_wait": round(fitted.data_wait, 4),
        "steps": fitted.steps,
    }
    tracker.summary(measured, "val")
    figures = ("gmacs", "params_m", "minutes", "data_wait", "steps")
    tracker.summary({name: result[name] for name in figures})
    tracker.makes(model_card(spec), out / "bundle")
    tracker.close()
    this.finish(result)
    if fitted.val is None:
        log.warning(uncalibrated(spec["fingerprint"]))
    else:
        if not fitted.val.srcc > 0:
            log.warning("the teacher ranks validation videos no better than chance, or in reverse")
        log.info(
            "teacher: val SRCC %.3f, PLCC %.3f, RMSE %.3f; %.1f minutes", fitted.val.srcc,
            fitted.val.plcc, fitted.val.rmse_raw, fitted.minutes,
        )  # fmt: skip
    report(out, config, reader)
    log.info("bundle: %s\nnext: %s", out / "bundle", _next(config, manifest))
    return result


def _next(config: TrainTeacherConfig, manifest: Manifest | None) -> str:
    """The command that labels: what the same data has without a MOS, else the user's videos."""
    pool = manifest is not None and manifest.split("pool")
    words = data_words(config.data) if pool else ["pool=FOLDER_LIST_OR_TABLE"]
    return " ".join(["python pseudo_label.py", *words])


def _videos(config: TrainTeacherConfig) -> tuple[Manifest | None, list[Example], list[Row]]:
    """What is learned from and what is chosen on; nothing for ``data=none``."""
    if config.data.name == "none":
        if config.training.epochs:
            raise ConfigError(
                "data=none: there is nothing to learn from; training=none takes published scores"
                " as they are"
            )
        _refuse_more(config)
        return None, [], []
    if config.training.epochs == 0:
        _refuse_more(config)
    manifest = load_manifest(config.data)
    train, val = training_rows(manifest, config.data.val_share)
    examples = [Example(row, target=row.mos) for row in train]
    return manifest, weigh_by_noise(examples, config.training.label_noise, manifest.path), val


def _refuse_more(config: TrainTeacherConfig) -> None:
    if config.data.also:
        raise ConfigError(f"data.also={config.data.also}: {_NONE} learns from no further table")
    if config.labels != "none":
        raise ConfigError(f"labels={config.labels}: {_NONE} learns from no pseudo-labels")


def _check_trainable(model: QualityModel, config: TrainTeacherConfig) -> None:
    """Whether there is something to train, or everything is trained already."""
    if config.training.epochs == 0:
        if config.folds > 1:
            raise ConfigError(f"folds={config.folds}: a committee has to be trained, not {_NONE}")
        if config.init is None and (parts := model.random_parts()):
            raise ConfigError(
                f"{_NONE} trains nothing, but these would stay random: {', '.join(parts)}; take a"
                " teacher of published scores (teacher=fast_vqa, teacher=liqe; members with"
                " head=own under fusion=mean), or init=BUNDLE"
            )
    elif not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "the teacher has nothing to train: its members are frozen and their scores are"
            " published; training=none calibrates it as it is, teacher.members.NAME.trainable=true"
            " trains one"
        )


def _plan(
    model: QualityModel, config: TrainTeacherConfig, examples: Sequence[Example], val: int
) -> Cost:
    """Count and tell what a video costs, and how long training is."""
    cost = profile(model).times(config.test_views)
    log.info("teacher: %s\n%s", config.teacher["_target_"], cost)
    for part, gmacs in cost.by_part.items():
        log.info("  %-24s %9.2f GMACs", part, gmacs)
    tell_test_views(config.test_views)
    epochs, batch = config.training.epochs, config.training.batch_size
    what = f"{epochs} epochs of batches of {batch}" if epochs else "nothing is trained"
    if config.folds > 1:
        what += f", {config.folds} folds"
    pseudo = sum(example.pseudo for example in examples)
    kinds = f"{len(examples) - pseudo} labelled"
    kinds += f" and {pseudo} pseudo-labelled videos" if pseudo else " videos"
    log.info("plan: %s, %d for validation, %s", kinds, val, what)
    return cost
