"""A run's predictions as a table, so that figures can be made again without a model."""

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from distill.scored import Scored

COLUMNS = (
    "video", "path", "group", "mos", "mos_std", "score", "raw", "spread", "frame_scores", "width",
    "height", "fps", "duration",
)  # fmt: skip


def write_predictions(
    path: Path, scored: Sequence[Scored], calibrated: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Write a row per video that has a score.

    Args:
        path: of the CSV. Columns: ``COLUMNS``, then the manifest's own, ``table_`` before a name
            that is taken. ``spread`` is the standard deviation over the members' raw scores, empty
            with fewer than two; ``frame_scores`` are calibrated, over time, with spaces between.
        scored: videos; those that failed are left out.
        calibrated: raw scores (N,) -> the MOS scale.
    """
    sound = [each for each in scored if not each.error]
    extra = list(dict.fromkeys(name for each in sound for name in each.row.extra))
    names = [f"table_{name}" if name in COLUMNS else name for name in extra]
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *names])
        for each in sound:
            row, info = each.row, each.info
            assert info is not None
            members = list(each.members.values())
            frames = calibrated(np.array(each.frame_scores, dtype=np.float64))
            numbers = [
                row.mos, row.mos_std, float(calibrated(np.array([each.raw]))[0]), each.raw,
                float(np.std(members, ddof=1)) if len(members) > 1 else math.nan,
            ]  # fmt: skip
            writer.writerow(
                [row.video, row.path, row.group, *map(_cell, numbers)]
                + [" ".join(f"{float(value):.5g}" for value in frames)]
                + [info.width, info.height, _cell(info.fps), _cell(info.duration)]
                + [row.extra.get(name, "") for name in extra]
            )


def _cell(value: float) -> str | float:
    return value if math.isfinite(value) else ""
