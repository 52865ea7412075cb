"""Compare bundles with mean opinion scores: correlations, errors, intervals, a scatter plot.

    python evaluate.py                                      newest student, the demo's test split
    python evaluate.py bundles=DIR manifests=videos.csv
    python evaluate.py bundles=[DIR_A,DIR_B] split=val      several models, paired intervals

SRCC, KRCC and PLCC are rank and linear correlations of the calibrated scores; PLCC fitted is after
a 4-parameter logistic on this very split, as most papers print it. Intervals are 95% bootstrap
over source contents.
"""

import csv
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from distill import plots
from distill.bundle import Bundle
from distill.config import EvaluateConfig, to_config
from distill.data.manifest import Problem, Row
from distill.data.readers import make_reader
from distill.errors import ManifestError
from distill.inference import Scored, score_all
from distill.metrics import bootstrap_groups, evaluate, paired_bootstrap
from distill.options import decoding_workers
from distill.runs import Run
from distill.specification import find_bundle
from distill.stages.inputs import load_manifest, take_bundle
from distill.stages.tracked import tell_agreement
from distill.tracking import Tracker
from distill.tracking.cards import dataset_card, model_card
from distill.tracking.lineage import group_of_bundle

log = logging.getLogger(__name__)
_NO_FIGURES = ("bundle", "role", "table", "plot")  # of a result's row


def run(cfg: DictConfig, out: Path, resumed: bool = False) -> dict[str, Any]:
    """Evaluate every bundle on every table.

    Args:
        cfg: what Hydra composed; see ``EvaluateConfig``.
        out: run directory.
        resumed: not used.

    Returns:
        ``{"rows": [...], "pairs": [...]}``: a row per bundle and table, and the paired
        differences of SRCC between the first bundle and each other.

    Raises:
        DistillError: a bundle or a table cannot be used.
    """
    config: EvaluateConfig = to_config(cfg, EvaluateConfig)
    bundles = _bundles(config)
    reader = make_reader(**vars(config.reader))
    tables = [replace(config.data, manifest=path) for path in config.manifests] or [config.data]
    this = Run(out, config)
    groups = [group_of_bundle(bundle.spec) for bundle in bundles]
    tracker = Tracker(config.tracking, out, "evaluate", config, origins=groups)
    for bundle in bundles:
        tracker.uses(model_card(bundle.spec))
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for data in tables:
        manifest = load_manifest(data)
        tracker.uses(dataset_card(manifest.rows, data.name))
        videos = manifest.split(config.split)
        if len(videos) < 3:
            raise ManifestError(
                f"{manifest.path}: {len(videos)} videos in split {config.split!r}; needs 3;"
                " choose another with split=train|val|test"
            )
        problems += manifest.problems
        scored = {
            bundle.folder: score_all(
                bundle.model, videos, reader, what=f"scoring ({bundle.role})",
                batch_size=config.batch_size, device=config.device,
                num_workers=decoding_workers(data.num_workers), test_views=bundle.test_views,
            )
            for bundle in bundles
        }  # fmt: skip
        sound = [
            all(not results[i].error for results in scored.values()) for i in range(len(videos))
        ]
        problems += _failures(manifest.path, scored, sound)
        if sum(sound) < 3:
            raise ManifestError(f"{manifest.path}: only {sum(sound)} videos could be decoded")
        used = [row for row, ok in zip(videos, sound, strict=True) if ok]
        predictions = {
            bundle.folder: np.array(
                [
                    bundle.calibrated(s.raw)
                    for s, ok in zip(scored[bundle.folder], sound, strict=True)
                    if ok
                ]
            )
            for bundle in bundles
        }
        for bundle in bundles:
            part = f"eval/{len(rows) + 1}_{bundle.role}"
            given = [s for s, ok in zip(scored[bundle.folder], sound, strict=True) if ok]
            tell_agreement(tracker, part, given, predictions[bundle.folder].tolist(), reader)
            row = _row(
                bundle, manifest.path, used, predictions[bundle.folder], config, this, len(rows) + 1
            )
            rows.append(row)
            _write(out, len(rows), used, scored[bundle.folder], sound, predictions[bundle.folder])
        pairs += _pairs(bundles, manifest.path, used, predictions, config.draws)
    this.problems(problems)
    if problems:
        log.warning("%d videos were left out; see %s", len(problems), out / "problems.csv")
    result = {"rows": rows, "pairs": pairs}
    tracker.table("eval/models", [_told(row, bundle) for row, bundle in zip(
        rows, bundles * len(tables), strict=True)])  # fmt: skip
    tracker.summary(_figures(rows[0]), "eval")
    tracker.summary({name: rows[0][name] for name in ("gmacs", "params_m")})
    tracker.close()
    this.finish(result)
    _tell(rows, pairs)
    return result


def _bundles(config: EvaluateConfig) -> list[Bundle]:
    outputs = Path(config.outputs)
    if config.bundles:
        return [take_bundle(path, outputs, "", "bundles") for path in config.bundles]
    # Found first and loaded then: a damaged student is an error, not a reason to take the teacher.
    role = "student" if find_bundle(outputs, "student") else "teacher"
    return [take_bundle(None, outputs, role, "bundles")]


def _row(
    bundle: Bundle, table: Path, used: list[Row], predicted: np.ndarray, config: EvaluateConfig,
    run: Run, number: int,
) -> dict[str, Any]:  # fmt: skip
    mos = np.array([row.mos for row in used])
    groups = [row.group for row in used]
    scores = evaluate(predicted, mos, groups)
    interval = bootstrap_groups(predicted, mos, groups, draws=config.draws)
    name = f"{number}_{table.stem}_{bundle.role}"
    picture = run.plots / f"{name}.png"
    plots.scatter(picture, predicted.tolist(), mos.tolist(), scores, f"{bundle.role}, {table.name}")
    cost = bundle.spec["cost"]
    return {
        "bundle": str(bundle.folder),
        "role": bundle.role,
        "table": str(table),
        "split": config.split,
        **asdict(scores),
        "low": interval.low,
        "high": interval.high,
        "contents": interval.n_groups,
        "gmacs": cost["gmacs"],
        "params_m": cost["params_m"],
        "plot": str(picture),
    }


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in _NO_FIGURES}


def _told(row: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    """A row for W&B: the fingerprint in the place of paths."""
    return {"model": f"{bundle.role}-{bundle.fingerprint}", **_figures(row)}


def _pairs(
    bundles: list[Bundle], table: Path, used: list[Row], predictions: dict[Path, np.ndarray],
    draws: int,
) -> list[dict[str, Any]]:  # fmt: skip
    mos = np.array([row.mos for row in used])
    groups = [row.group for row in used]
    first, out = bundles[0], []
    for other in bundles[1:]:
        interval = paired_bootstrap(
            predictions[first.folder], predictions[other.folder], mos, groups, draws=draws
        )
        out.append(
            {
                "first": str(first.folder),
                "other": str(other.folder),
                "table": str(table),
                "srcc_difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return out


def _failures(table: Path, scored: dict[Path, list[Scored]], sound: list[bool]) -> list[Problem]:
    problems = []
    for i, ok in enumerate(sound):
        if not ok:
            failed = next(results[i] for results in scored.values() if results[i].error)
            row = failed.row
            problems.append(Problem(str(table), row.line, row.video, failed.error))
    return problems


def _write(
    out: Path, number: int, used: list[Row], scored: list[Scored], sound: list[bool],
    predicted: np.ndarray,
) -> None:  # fmt: skip
    """Every prediction, so that figures can be made again without a model."""
    with (out / f"predictions_{number}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "group", "mos", "score", "raw"])
        raws = [s.raw for s, ok in zip(scored, sound, strict=True) if ok]
        for row, score, raw in zip(used, predicted, raws, strict=True):
            writer.writerow([row.video, row.group, row.mos, float(score), raw])


def _tell(rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> None:
    header = (
        f"{'bundle':44} {'SRCC [95% over contents]':26} {'PLCC':>6} {'fitted':>6} {'KRCC':>6}"
        f" {'RMSE':>6} {'pairs':>6} {'GMACs':>7} {'n':>4}"
    )
    lines = [header]
    for row in rows:
        interval = f"{row['srcc']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        lines.append(
            f"{row['bundle'][-44:]:44} {interval:26} {row['plcc']:6.3f} {row['plcc_fitted']:6.3f}"
            f" {row['krcc']:6.3f} {row['rmse_raw']:6.3f} {row['pair_accuracy']:6.3f}"
            f" {row['gmacs']:7.2f} {row['n']:4d}"
        )
    for pair in pairs:
        lines.append(
            f"{pair['first'][-44:]} minus {pair['other'][-44:]}: SRCC"
            f" {pair['srcc_difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}]"
        )
    lines += [f"plot: {row['plot']}" for row in rows]
    log.info("\n".join(lines))
