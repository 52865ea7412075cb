"""Plots of how well scores agree with MOS."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from distill.metrics import fit_logistic4
from distill.report.axes import Axis
from distill.report.statistics import equal_bins, histogram, mean_over_contents, thinned
from distill.report.subjects import Subject, Video
from distill.report.svg import Plot, legend
from distill.report.text import count, fixed, interval, short

_BINS = 24  # of a marginal
_MARGINAL = 34.0  # its height
_ROWS = 12  # classes of a plot


def told(video: Video) -> str:
    """What is said of a video's point."""
    return (
        f"{short(video.video, 60)}\nMOS {fixed(video.mos, 2)}, score {fixed(video.score, 2)}"
        f" ({fixed(video.residual, 2, sign=True)})"
    )


def scatter(subject: Subject, scale: Axis, most: int) -> Markup:
    """MOS against score, with the diagonal, the fitted logistic and both distributions.

    Args:
        subject: with predictions.
        scale: of both axes, one for all models of a table.
        most: videos that are drawn; the curve and the distributions are of all.
    """
    mos, scores = subject.mos, subject.scores
    low, high = scale.low, scale.high
    plot = Plot(
        f"Scatter plot of MOS against the score of {subject.name}, {subject.where}:"
        f" {count(len(mos), 'video')}",
        Axis(low, high, "score"), Axis(low, high, "MOS"),
        height=400, top=12 + _MARGINAL, right=12 + _MARGINAL,
    )  # fmt: skip
    plot.grid()
    plot.line([(low, low), (high, high)], "ref")
    for at in thinned(len(mos), most):
        video = subject.videos[at]
        plot.mark(video.score, video.mos, "c1 dot", told(video), r=3.6)
    if len(mos) >= 5:
        curve = fit_logistic4(scores, mos)
        xs = np.linspace(scores.min(), scores.max(), 60)
        plot.line(list(zip(xs.tolist(), curve(xs).tolist(), strict=True)), "c2 thick")
    _marginals(plot, scores, mos)
    keys = [("c1 dot", "circle", "a video"), ("ref", "line", "score = MOS")]
    keys.append(("c2 thick", "line", "logistic fitted to this table"))
    return plot.render("square") + legend(keys)


def _marginals(plot: Plot, scores: np.ndarray, mos: np.ndarray) -> None:
    """Distributions of the scores above the field and of the MOS to its right."""
    edges = np.linspace(plot.x.low, plot.x.high, _BINS + 1)
    across = histogram(scores, plot.x.low, plot.x.high, _BINS)
    along = histogram(mos, plot.y.low, plot.y.high, _BINS)
    most = max(int(across.max()), int(along.max()), 1)
    right = plot.width - plot.right + 3
    for at in range(_BINS):
        a, b = float(edges[at]), float(edges[at + 1])
        if across[at]:
            tall = _MARGINAL * across[at] / most
            plot.box(plot.px(a) + 0.5, plot.top - 3 - tall, plot.px(b) - plot.px(a) - 1, tall,
                     "c1 bar")  # fmt: skip
        if along[at]:
            long = _MARGINAL * along[at] / most
            plot.box(right, plot.py(b) + 0.5, long, plot.py(a) - plot.py(b) - 1, "c1 bar")


def calibration(subject: Subject) -> Markup:
    """Mean MOS of videos with like scores, with 95% intervals over contents."""
    mos, scores, groups = subject.mos, subject.scores, subject.groups
    bins = equal_bins(scores, min(8, max(2, len(scores) // 6)))
    means = [mean_over_contents(mos[at], [groups[i] for i in at]) for at in bins]
    # Of few contents an interval may be wider than all MOS: it ends where they do.
    least, most = float(mos.min()), float(mos.max())
    ends = [min(max(e, least), most) for m in means for e in (m.low, m.high) if np.isfinite(e)]
    middles = [v for m, at in zip(means, bins, strict=True) for v in (m.value, scores[at].mean())]
    axis = Axis.around([*ends, *map(float, middles)])
    plot = Plot(
        f"Calibration of {subject.name}, {subject.where}: mean MOS of {len(bins)} bins of scores",
        Axis(axis.low, axis.high, "mean score of a bin"), Axis(axis.low, axis.high, "mean MOS"),
        height=400,
    )  # fmt: skip
    plot.grid()
    plot.line([(axis.low, axis.low), (axis.high, axis.high)], "ref")
    points = []
    for at, mean in zip(bins, means, strict=True):
        x = float(scores[at].mean())
        points.append((x, mean.value))
        if np.isfinite(mean.low):
            plot.line([(x, max(mean.low, least)), (x, min(mean.high, most))], "c1 whisker")
    plot.line(points, "c1 faint")
    for (x, y), mean in zip(points, means, strict=True):
        plot.mark(
            x, y, "c1 solid",
            f"{count(mean.n, 'video')}, {count(mean.contents, 'content')}\nscore {fixed(x, 2)}:"
            f" MOS {fixed(y, 2)} {interval(mean.low, mean.high, 2)}", r=5,
        )  # fmt: skip
    keys = [("c1 solid", "circle", "a bin of videos")]
    if any(np.isfinite(mean.low) for mean in means):
        keys.append(("c1 whisker", "line", "95% over contents"))
    return plot.render("square") + legend([*keys, ("ref", "line", "score = MOS")])


def residuals(
    subject: Subject, column: str, values: Sequence[str], most: int, edge: float = 0.0
) -> Markup:
    """Score minus MOS by the classes of a column: every video, and means with 95% intervals.

    Args:
        subject: with predictions.
        column: its name, for the words.
        values: (N,) class of each video; the twelve with the largest means are shown.
        most: videos that are drawn; the means are of all.
        edge: reach of the axis to both sides, at least, in MOS; one for all models of a table.
    """
    errors = subject.scores - subject.mos
    groups = subject.groups
    classes: dict[str, list[int]] = {}
    for at, value in enumerate(values):
        classes.setdefault(value, []).append(at)
    rows = [
        (name, at, mean_over_contents(errors[at], [groups[i] for i in at]))
        for name, at in classes.items()
    ]
    rows = sorted(rows, key=lambda row: (-abs(row[2].value), row[0]))[:_ROWS]
    rows.sort(key=lambda row: (-row[2].value, row[0]))
    shown = [float(errors[i]) for _, at, _ in rows for i in at]
    edge = max(0.1, edge, *(abs(value) for value in shown)) * 1.06
    pitch = 40
    plot = Plot(
        f"Residuals of {subject.name} by {column}, {subject.where}",
        Axis(-edge, edge, "score − MOS"), Axis(0, len(rows)),
        height=76 + pitch * len(rows), left=14, right=14, top=32,
    )  # fmt: skip
    plot.grid(y=False)
    plot.text(plot.width - plot.right, 18, "mean · videos", "tick end")
    plot.rule(plot.px(0), plot.top, plot.px(0), plot.height - plot.bottom, "zero")
    for number, (name, members, mean) in enumerate(rows):
        level = len(rows) - number - 0.66
        plot.text(plot.left, plot.py(level) - 12, short(name or "(empty)", 36), "name start")
        plot.text(
            plot.width - plot.right, plot.py(level) - 12,
            f"{fixed(mean.value, 2, sign=True)} · {mean.n}", "name end",
        )  # fmt: skip
        for i in [members[j] for j in thinned(len(members), max(2, most // len(rows)))]:
            plot.mark(float(errors[i]), level, "c1 mist", told(subject.videos[i]), r=3.2)
        if np.isfinite(mean.low):  # of few contents it may be wider than the plot
            ends = [(max(-edge, mean.low), level), (min(edge, mean.high), level)]
            plot.line(ends, "c2 whisker")
        tip = f"{name or '(empty)'}: {count(mean.n, 'video')}, {count(mean.contents, 'content')}"
        tip += f"\nmean {fixed(mean.value, 3, sign=True)} {interval(mean.low, mean.high)}"
        plot.mark(mean.value, level, "c2 solid", tip, shape="diamond", r=4.5)
    sure = any(np.isfinite(mean.low) for _, _, mean in rows)  # no class of one content has ends
    told_mean = "mean, 95% over contents" if sure else "mean"
    return plot.render() + legend(
        [("c1 mist", "circle", "a video"), ("c2 solid", "diamond", told_mean)]
    )


def dots(subjects: Sequence[Subject], style: str = "") -> Markup:
    """SRCC of several models of one table with intervals, a row each.

    Args:
        subjects: at least one.
        style: ``wide`` for the width of a page and ``narrow`` for that of a phone alone; else for
            half a page.
    """
    wide = style == "wide"
    rows = [(s, s.row.get("srcc"), s.row.get("low"), s.row.get("high")) for s in subjects]
    ends = [float(v) for _, *values in rows for v in values if v is not None]
    sure = any(low is not None for *_, low, _ in rows)
    pitch = 42
    plot = Plot(
        f"SRCC of each model{' with its 95% interval over contents' if sure else ''}",
        Axis.around(ends, "SRCC"), Axis(0, len(rows)),
        width=820 if wide else 400, height=56 + pitch * len(rows), left=14, right=14,
    )  # fmt: skip
    plot.grid(y=False, ticks=8 if wide else 5)
    for number, (subject, value, low, high) in enumerate(rows):
        level = len(rows) - number - 0.66
        name = subject.name
        plot.text(plot.left, plot.py(level) - 13, short(name, 100 if wide else 40), "name start")
        if value is None:
            plot.text(plot.left, plot.py(level) + 4, "no number", "tick start")
            continue
        if low is not None and high is not None:
            plot.line([(float(low), level), (float(high), level)], "c1 whisker")
        tip = f"{name}\nSRCC {fixed(value)} {interval(low, high)}"
        plot.mark(float(value), level, "c1 solid", tip, r=5.5)
    return plot.render(style)


def against(x: Subject, y: Subject, label: str, most: int) -> Markup:
    """Scores of two models for the same videos.

    Args:
        x, y: of the same videos, in the same order.
        label: what is shown, for those who cannot see it.
        most: videos that are drawn.
    """
    axis = Axis.around([*x.scores, *y.scores])
    plot = Plot(
        label, Axis(axis.low, axis.high, f"score of {short(x.name, 27)}"),
        Axis(axis.low, axis.high, f"score of {short(y.name, 27)}"), height=400, left=60,
    )  # fmt: skip
    plot.grid()
    plot.line([(axis.low, axis.low), (axis.high, axis.high)], "ref")
    for at in thinned(len(x.videos), most):
        a, b = x.videos[at], y.videos[at]
        tip = f"{short(a.video, 60)}\n{x.name} {fixed(a.score, 2)}, {y.name} {fixed(b.score, 2)}"
        plot.mark(a.score, b.score, "c1 dot", f"{tip}, MOS {fixed(a.mos, 2)}", r=3.6)
    return plot.render("square")
