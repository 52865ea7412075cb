"""The sections on accuracy against cost, and on a sweep of students."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill.report import cost_plots as plots
from distill.report.answers_of_runs import of_sweep
from distill.report.blocks import Cell, Figure, Figures, Section, Table, num
from distill.report.blocks import cost as cost_cell
from distill.report.cost_plots import Point
from distill.report.folder import RunFolder
from distill.report.subjects import SPLITS, shown
from distill.report.text import number, short


def accuracy_and_cost(run: RunFolder) -> Section | None:
    """The run's models beside what is measured and published, a panel per data set."""
    own = _own_of_sweep(run) if run.kind == "sweep" else _own(run)
    # Scores that come as a table cost nothing, for which a logarithmic axis has no place.
    own = [point for point in own if 0 < point.gmacs < np.inf and np.isfinite(point.srcc)]
    if not own:
        return None
    points = [*own, *plots.measured(), *plots.published()]
    blocks: list[Any] = []
    narrow = dict(plots.front(points, wide=False))
    figures = []
    for data, wide in plots.front(points, wide=True):
        kinds = {point.kind for point in points if point.data == data}
        title = data if "own" in kinds else f"{data} — other videos, not comparable with the above"
        figures.append(
            Figure(title, wide + narrow[data], style="full" if "own" in kinds else "full other")
        )
    blocks.append(Figures(figures))
    blocks.append(Figures([Figure("", plots.keys(points), style="full bare")]))
    rows = [
        [Cell(p.name), num(p.srcc), cost_cell(p.gmacs), num(p.params_m, 2), Cell(p.data),
         Cell(plots.KEYS[p.kind]), Cell(". ".join(filter(None, (p.note, p.source))))]
        for p in points
    ]  # fmt: skip
    columns = ["model", "SRCC", "GMACs", "M parameters", "data", "kind", "source"]
    words = frozenset({"model", "data", "kind", "source"})
    blocks.append(Table(columns, rows, words, fold="The numbers and where they come from"))
    return Section(
        "cost", "Accuracy and cost",
        "Up and to the left is better. Only points of one panel are of the same videos: SRCC of"
        " different data sets cannot be compared, so each has a panel and a scale of its own; the"
        " axis of GMACs is one for all. The line joins the best at each cost.",
        blocks,
    )  # fmt: skip


def sweep(run: RunFolder) -> Section | None:
    """The runs of a sweep, those that were not trained with the reason."""
    if run.kind != "sweep":
        return None
    columns = "run|GMACs|M parameters|val SRCC|val PLCC|test SRCC|95% of test|note".split("|")
    rows = []
    for row in run.sweep:
        low, high = number(row.get("test_low")), number(row.get("test_high"))
        ends = f"[{low:.3f}, {high:.3f}]" if np.isfinite(low) and np.isfinite(high) else ""
        rows.append(
            [Cell(row.get("run", "")), cost_cell(number(row.get("gmacs"))),
             num(number(row.get("params_m")), 2), num(number(row.get("val_srcc"))),
             num(number(row.get("val_plcc"))), num(number(row.get("test_srcc"))),
             Cell(ends, low if ends else None), Cell(_said(row))]
        )  # fmt: skip
    told = of_sweep(run)
    return Section(
        "runs", "Runs",
        "Choose by validation and by cost; the test column is there to report the one chosen.",
        [*([told] if told else []), Table(columns, rows, frozenset({"run", "note"}))],
    )  # fmt: skip


def _said(row: Mapping[str, str]) -> str:
    """Why there is no result, or whose it is."""
    if same := row.get("same_as"):
        return f"the student of {same}, trained once"
    return short(row.get("error") or "", 300)


def _own(run: RunFolder) -> list[Point]:
    kvq = (run.config.get("data") or {}).get("name") == "kvq"  # the data of the published points
    points = []
    for s in run.subjects:
        table = "KVQ" if kvq else s.table or "this data"
        where = f"{table}, {SPLITS.get(s.split, s.split)}"
        gmacs, srcc, params = (shown(s.row, key) for key in ("gmacs", "srcc", "params_m"))
        low, high = shown(s.row, "low"), shown(s.row, "high")
        points.append(Point(s.name, where, gmacs, srcc, params, low, high, source="this run"))
    return points


def _own_of_sweep(run: RunFolder) -> list[Point]:
    table = Path(str((run.config.get("data") or {}).get("manifest") or ""))
    data = table.parent.name or "this data"
    points = []
    for row in run.sweep:
        if row.get("same_as"):
            continue
        name, source = row.get("run", ""), "this sweep"
        cost_, params = number(row.get("gmacs")), number(row.get("params_m"))
        value = number(row.get("val_srcc"))
        points.append(Point(name, f"{data}, validation", cost_, value, params, source=source))
        value, low, high = (number(row.get(f"test_{key}")) for key in ("srcc", "low", "high"))
        points.append(Point(name, f"{data}, test", cost_, value, params, low, high, source=source))
    return points
