"""Plots of scores over each other, of the members' spread, and of scores over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from distill.report.axes import Axis
from distill.report.statistics import histogram, thinned
from distill.report.svg import Plot, legend
from distill.report.text import count, fixed, short

_BINS = 28
_MOST = 1000  # marks of a plot
_STYLES = ("c1 area", "c2 thick", "c3 dashed")


def distributions(series: Mapping[str, Sequence[float]], label: str) -> Markup:
    """Shares of the videos by score, the first series filled and the others as lines.

    Args:
        series: name -> scores; at least one score in all.
        label: what the plot shows.
    """
    series = {name: values for name, values in series.items() if len(values)}
    axis = Axis.around([v for values in series.values() for v in values], "score")
    tall = {
        name: histogram(np.asarray(values), axis.low, axis.high, _BINS) / len(values)
        for name, values in series.items()
    }
    most = max(float(shares.max()) for shares in tall.values())
    plot = Plot(f"{label}: {', '.join(series)}", axis, Axis(0, 100 * most * 1.08, "% of videos"))
    plot.grid()
    edges = np.linspace(axis.low, axis.high, _BINS + 1)
    keys = []
    for at, (name, shares) in enumerate(tall.items()):
        style = _STYLES[at % len(_STYLES)]
        if at == 0:
            for i, share in enumerate(shares):
                left, right = plot.px(float(edges[i])), plot.px(float(edges[i + 1]))
                top = plot.py(100 * float(share))
                tip = f"{name}\n{fixed(edges[i], 2)} to {fixed(edges[i + 1], 2)}: {share:.1%}"
                plot.box(left + 0.5, top, right - left - 1, plot.py(0) - top, "c1 bar", tip)
        else:
            ends = [(float(edges[i]), 100 * float(share)) for i, share in enumerate(shares)]
            plot.line([*ends, (float(edges[-1]), ends[-1][1])], style, steps=True)
        shape, style = ("square", "c1 bar") if at == 0 else ("line", style)
        keys.append((style, shape, f"{name} ({len(series[name])})"))
    return plot.render() + legend(keys)


def spreads(names: Sequence[str], scores: Sequence[float], stds: Sequence[float]) -> Markup:
    """Deviation over the members against the score.

    Args:
        names, scores, stds: (N,) of the labels that have a deviation, N >= 1.
    """
    plot = Plot(
        f"Deviation over the members against the pseudo-label: {count(len(names), 'video')}",
        Axis.around(scores, "pseudo-label"),
        Axis(0.0, max(max(stds), 1e-6) * 1.08, "deviation over members"),
    )  # fmt: skip
    plot.grid()
    for at in thinned(len(names), _MOST):
        tip = f"{short(names[at], 60)}\nscore {fixed(scores[at], 2)}, deviation {fixed(stds[at])}"
        plot.mark(scores[at], stds[at], "c1 dot", tip, r=3.4)
    return plot.render()


def targets(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> Markup:
    """What is learned of a label against what the teacher said of it.

    Args:
        names, before, after: (N,) of the labels that are learned from, N >= 1.
    """
    axis = Axis.around([*before, *after])
    plot = Plot(
        f"Target against the teacher's score: {count(len(names), 'video')}",
        Axis(axis.low, axis.high, "teacher's score"), Axis(axis.low, axis.high, "target"),
    )  # fmt: skip
    plot.grid()
    plot.line([(axis.low, axis.low), (axis.high, axis.high)], "ref")
    for at in thinned(len(names), _MOST):
        tip = (
            f"{short(names[at], 60)}\nteacher {fixed(before[at], 2)}, target {fixed(after[at], 2)}"
        )
        plot.mark(before[at], after[at], "c1 dot", tip, r=3.4)
    return plot.render()


def over_time(
    values: Sequence[float], scale: tuple[float, float], mos: float, seconds: float
) -> Markup:
    """Frame scores over time, the MOS as a line.

    Args:
        values: calibrated scores of the frames, equally spaced; at least two.
        scale: ends of the axis, one for all videos of a page.
        mos: NaN where unknown.
        seconds: of the video; NaN or 0 where unknown.
    """
    low = min(scale[0], *values, *([mos] if mos == mos else []))
    high = max(scale[1], *values, *([mos] if mos == mos else []))
    long = seconds if seconds and seconds == seconds else float(len(values) - 1)
    x = Axis(0.0, long, "seconds" if long == seconds else "frame")
    plot = Plot(
        f"Scores of {len(values)} frames over time, from {fixed(min(values), 2)}"
        f" to {fixed(max(values), 2)}",
        x, Axis(low, high + 1e-9), width=180, height=84, left=27, right=6, top=6, bottom=18,
    )  # fmt: skip
    for level, text in plot.y.ticks(2):
        plot.rule(plot.left, plot.py(level), plot.width - plot.right, plot.py(level), "grid")
        plot.text(plot.left - 4, plot.py(level) + 3.5, text, "tick end")
    if mos == mos:
        plot.line([(0.0, mos), (long, mos)], "ref")
    at = [long * (i + 0.5) / len(values) for i in range(len(values))]
    plot.line(list(zip(at, values, strict=True)), "c1 thick")
    for when, value in zip(at, values, strict=True):
        unit = f"{when:.1f} s" if long == seconds else f"frame {when:.0f}"
        plot.mark(when, value, "c1 solid", f"{unit}: {fixed(value, 2)}", r=2.6)
    plot.text(plot.left, plot.height - 5, "0", "tick middle")
    end = f"{long:.1f} s" if long == seconds else f"{len(values)} frames"
    plot.text(plot.width - plot.right, plot.height - 5, end, "tick end")
    return plot.render("spark")
