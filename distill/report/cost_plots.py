"""Accuracy against cost: the run's models, the project's measured students, published systems.

Correlations on different data sets are not comparable. Each data set and split has a panel of its
own, with its own scale; only the axis of GMACs is one for all.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

import numpy as np
from markupsafe import Markup

from distill.report.axes import Axis
from distill.report.svg import Plot, legend
from distill.report.text import fixed, gmacs, interval, number, short

_SHAPES = {"own": ("c1 solid", "circle"), "measured": ("c3 solid", "square"),
           "published": ("c2 solid", "diamond")}  # fmt: skip
_APART = 8.0  # pixels between the intervals of models of one cost
_NAMED = 6  # marks of a panel that all get a name
_LEFT = 64  # margin of every panel, so that their axes of GMACs stand above each other
KEYS = {"own": "this run", "measured": "measured with this project", "published": "published"}


@dataclass(frozen=True)
class Point:
    """A model in the plane of cost and accuracy.

    Attributes:
        name: of the model.
        data: data set and split that ``srcc`` is of; those of other data are not comparable.
        gmacs: a video; NaN where nobody says.
        params_m: millions of parameters; NaN likewise.
        srcc, low, high: and its interval; NaN where there is none.
        kind: own, measured or published.
        note, source: for the table.
    """

    name: str
    data: str
    gmacs: float
    srcc: float
    params_m: float = np.nan
    low: float = np.nan
    high: float = np.nan
    kind: str = "own"
    note: str = ""
    source: str = ""


def published() -> list[Point]:
    """Systems with published scores, ``published.csv``."""
    rows = csv.DictReader(
        files("distill.report").joinpath("published.csv").read_text("utf-8").splitlines()
    )
    return [
        Point(
            row["system"], f"{row['data']}, {row['split']}", number(row["gmacs"]),
            float(row["srcc"]), number(row["params_m"]), kind="published",
            note=row["note"], source=row["source"],
        )
        for row in rows
    ]  # fmt: skip


def measured() -> list[Point]:
    """Means over seeds of ``students/measured.csv``, with pseudo-labels and with MOS alone."""
    text = files("students").joinpath("measured.csv").read_text("utf-8")
    found: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        if row["arm"] in ("distilled", "mos"):
            found.setdefault((row["rung"], row["arm"], row["data"]), []).append(row)
    points = []
    for (rung, arm, data), rows in found.items():
        values = [float(row["val_srcc"]) for row in rows]
        seeds = f"{len(rows)} seed{'s' * (len(rows) > 1)}: " + " ".join(f"{v:.3f}" for v in values)
        points.append(
            Point(
                f"{rung}, {'MOS alone' if arm == 'mos' else arm}", f"{data}, validation",
                float(rows[0]["gmacs"]), float(np.mean(values)), float(rows[0]["params_m"]),
                kind="measured", note=seeds, source="students/measured.csv",
            )
        )  # fmt: skip
    return points


def front(points: Sequence[Point], wide: bool) -> list[tuple[str, Markup]]:
    """A panel per data set, the run's own first.

    Args:
        points: at least one with a cost.
        wide: for the width of a page; else for a phone.

    Returns:
        (data set and split, plot) each.
    """
    drawn = [p for p in points if np.isfinite(p.gmacs) and np.isfinite(p.srcc)]
    panels: dict[str, list[Point]] = {}
    for point in sorted(drawn, key=lambda p: list(_SHAPES).index(p.kind)):
        panels.setdefault(point.data, []).append(point)
    x = Axis.around([p.gmacs for p in drawn], "GMACs a video", log=True, room=0.08)
    return [(data, _panel(data, inside, x, wide)) for data, inside in panels.items()]


def _panel(data: str, points: Sequence[Point], x: Axis, wide: bool) -> Markup:
    ends = [v for p in points for v in (p.srcc, p.low, p.high)]
    plot = Plot(
        f"SRCC against GMACs a video on {data}: " + ", ".join(p.name for p in points),
        x, Axis.around(ends, "SRCC", room=0.16), width=820 if wide else 400,
        height=240 if len(points) > 2 else 200, left=_LEFT,
    )  # fmt: skip
    plot.grid(ticks=8 if wide else 5)
    best, steps = -np.inf, []
    for point in sorted(points, key=lambda p: (p.gmacs, -p.srcc)):
        if point.srcc > best:
            best = point.srcc
            steps.append((point.gmacs, best))
    if len(steps) > 1:
        style = _SHAPES[points[0].kind][0].replace("solid", "faint")
        plot.line([*steps, (x.high, best)], style, steps=True)
    places = beside(points, x, _APART / (plot.width - plot.left - plot.right))
    for point, at in reversed([*zip(points, places, strict=True)]):  # the run's own on top
        style, shape = _SHAPES[point.kind]
        if np.isfinite(point.low) and np.isfinite(point.high):
            plot.line([(at, point.low), (at, point.high)], style.replace("solid", "whisker"))
        tip = f"{point.name}\n{gmacs(point.gmacs)} GMACs, SRCC {fixed(point.srcc)}"
        tip += f" {interval(point.low, point.high)}\n{point.note}"
        plot.mark(at, point.srcc, style, tip.strip(), shape=shape, r=5.5)
    placed = [replace(point, gmacs=at) for point, at in zip(points, places, strict=True)]
    _names(plot, placed, 40 if wide else 24)
    return plot.render("wide" if wide else "narrow")


def beside(points: Sequence[Point], x: Axis, apart: float) -> list[float]:
    """Where points are drawn, in GMACs: those of one cost that have intervals beside each other.

    Args:
        points: of a panel.
        x: axis of GMACs.
        apart: distance, as a share of the axis.
    """
    same: dict[float, list[int]] = {}
    for number_, p in enumerate(points):
        if np.isfinite(p.low) and np.isfinite(p.high):
            same.setdefault(round(x.share(p.gmacs) / apart), []).append(number_)
    places = [p.gmacs for p in points]
    for members in same.values():
        for rank, at in enumerate(members):
            shift = (rank - (len(members) - 1) / 2) * apart
            places[at] *= (x.high / x.low) ** shift
    return places


def _names(plot: Plot, points: Sequence[Point], letters: int) -> None:
    """Names beside the marks, each where it hides the least; left out where there is no room."""
    taken = [(plot.px(p.gmacs) - 7, plot.py(p.srcc) - 7, plot.px(p.gmacs) + 7, plot.py(p.srcc) + 7)
             for p in points]  # fmt: skip
    taken += [(plot.px(p.gmacs) - 2, plot.py(p.high), plot.px(p.gmacs) + 2, plot.py(p.low))
              for p in points if np.isfinite(p.low) and np.isfinite(p.high)]  # fmt: skip
    for point in points:
        if point.kind == "measured" and len(points) > _NAMED:  # the table and the tips name them
            continue
        cx, cy, words = plot.px(point.gmacs), plot.py(point.srcc), short(point.name, letters)
        wide = 6.1 * len(words)
        for left, top, style in (
            (cx + 10, cy - 7, "start"), (cx - 10 - wide, cy - 7, "end"),
            (cx - wide / 2, cy - 24, "middle"), (cx - wide / 2, cy + 10, "middle"),
            (cx + 8, cy - 21, "start"), (cx - 8 - wide, cy - 21, "end"),
            (cx + 8, cy + 7, "start"), (cx - 8 - wide, cy + 7, "end"), *_ends(plot, point, wide),
        ):  # fmt: skip
            box = (left, top, left + wide, top + 14)
            inside = left >= plot.left and box[2] <= plot.width and top >= 0
            inside = inside and box[3] <= plot.height - plot.bottom
            if inside and not any(_meet(box, other) for other in taken):
                at = {"start": left, "end": left + wide, "middle": cx}[style]
                plot.text(at, top + 11, words, f"name {style}")
                taken.append(box)
                break


def _ends(plot: Plot, point: Point, wide: float) -> list[tuple[float, float, str]]:
    """Places of a name at the ends of an interval."""
    if not (np.isfinite(point.low) and np.isfinite(point.high)):
        return []
    left = plot.px(point.gmacs) - wide / 2
    return [(left, plot.py(point.low) + 4, "middle"), (left, plot.py(point.high) - 18, "middle")]


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def keys(points: Sequence[Point]) -> Markup:
    """The legend of the kinds that occur."""
    kinds = {point.kind for point in points}
    return legend([(*_SHAPES[kind], KEYS[kind]) for kind in _SHAPES if kind in kinds])
