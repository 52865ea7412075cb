"""How well the scores of one model agree with the MOS of one table, with intervals."""

import math
from collections.abc import Sequence
from typing import Any

from distill.metrics import Scores
from distill.resampling import interval_over_contents

# Column of result.json -> statistic of distill.weighted_statistics.
STATISTICS = {
    "srcc": "srcc",
    "krcc": "krcc",
    "plcc": "plcc",
    "plcc_fitted": "plcc_fitted",
    "rmse": "rmse_fitted",
    "rmse_raw": "rmse",
    "pair_accuracy": "pair_accuracy",
    "ntire2023": "ntire2023",
}


def agreement(
    scores: Sequence[float], mos: Sequence[float], groups: Sequence[str], **options: Any
) -> dict[str, Any]:
    """Every statistic of a table, and its 95% interval over contents.

    Args:
        scores: (N,) calibrated, N >= 3.
        mos: (N,).
        groups: (N,) source contents.
        options: of ``interval_over_contents``: draws, method.

    Returns:
        A number for each of ``STATISTICS``, ``n``, ``contents``, ``intervals`` (name -> [low,
        high]), ``doubted`` (names whose interval is not to be trusted), ``low`` and ``high`` of
        SRCC, and ``warning``: why not to trust these; nan where something is undefined.
    """
    found = {
        name: interval_over_contents(scores, mos, groups, statistic, **options)
        for name, statistic in STATISTICS.items()
    }
    srcc = found["srcc"]
    undefined = "the scores or the MOS are constant" if math.isnan(srcc.estimate) else ""
    return {
        **{name: interval.estimate for name, interval in found.items()},
        "n": len(scores),
        "contents": srcc.n_groups,
        "intervals": {name: [interval.low, interval.high] for name, interval in found.items()},
        "doubted": [name for name, interval in found.items() if interval.warning],
        "low": srcc.low,
        "high": srcc.high,
        "warning": undefined or srcc.warning,
    }


def as_scores(row: dict[str, Any]) -> Scores:
    """What a picture of the row needs."""
    return Scores(**{name: row[name] for name in Scores.__dataclass_fields__})
