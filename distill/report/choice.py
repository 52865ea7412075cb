"""The section on pseudo-labels: their distribution, their doubt, and what was left out."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from distill.labels import Label
from distill.report import label_plots as plots
from distill.report.blocks import Card, Cards, Cell, Figure, Figures, Section, Table, num, whole
from distill.report.folder import RunFolder
from distill.report.frames import Frames
from distill.report.reasons import alike
from distill.report.subjects import read_videos
from distill.report.text import fixed, number, short_names
from distill.runs import PREDICTIONS

_READ = 100_000  # labels that are held in memory
_SHOWN = 12
_REASONS = 20


def pseudo_labels(run: RunFolder, frames: Frames) -> Section | None:
    """Of the labels that a run made or learned from; None where it has none."""
    labels = _labels(run)
    usable = [label for label in labels if label.status == "ok"]
    if not usable and not run.choice_rows and not labels:
        return None
    blocks: list[Any] = []
    figures = _figures(run, usable)
    if figures:
        blocks.append(Figures(figures, "thirds" if len(figures) == 3 else ""))
    blocks += _tables(run, labels)
    blocks += _disputed(run, usable, frames)
    if not blocks:
        return None
    return Section(
        "labels", "Pseudo-labels",
        "What the teacher says of unlabelled videos. Labels that pile up at the ends, or lie where"
        " no MOS does, teach little; a large deviation over members is doubt.",
        blocks,
    )  # fmt: skip


def _labels(run: RunFolder) -> list[Label]:
    if run.store is None:
        return []
    size = len(run.store.index())
    return run.store.read() if size <= _READ else []


def _figures(run: RunFolder, usable: list[Label]) -> list[Figure]:
    mos = [s.mos.tolist() for s in run.subjects if s.split == "val" and len(s.videos)]
    if not mos and run.store is not None:
        teacher = Path(str(run.store.meta.get("bundle", ""))).parent
        mos = [[v.mos for v in read_videos(teacher / PREDICTIONS.format("val"))]]
    before = [label.score for label in usable if math.isfinite(label.score)]
    taken = [row for row in run.choice_rows if number(row.get("weight")) > 0]
    after = [number(row.get("target")) for row in taken]
    series = {"pseudo-labels": before}
    if taken and after != before:
        series = {"learned": after, "as the teacher said": before}
    series["MOS of validation"] = mos[0] if mos else []
    figures = []
    if before or after:
        plot = plots.distributions(series, "Distribution of scores")
        figures.append(Figure("Distribution", plot))
    known = [label for label in usable if math.isfinite(label.std)]
    if known:
        plot = plots.spreads(
            [x.video for x in known], [x.score for x in known], [x.std for x in known]
        )
        note = "High and alone: the members disagree about this video."
        figures.append(Figure("Doubt", plot, note))
    if taken and any(number(row["target"]) != number(row["score"]) for row in taken):
        plot = plots.targets(
            [row["video"] for row in taken], [number(row["score"]) for row in taken], after
        )
        note = "Off the line: labels that a rule has levelled or drawn to the mean."
        figures.append(Figure("What the student learns", plot, note))
    return figures


def _tables(run: RunFolder, labels: list[Label]) -> list[Table]:
    tables = []
    rules = run.choice.get("rules") or []
    if rules:
        rows = [[Cell(str(r["rule"])), Cell(str(r["action"])), whole(r["videos"])] for r in rules]
        tables.append(Table(["rule", "action", "videos"], rows, frozenset({"rule", "action"}),
                            "What the rules did"))  # fmt: skip
    reasons = Counter(
        row["reason"] for row in run.choice_rows if row.get("action") == "dropped" and row["reason"]
    )
    reasons.update(label.reason for label in labels if label.status != "ok")
    if reasons:
        rows = [[Cell(reason), whole(n)] for reason, n in alike(reasons).most_common(_REASONS)]
        tables.append(Table(["reason", "videos"], rows, frozenset({"reason"}), "Left out, and why"))
    kinds = run.choice.get("kinds") or []
    several = Counter(str(row["kind"]) for row in kinds)
    kinds = [row for row in kinds if several[str(row["kind"])] > 1]  # one class is all videos
    if kinds:
        acted = [name for name in ("kept", "weighed", "dropped") if name in kinds[0]]
        rows = [
            [Cell(str(r["kind"])), Cell(str(r["class"])), whole(r["videos"])]
            + [whole(r[name]) for name in acted]
            + [num(r.get("score"), 2), num(r.get("spread"))]
            for r in kinds
        ]
        columns = ["kind", "class", "videos", *acted, "mean score", "mean deviation"]
        tables.append(Table(columns, rows, frozenset({"kind", "class"}), "By kind of video"))
    return tables


def _disputed(run: RunFolder, usable: list[Label], frames: Frames) -> list[Cards]:
    known = sorted(
        (label for label in usable if math.isfinite(label.std)), key=lambda x: (-x.std, x.path)
    )[:_SHOWN]
    if not known:
        return []
    actions = {row["path"]: row for row in run.choice_rows}
    names = short_names([label.video for label in known])
    cards = []
    for label in known:
        frame = frames.of(label.path)
        lines = [f"score {fixed(label.score, 2)}"]
        lines.append(" · ".join(f"{name}\u00a0{fixed(v, 2)}" for name, v in label.members.items()))
        row = actions.get(label.path)
        if row:
            why = f": {row['rule']}" if row.get("rule") else ""
            lines.append(f"{row['action']}{why}")
        cards.append(
            Card(label.video, frame.image, frame.size, frame.reason, f"±{fixed(label.std, 2)}",
                 lines, label=names[label.video])
        )  # fmt: skip
    note = "The members' scores differ most here; the badge is their standard deviation."
    return [Cards("Most disputed", note, cards)]
