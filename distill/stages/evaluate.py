"""Compare bundles with mean opinion scores: correlations, errors, intervals, verdicts.

    python evaluate.py                                      newest student, the demo's test split
    python evaluate.py bundles=DIR manifests=videos.csv
    python evaluate.py bundles=[DIR_A,DIR_B] split=val      which is better, by paired intervals
    python evaluate.py bundles=[A,B] manifests=[X.csv,Y.csv,konvid_1k:FOLDER] data.as_split=test
    python evaluate.py bundles=[DIR,theirs.csv]             a bundle beside anybody's scores
    python evaluate.py by=[processing,resolution] show_worst=true
    python evaluate.py data=kvq data.root=FOLDER split=val kvq.pairs=rank-pair-val.xlsx

SRCC, KRCC and PLCC are rank and linear correlations of the calibrated scores; PLCC fitted is after
a 4-parameter logistic on this very split, as most papers print it. Intervals are 95% over source
contents. docs/evaluation.md has the formulas, and what the run leaves.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distill.bundle import Bundle
from distill.config import EvaluateConfig, folder, to_config
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.errors import BundleError
from distill.evaluation.breakdowns import break_down, check_columns, columns_of
from distill.evaluation.comparisons import compare
from distill.evaluation.given_scores import ROLE, check_names, given_scores, is_table
from distill.evaluation.kept import KeptScores
from distill.evaluation.names import short_names
from distill.evaluation.predictions import worst, write_predictions
from distill.evaluation.telling import told
from distill.kvq.files import read_pairs
from distill.kvq.scoring import check_pairs
from distill.logistic import fit_logistic4
from distill.options import decoding_workers
from distill.runs import SCORED, Run
from distill.scored import Scored
from distill.specification import find_bundle
from distill.stages import overlap
from distill.stages.evaluation_rows import challenge_of, challenge_row, row_of
from distill.stages.evaluation_tables import Table, score_table, take_tables
from distill.stages.inputs import take_bundle
from distill.stages.report import report
from distill.stages.tracked import tell_agreement
from distill.tracking import Tracker
from distill.tracking.cards import dataset_card, model_card
from distill.tracking.lineage import group_of_bundle

log = logging.getLogger(__name__)
# Of a result's row: names and paths, which stay here, and what is no single value.
_NO_FIGURES = (
    "bundle name role table table_name warning notes plot predictions intervals doubted".split()
)


def run(cfg: DictConfig, out: Path, resumed: bool = False) -> dict[str, Any]:
    """Evaluate every bundle on every table.

    Args:
        cfg: what Hydra composed; see ``EvaluateConfig``.
        out: run directory.
        resumed: go on with the scores that an earlier process left in ``out``.

    Returns:
        What result.json holds, see docs/evaluation.md: ``rows``, ``pairs``, ``breakdowns``,
        ``worst``, and ``kvq`` where it was asked for.

    Raises:
        DistillError: a bundle, a table or the KVQ pairs cannot be used.
    """
    config: EvaluateConfig = to_config(cfg, EvaluateConfig)
    pairs = read_pairs([folder(config.kvq.pairs)]) if config.kvq.pairs else None
    bundles = _bundles(config)
    names = short_names([bundle.folder for bundle in bundles], "bundles")
    models = dict(zip(names, bundles, strict=True))
    reader = make_reader(**vars(config.reader))
    tables = take_tables(config)
    # Before hours of scoring: what cannot be used.
    check_columns({name for table in tables for row in table.rows for name in row.extra}, config.by)
    for bundle in bundles:
        if bundle.role == ROLE:
            check_names(bundle, [row for table in tables for row in table.rows])
    for table in tables:
        columns_of([Scored(row) for row in table.rows], config.by)
        if pairs is not None:
            check_pairs(pairs, {row.video for row in table.rows})
    this = Run(out, config, resumed)
    this.inputs({"bundles": [bundle.fingerprint for bundle in bundles]})
    groups = [group_of_bundle(bundle.spec) for bundle in bundles if bundle.role != ROLE]
    tracker = Tracker(config.tracking, out, "evaluate", config, resumed, origins=groups)
    for bundle in bundles:
        if bundle.role != ROLE:
            tracker.uses(model_card(bundle.spec))
    learned = _learned(models, config)
    result: dict[str, Any] = {"rows": [], "pairs": [], "breakdowns": [], "worst": []}
    for number, table in enumerate(tables, 1):
        tracker.uses(dataset_card(table.manifest.rows, table.data_name))
        kept = {
            name: KeptScores(out / SCORED / f"{number}_{bundle.fingerprint}.jsonl", resumed)
            for name, bundle in models.items()
        }
        score_table(table, models, reader, config, kept)
        challenge = challenge_of(table, pairs) if pairs else None
        notes: dict[str, str] = {}
        for name, bundle in models.items():
            notes[name] = _overlap(name, learned[name], table, reader, config)
            at = len(result["rows"]) + 1
            row = row_of(name, bundle, table, notes[name], this, at, _options(config))
            result["rows"].append(row | {"split": config.split})
            _add_details(result, name, table, config, row["calibrated"])
            if challenge and pairs:
                result.setdefault("kvq", []).append(
                    challenge_row(name, table, challenge, pairs, _options(config))
                )
            scored, scores = table.scored[name], table.scores[name]
            predictions = out / f"predictions_{at}.csv"
            write_predictions(predictions, scored, scores, bundle.calibration)
            tell_agreement(tracker, f"eval/{at}_{bundle.role}", scored, scores, reader)
        own = result["rows"][-len(models) :]
        result["pairs"] += compare(
            table.scores, table.mos, table.groups, table.name, notes, challenge,
            [row["name"] for row in own if not row["calibrated"]], **_options(config),
        )  # fmt: skip
    problems = [problem for table in tables for problem in table.problems]
    this.problems(problems)
    if problems:
        log.warning("%d videos were left out; see %s", len(problems), out / "problems.csv")
    _track(tracker, result, bundles * len(tables))
    this.finish(result)
    shutil.rmtree(out / SCORED)  # predictions_N.csv has it all
    log.info(told(result, config.by, config.show_worst))
    report(out, config, reader)
    return result


def _bundles(config: EvaluateConfig) -> list[Bundle]:
    outputs = Path(config.outputs)
    if config.bundles:
        return [
            given_scores(folder(path))
            if is_table(path)
            else take_bundle(path, outputs, "", "bundles")
            for path in config.bundles
        ]
    # Found first and loaded then: a damaged student is an error, not a reason to take the teacher.
    for role in ("student", "teacher"):
        if find_bundle(outputs, role):
            return [take_bundle(None, outputs, role, "bundles")]
    raise BundleError(
        f"no student and no teacher bundle below {outputs}; run `python train_student.py"
        " +budget=120` or `python train_teacher.py` first, or name one: bundles=FOLDER"
    )


def _learned(models: dict[str, Bundle], config: EvaluateConfig) -> dict[str, overlap.Learned]:
    if config.leak_check == "none":
        return {name: overlap.Learned({}) for name in models}
    learned = {name: overlap.learned_from(bundle) for name, bundle in models.items()}
    for found in learned.values():
        if found.unknown:
            log.warning("leak check: %s", found.unknown)
    return learned


def _overlap(
    name: str, learned: overlap.Learned, table: Table, reader: VideoReader, config: EvaluateConfig
) -> str:
    """A warning where the bundle knows videos of the table, or nobody can say."""
    rows = [scored.row for scored in table.scored[name]]
    workers = decoding_workers(config.data.num_workers)
    found = overlap.find_overlap(rows, learned, config.leak_check, reader, workers)
    return overlap.told(name, table.name, found, len(rows), learned.unknown)


def _options(config: EvaluateConfig) -> dict[str, Any]:
    return {"draws": config.draws, "method": config.intervals}


def _track(tracker: Tracker, result: dict[str, Any], bundles: list[Bundle]) -> None:
    """The table of models, whose fingerprints stand in the place of paths; the first in figures."""
    rows, challenge = result["rows"], result.get("kvq", [])
    figures = [{k: v for k, v in row.items() if k not in _NO_FIGURES} for row in rows]
    scores = {(row["name"], row["table_name"]): row["score"] for row in challenge}
    for figure, row in zip(figures, rows, strict=True):
        if scores:
            figure["kvq"] = scores.get((row["name"], row["table_name"]))
    models = [f"{bundle.role}-{bundle.fingerprint}" for bundle in bundles]
    tracker.table("eval/models", [{"model": m} | f for m, f in zip(models, figures, strict=True)])
    tracker.summary(figures[0], "eval")
    tracker.summary({name: rows[0][name] for name in ("gmacs", "params_m")})
    tracker.close()


def _add_details(
    result: dict[str, Any], name: str, table: Table, config: EvaluateConfig, calibrated: bool
) -> None:
    results, scores = table.scored[name], table.scores[name]
    if not calibrated:  # errors on a foreign scale say nothing
        scores = fit_logistic4(scores, table.mos)(scores).tolist()
    columns = columns_of(results, config.by)
    result["breakdowns"] += break_down(
        name, table.name, columns, scores, table.mos, table.groups, **_options(config)
    )
    result["worst"] += worst(name, table.name, results, scores, config.worst)
