"""Rows of an evaluation's result: one model on one table, and its score in the KVQ challenge."""

import logging
import math
from typing import Any

from distill import plots
from distill.bundle import Bundle
from distill.errors import ManifestError
from distill.evaluation.agreement import agreement, as_scores
from distill.evaluation.given_scores import ROLE, note_of, on_scale
from distill.kvq.files import RankedPairs
from distill.kvq.intervals import kvq_rows
from distill.kvq.scoring import check_complete, kvq_row
from distill.resampling import interval_over_contents
from distill.runs import Run
from distill.specification import is_demo, of_demo
from distill.stages.evaluation_tables import Table
from distill.weighted_statistics import OfGroups

log = logging.getLogger(__name__)


def row_of(
    name: str, bundle: Bundle, table: Table, note: str, run: Run, number: int,
    options: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """How well a model agrees with a table; draws its scatter.

    Args:
        name: of the model.
        bundle: the model.
        table: scored.
        note: what the model knows of the table's videos; may be empty.
        run: takes the picture.
        number: of the row, from 1.
        options: of ``interval_over_contents``: draws, method.
    """
    found = agreement(table.scores[name], table.mos, table.groups, **options)
    picture = run.plots / f"{number}_{table.path.stem}_{bundle.role}.png"
    title = f"{name}, {table.name}"
    plots.scatter(picture, table.scores[name], table.mos, as_scores(found), title)
    cost = bundle.spec["cost"]
    calibrated = _calibrated(bundle, name, table)
    highest = found["srcc"] if math.isnan(found["high"]) else found["high"]
    known = note_of(calibrated, highest) if bundle.role == ROLE else ""
    notes = [text for text in (*table.notes, found["warning"], known, note) if text]
    return {
        "bundle": str(bundle.folder),
        "name": name,
        "role": bundle.role,
        "table": str(table.path),
        "table_name": table.name,
        **found,
        "warning": "; ".join(notes),
        "notes": notes,
        "calibrated": calibrated,
        "demo": is_demo(table.path) or of_demo(bundle.spec),
        "gmacs": cost["gmacs"],
        "params_m": cost["params_m"],
        "plot": str(picture),
        "predictions": f"predictions_{number}.csv",
    }


def _calibrated(bundle: Bundle, name: str, table: Table) -> bool:
    """Whether the scores are on the MOS scale; of a file's, whether they look like it."""
    if bundle.role == ROLE:
        return on_scale(table.scores[name], table.mos)
    return bundle.calibration is not None


def challenge_of(table: Table, pairs: RankedPairs) -> OfGroups | None:
    """The KVQ challenge's score of the table; None where a video of it has no score."""
    sound = [scored.row.video for scored in next(iter(table.scored.values()))]
    try:
        check_complete(sound, [row.video for row in table.rows])
    except ManifestError as error:
        log.warning("no KVQ score on %s: %s", table.name, error)
        return None
    return kvq_rows(sound, pairs)


def challenge_row(
    name: str, table: Table, challenge: OfGroups, pairs: RankedPairs, options: dict[str, Any]
) -> dict[str, Any]:
    """A model's score in the challenge, its parts and its interval.

    Args:
        name: of the model.
        table: scored, every video.
        challenge: see ``challenge_of``.
        pairs: ranked, of the table's videos.
        options: of ``interval_over_contents``: draws, method.
    """
    scores = table.scores[name]
    videos = [scored.row.video for scored in table.scored[name]]
    row = kvq_row(
        dict(zip(videos, scores, strict=True)), dict(zip(videos, table.mos, strict=True)), pairs
    )
    found = interval_over_contents(scores, table.mos, table.groups, challenge, **options)
    return {"name": name, "table_name": table.name, **row} | {
        "low": found.low, "high": found.high, "contents": found.n_groups
    }  # fmt: skip
