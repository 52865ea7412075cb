"""Sections on how scores agree with MOS: plots, other tables, other models."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from markupsafe import Markup

from distill.report import agreement_plots as plots
from distill.report.axes import Axis
from distill.report.blocks import (
    Cell,
    Figure,
    Figures,
    Fold,
    Heading,
    Section,
    Table,
)
from distill.report.folder import RunFolder, teacher_of
from distill.report.frames import embedded
from distill.report.subjects import Subject, by_place, shown
from distill.report.text import fixed, interval, is_number

_CLASSES = (2, 12)  # of a column that is a kind of video and no name or number
_EACH = 3  # videos of a class, at least, on average
_COLUMNS = 3  # of residuals a model
_PAIRS = 6  # of models against each other
_MARKS = 3000  # of the scatter plots of a page: each weighs 170 bytes, and too many hide each other


def agreement(run: RunFolder) -> Section | None:
    """Scatter, calibration and residuals of each model on each table.

    Models of one table stand beside each other on one scale, with the rest of each folded.
    """
    tables: dict[str, list[Subject]] = {}
    for subject in run.subjects:
        tables.setdefault(subject.where, []).append(subject)
    most = min(1000, _MARKS // max(1, len(run.subjects)))
    blocks: list[Any] = []
    for number, (where, subjects) in enumerate(tables.items()):
        drawn = _of_table(subjects, most)
        if drawn and len(tables) > 1 and len(run.subjects) == len(tables) and number:
            note = _measured(subjects[0])
            blocks.append(Fold(f"{subjects[0].name} · {where}", drawn, note))
        elif drawn:
            if len(tables) > 1:
                blocks.append(Heading(where, _measured(subjects[0]) if len(subjects) == 1 else ""))
            blocks += drawn
    if not blocks:
        return None
    return Section(
        "agreement", "Scores against MOS",
        "Points on the dashed line are scored as people did; a bend of the fitted curve is a"
        " scale that differs, scatter around it is disagreement. Point at a mark, or tap it, to see"
        " which video it is; in a plot that has the focus the arrow keys go from mark to mark.",
        blocks,
    )  # fmt: skip


def _measured(subject: Subject) -> str:
    row = subject.row
    return f"SRCC {fixed(row.get('srcc'))} {interval(row.get('low'), row.get('high'))}".strip()


def _of_table(subjects: Sequence[Subject], most: int) -> list[Any]:
    """Plots of the models of one table, on scales that all of them share."""
    values = [v for s in subjects if s.videos for v in (*s.mos, *s.scores)]
    scale = Axis.around(values)
    edge = max((abs(video.residual) for s in subjects for video in s.videos), default=0.0)
    if len(subjects) == 1:
        rest = _details(subjects[0], edge, most)
        figures = [*_scatter(subjects[0], scale, most), *rest]
        return [Figures(figures)] if figures else []
    scatters, folds = [], []
    for subject in subjects:
        for figure in _scatter(subject, scale, most):
            note = f"{_measured(subject)}. {figure.note}".strip()
            scatters.append(replace(figure, title=subject.name, note=note))
        rest = _details(subject, edge, most)
        if rest:
            folds.append(Fold(f"{subject.name}: calibration and residuals", [Figures(rest)]))
    style = "" if len(scatters) in (2, 4) else "thirds"
    return [Figures(scatters, style), *folds] if scatters else []


def _scatter(subject: Subject, scale: Axis, most: int) -> list[Figure]:
    """MOS against score; of an older run without its data the picture that it left."""
    if len(subject.videos) < 3:
        if subject.picture is None:
            return []
        image = Markup('<img class="picture" alt="{}" src="{}">').format(
            f"Scatter plot of {subject.name}, {subject.where}", embedded(subject.picture)
        )
        return [Figure("Score and MOS", image, "A picture of an older run, without its data.")]
    drawn = f"{most} of {len(subject.videos)} videos are drawn; curve and bars are of all."
    note = drawn if len(subject.videos) > most else ""
    return [Figure("MOS against score", plots.scatter(subject, scale, most), note)]


def _details(subject: Subject, edge: float, most: int) -> list[Figure]:
    """Calibration, and residuals by kinds of videos and by content."""
    figures = []
    if len(subject.videos) >= 12:
        figures.append(
            Figure(
                "Calibration",
                plots.calibration(subject),
                "Above the line: the model scores such videos too low. Without a bar: fewer than"
                " three contents.",
            )
        )
    for column in categories(subject)[:_COLUMNS] if len(subject.videos) > 2 else ():
        values = [video.extra.get(column, "") for video in subject.videos]
        figures.append(
            Figure(
                f"Residuals by {column}",
                plots.residuals(subject, column, values, most // 3, edge),
                "Right of zero: scored better than people did.",
            )
        )
    if 2 < len(set(subject.groups)) < len(subject.videos):
        figures.append(
            Figure(
                "Residuals by content",
                plots.residuals(subject, "content", subject.groups, most // 3, edge),
                "The contents that are most off on average, at most twelve.",
            )
        )
    return figures


def categories(subject: Subject) -> list[str]:
    """Columns of the manifest that name kinds of videos, in its order."""
    columns: dict[str, Counter[str]] = {}
    for video in subject.videos:
        for name, value in video.extra.items():
            columns.setdefault(name, Counter())[value] += 1
    low, high = _CLASSES
    return [
        name
        for name, values in columns.items()
        if low <= len(values) <= high and values.total() >= _EACH * len(values) and name != "split"
    ]


def across(run: RunFolder) -> Section | None:
    """Models by tables, where there are several tables."""
    tables = list(dict.fromkeys(s.where for s in run.subjects))
    if run.kind != "evaluate" or len(tables) < 2:
        return None
    names = list(dict.fromkeys(s.name for s in run.subjects))
    held = {(s.name, s.where): s for s in run.subjects}
    rows = []
    for name in names:
        row = [Cell(name)]
        for table in tables:
            subject = held.get((name, table))
            value = shown(subject.row, "srcc") if subject else math.nan
            shade = "" if math.isnan(value) else f"h{min(9, max(0, int(10 * value)))}"
            row.append(Cell(fixed(value), None if math.isnan(value) else value, shade))
        rows.append(row)
    return Section(
        "across", "Across data sets",
        "SRCC of each model on each table: darker is better. Compare down a column; between columns"
        " the videos and the labels differ.",
        [Table(["model", *tables], rows, frozenset({"model"}))],
    )  # fmt: skip


def against(run: RunFolder) -> Section | None:
    """Models against each other on the videos that both scored."""
    pairs: list[tuple[Subject, Subject]] = []
    if run.kind == "evaluate":
        pairs = [(a, b) for a, b in combinations(run.subjects, 2) if a.where == b.where]
    elif run.kind == "train_student":
        teacher = teacher_of(run)
        students = [s for s in run.subjects if s.split == "val"]
        pairs = [(teacher, s) for s in students] if teacher else []
    figures = []
    for a, b in pairs[:_PAIRS]:
        first, other = by_place(a.videos), by_place(b.videos)
        both = [place for place in first if place in other]
        if len(both) < 3:
            continue
        x = Subject(a.name, a.table, a.split, a.row, [first[place] for place in both])
        y = Subject(b.name, b.table, b.split, b.row, [other[place] for place in both])
        label = f"Scores of {b.name} against those of {a.name}, {b.where}: {len(both)} videos"
        note = _agree(x, y)
        figures.append(
            Figure(f"{b.name} against {a.name}", plots.against(x, y, label, _MARKS // _PAIRS), note)
        )
    if not figures:
        return None
    return Section(
        "against",
        "Student against teacher" if run.kind == "train_student" else "Models against each other",
        "Far from the line the two disagree: videos to look at, and the ones where they would add"
        " something to each other.",
        [Figures(figures, "thirds" if len(figures) > 2 else "")],
    )  # fmt: skip


def _agree(x: Subject, y: Subject) -> str:
    from distill.metrics import srcc

    value = srcc(x.scores, y.scores)
    off = srcc(x.scores - x.mos, y.scores - y.mos)
    told = f"Their scores correlate by {fixed(value, 2)} (SRCC)"
    if is_number(off):
        told += f", their errors by {fixed(off, 2)}"
    return told + "."
