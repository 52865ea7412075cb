"""Which of two models is better on a table: the paired difference, and the verdict in words."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

from distill.resampling import FEW_CONTENTS, Interval, difference_over_contents
from distill.weighted_statistics import OfGroups, Statistic

TITLES = {"kvq": "KVQ score", "srcc": "SRCC", "plcc": "PLCC"}


def compare(
    scores: Mapping[str, Sequence[float]],
    mos: Sequence[float],
    groups: Sequence[str],
    table_name: str,
    notes: Mapping[str, str] | None = None,
    kvq: OfGroups | None = None,
    foreign: Collection[str] = (),
    **options: Any,
) -> list[dict[str, Any]]:
    """Every pair of models on one table, by SRCC and by PLCC, and by the KVQ challenge's score.

    Args:
        scores: name of a model -> (N,) calibrated scores, of the same videos in the same order.
        mos: (N,).
        groups: (N,) source contents.
        table_name: for the verdicts.
        notes: name of a model -> why the table is no test of it; the verdicts repeat that.
        kvq: the challenge's score of these videos, see ``distill.kvq.intervals``; None: not asked.
        foreign: models on another scale than the MOS; verdicts that depend on it say so.
        options: of ``difference_over_contents``: draws, method.

    Returns:
        A row per pair and statistic: ``difference`` is the first one's minus the other's. Each
        95% interval is of its own pair; nothing corrects for how many there are.
    """
    notes = notes or {}
    statistics: dict[str, Statistic] = {"kvq": kvq} if kvq else {}
    statistics |= {"srcc": "srcc", "plcc": "plcc"}
    rows = []
    for first, other in combinations(scores, 2):
        for statistic, of in statistics.items():
            found = difference_over_contents(
                scores[first], scores[other], mos, groups, of, **options
            )
            said = [verdict(first, other, table_name, statistic, found)]
            said += [notes[name] for name in (first, other) if notes.get(name)]
            off = [name for name in (first, other) if name in foreign]
            if off and statistic != "srcc":
                said.append(f"{' and '.join(off)} {'have' if off[1:] else 'has'} another scale")
            rows.append(
                {
                    "first": first,
                    "other": other,
                    "table_name": table_name,
                    "statistic": statistic,
                    "difference": found.estimate,
                    "low": found.low,
                    "high": found.high,
                    "verdict": "; but ".join(said),
                    "contents": found.n_groups,
                }
            )
    return rows


def verdict(first: str, other: str, table_name: str, statistic: str, found: Interval) -> str:
    """What the interval of a difference says, as a sentence.

    Args:
        first, other: names of models.
        table_name: of the table.
        statistic: one of ``TITLES``.
        found: interval of the first one's minus the other's.
    """
    title = TITLES[statistic]
    if math.isnan(found.estimate):
        return f"{first} and {other} cannot be compared on {table_name}: a {title} is undefined"
    if found.n_groups < FEW_CONTENTS or math.isnan(found.low):
        few = found.n_groups < FEW_CONTENTS
        why = f"where {FEW_CONTENTS} are needed" if few else "and there is no interval"
        contents = "1 content" if found.n_groups == 1 else f"{found.n_groups} contents"
        return (
            f"{first} and {other} are not told apart on {table_name}: {title}"
            f" {found.estimate:+.3f} of {contents}, {why}"
        )
    low, high, estimate = found.low, found.high, found.estimate
    if high < 0:
        first, other = other, first
        low, high, estimate = -high, -low, -estimate
    told = (
        f"{title} {estimate:+.3f} [{low:.3f}, {high:.3f}]"
        f" (paired, 95% over {found.n_groups} contents)"
    )
    if low > 0:
        return f"{first} is better than {other} on {table_name}: {told}"
    return f"{first} and {other} are not told apart on {table_name}: {told}"
