"""Pictures of a run: predictions against MOS, label distributions, learning curves, worst cases."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from distill.data.reader import VideoReader
from distill.errors import VideoError
from distill.inference import Scored
from distill.metrics import Scores

BLUE, ORANGE, GREY = "#3366aa", "#dd7722", "#888888"
_COLOURS = {"loss": "black", "srcc": BLUE, "plcc": ORANGE}
# Of the other terms of a loss: told apart from these, and from each other, by all eyes.
_OTHERS = ("#00805c", "#a84c83", "#8a6a00", "#56b4e9", "#6b7078")
_LEAST = 0.1  # range of an axis of correlations


def scatter(
    path: Path, predicted: Sequence[float], mos: Sequence[float], scores: Scores, title: str
) -> None:
    """MOS against predicted score, as in the report, with the diagonal and the correlations."""
    figure, axes = plt.subplots(figsize=(5.2, 5.2))
    low = float(min(np.min(predicted), np.min(mos))) - 0.1
    high = float(max(np.max(predicted), np.max(mos))) + 0.1
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, zorder=1, label="score = MOS")
    axes.scatter(predicted, mos, s=22, color=BLUE, alpha=0.65, edgecolors="none", zorder=2)
    axes.set(xlim=(low, high), ylim=(low, high), xlabel="predicted score", ylabel="MOS")
    axes.set_title(
        f"{title}\nSRCC {scores.srcc:.3f}   PLCC {scores.plcc:.3f}   "
        f"RMSE {scores.rmse_raw:.3f}   n = {scores.n}",
        fontsize=10,
    )
    axes.set_aspect("equal")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    save(figure, path)


def distributions(path: Path, series: Mapping[str, Sequence[float]], title: str) -> None:
    """Histograms of scores over each other, for example MOS and pseudo-labels."""
    figure, axes = plt.subplots(figsize=(6, 3.6))
    everything = np.concatenate([np.asarray(values, float) for values in series.values()])
    bins = np.linspace(everything.min(), everything.max() + 1e-9, 25)
    for (name, values), colour in zip(series.items(), (BLUE, ORANGE, GREY), strict=False):
        axes.hist(
            values, bins=list(bins), density=True, alpha=0.55, color=colour,
            label=f"{name} (n = {len(values)})",
        )  # fmt: skip
    axes.set(xlabel="score", ylabel="density", title=title)
    axes.legend(fontsize=8, frameon=False)
    save(figure, path)


def curves(path: Path, logs: Sequence[Path]) -> None:
    """Learning curves by loss part, and the validation correlations, from the CSV logs."""
    columns: dict[str, dict[int, float]] = {}
    for log in logs:
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name.startswith(("train/", "val/")):
                        columns.setdefault(name, {})[int(row["step"])] = float(value)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    for name, points in sorted(columns.items()):
        steps, values = zip(*sorted(points.items()), strict=True)
        part, _, what = name.partition("/")
        colour = _COLOURS.get(what) or _OTHERS[len(left.lines) % len(_OTHERS)]
        if part == "train" and what != "data_wait":  # which is a share of time
            width = 2.0 if what == "loss" else 1.3
            left.plot(steps, _smooth(values), label=what, linewidth=width, color=colour)
        elif name in ("val/srcc", "val/plcc"):
            label = what.upper()
            right.plot(steps, values, marker="o", markersize=4, label=label, color=colour)
    low, high = right.get_ylim()
    if right.lines and high - low < _LEAST:  # noise does not fill the picture
        right.set_ylim((low + high - _LEAST) / 2, (low + high + _LEAST) / 2)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set(xlabel="step", title="training loss by part (running mean)")
    right.set(xlabel="step", title="validation correlation")
    for axes in (left, right):
        axes.grid(alpha=0.25)
        if axes.lines:
            axes.legend(fontsize=8, frameon=False)
    save(figure, path)


def range_test(
    path: Path, factors: Sequence[float], losses: Sequence[float], smooth: Sequence[float],
    chosen: float | None, lr: float,
) -> None:  # fmt: skip
    """Loss against learning rate, and the rate that was chosen.

    Args:
        path: of the picture.
        factors: on all rates, by step; at least as many as losses.
        losses, smooth: of each step, and their running mean.
        chosen: factor; None where none was.
        lr: what a factor of 1 means for new layers.
    """
    rates = lr * np.asarray(factors[: len(losses)])
    figure, axes = plt.subplots(figsize=(6, 3.6))
    axes.plot(rates, losses, color=GREY, linewidth=0.8, label="loss of each step")
    axes.plot(rates, smooth, color=BLUE, label="running mean")
    axes.axvline(lr, color=GREY, linestyle=":", label=f"as given: {lr:.3g}")
    if chosen is not None:
        axes.axvline(lr * chosen, color=ORANGE, label=f"chosen: {lr * chosen:.3g}")
    axes.set(xlabel="learning rate of new layers", ylabel="loss", title="learning-rate range test")
    axes.set_xscale("log")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False)
    save(figure, path)


def worst_cases(
    path: Path, results: Sequence[Scored], predicted: Sequence[float], reader: VideoReader
) -> None:
    """The middle frames of the six videos with the largest errors."""
    errors = [abs(p - r.row.mos) for p, r in zip(predicted, results, strict=True)]
    order = np.argsort(errors)[::-1][:6]
    figure, axes = plt.subplots(2, 3, figsize=(10, 6.4))
    for axis in axes.flat:
        axis.axis("off")
    for axis, at in zip(axes.flat, order, strict=False):
        result = results[at]
        axis.set_title(
            f"{result.row.video}\nMOS {result.row.mos:.2f}, predicted {predicted[at]:.2f}",
            fontsize=8,
        )
        assert result.info is not None
        try:
            for _, frame in reader.read(result.row.path, [result.info.num_frames // 2]):
                axis.imshow(frame)
        except VideoError as error:
            axis.text(0.5, 0.5, error.reason, ha="center", wrap=True, fontsize=7)
    save(figure, path)


def comparison(path: Path, rows: Sequence[Mapping[str, object]], title: str) -> None:
    """SRCC with its interval for each model of a table, GMACs beside the name.

    Args:
        path: of the picture.
        rows: each with ``name``, ``srcc``, ``low``, ``high``, ``gmacs``; None where an SRCC or
            an interval is not defined, and nothing is drawn.
        title: of the picture.
    """
    figure, axes = plt.subplots(figsize=(7, 0.7 * len(rows) + 1.6))
    for at, row in enumerate(rows):
        value, low, high = (_drawn(row[key]) for key in ("srcc", "low", "high"))
        axes.plot([low, high], [at, at], color=GREY, linewidth=2)
        axes.plot(value, at, "o", color=BLUE, markersize=8)
        if np.isfinite(value):
            axes.annotate(
                f"{value:.3f}", (value, at), (0, 8), textcoords="offset points", ha="center"
            )
    names = [f"{row['name']}\n{float(str(row['gmacs'])):.2f} GMACs" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.invert_yaxis()
    axes.margins(y=0.25)
    axes.set(xlabel="SRCC, with the 95% interval over contents", title=title)
    axes.grid(axis="x", alpha=0.25)
    save(figure, path)


def front(
    path: Path, runs: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]]
) -> None:
    """SRCC against GMACs of the students of a sweep, and those that were not trained by name.

    Args:
        path: of the picture.
        runs: each with ``run``, ``gmacs``, ``params_m``, ``val_srcc`` and, or None, ``test_srcc``
            with its interval ``test_low``, ``test_high``.
        refused: each with ``run`` and ``error``.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4.8))
    ordered = sorted(runs, key=lambda run: run["gmacs"])
    best, front_x, front_y = -np.inf, [], []
    for run in ordered:
        if run["val_srcc"] > best:
            best = run["val_srcc"]
            front_x.append(run["gmacs"])
            front_y.append(best)
    axes.step(front_x, front_y, where="post", color=BLUE, linewidth=1.2, alpha=0.6)
    axes.plot(
        [r["gmacs"] for r in ordered], [r["val_srcc"] for r in ordered], "o", color=BLUE,
        markersize=7, label="validation, which a choice is made by",
    )  # fmt: skip
    tested = [run for run in ordered if run["test_srcc"] is not None]
    if tested:
        axes.errorbar(
            [r["gmacs"] * 1.02 for r in tested], [r["test_srcc"] for r in tested],
            yerr=np.abs([[r["test_srcc"] - _drawn(r["test_low"]) for r in tested],
                         [_drawn(r["test_high"]) - r["test_srcc"] for r in tested]]),
            fmt="s", color=ORANGE, markersize=5, capsize=3, linewidth=1,
            label="test, 95% over contents",
        )  # fmt: skip
    for run in ordered:
        axes.annotate(
            f"{run['run']}\n{run['params_m']:.1f} M", (run["gmacs"], run["val_srcc"]), (-8, 0),
            textcoords="offset points", ha="right", va="bottom", fontsize=7,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15, y=0.12)
    axes.set(xlabel="GMACs a video (fvcore multiply-adds)", ylabel="SRCC")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    if refused:
        lines = [f"{run['run']}: {str(run['error']).split('. ')[0][:130]}" for run in refused]
        figure.text(0.01, 0.01, "not trained:\n" + "\n".join(lines), fontsize=7, color=GREY)
    save(figure, path, bottom=0.035 * (len(refused) + 1) if refused else 0.0)


def _drawn(value: Any) -> float:
    """A number of a result, whose null is a place where nothing is drawn."""
    return np.nan if value is None else float(value)


def _smooth(values: Sequence[float], window: int = 10) -> np.ndarray:
    total = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (total[ends] - total[starts]) / (ends - starts)


def save(figure: Figure, path: Path, bottom: float = 0.0) -> None:
    """Write a figure and forget it; the share ``bottom`` of its height is left to a text."""
    figure.tight_layout(rect=(0, bottom, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)
