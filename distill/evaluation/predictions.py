"""Every prediction of a model on a table, as a file that figures can be made of, and the worst."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.manifest import COLUMNS, escaped
from distill.data.tables import write_table
from distill.labels.rows import member_std
from distill.logistic import Logistic4
from distill.scored import Scored

HEADER = (
    "video path group mos mos_std score raw spread frame_scores width height fps duration"
).split()


def write_predictions(
    path: Path,
    results: Sequence[Scored],
    scores: Sequence[float],
    calibration: Logistic4 | None,
) -> None:
    """Write a row per video.

    The columns are ``HEADER`` (``spread`` is the standard deviation over the members' raw scores,
    empty with fewer than two; ``frame_scores`` are numbers with spaces between them), then the
    table's own others, one that has a name of ``HEADER`` as ``table_`` and that name.

    Args:
        path: of the CSV.
        results: sound ones, in the table's order.
        scores: (N,) calibrated.
        calibration: of the model; frame scores pass through it.
    """
    extras = list(dict.fromkeys(name for scored in results for name in scored.row.extra))
    taken = {*HEADER, *COLUMNS}
    header = [*HEADER, *(f"table_{name}" if name in taken else name for name in extras)]
    table: list[list[str | float]] = []
    for scored, score in zip(results, scores, strict=True):
        row, info = scored.row, scored.info
        frames = np.asarray(scored.frame_scores)
        calibrated = calibration(frames) if calibration else frames
        cells: list[str | float] = [
            escaped(row.video), escaped(os.path.abspath(row.path)), row.group, row.mos, row.mos_std,
            float(score), scored.raw, member_std(scored.members.values()),
            " ".join(f"{value:.5g}" for value in calibrated),
        ]  # fmt: skip
        cells += [str(info.width), str(info.height), info.fps, info.duration] if info else [""] * 4
        table.append([*cells, *(row.extra.get(name, "") for name in extras)])
    write_table(path, header, table)


def worst(
    name: str, table_name: str, results: Sequence[Scored], scores: Sequence[float], count: int
) -> list[dict[str, Any]]:
    """The videos with the largest errors, the largest first.

    Args:
        name: of the model.
        table_name: of the table.
        results: sound ones.
        scores: (N,) calibrated.
        count: at the most.
    """
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "table_name": table_name,
            "video": scored.row.video,
            "mos": scored.row.mos,
            "score": float(score),
            "residual": float(score) - scored.row.mos,
            "group": scored.row.group,
        }
        for scored, score in zip(results, scores, strict=True)
    ]
    return sorted(rows, key=lambda row: (-abs(row["residual"]), row["video"]))[:count]
