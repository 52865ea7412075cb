"""Pictures of what became of pseudo-labels: scores before and after, kinds, the most disputed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from distill.choice import Decision
from distill.data.reader import VideoReader
from distill.data.spool import local
from distill.errors import VideoError
from distill.kinds import ACTIONS
from distill.labels import Label
from distill.plots import BLUE, GREY, ORANGE, save

COLOURS = {"kept": BLUE, "weighed": "#8fb0dd", "dropped": ORANGE}
_CLASSES = 16  # rows of the kinds that fit a picture; all are in the JSON
_WIDE = 18  # letters of a video's name that fit above its picture


def before_and_after(path: Path, decisions: Sequence[Decision], mos: Sequence[float]) -> None:
    """Pseudo-labels as the teacher gave them and as the student learns them, and what rules did.

    Args:
        path: of the picture.
        decisions: on all labels of the store.
        mos: scores of the labelled training videos, for comparison.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10.5, 3.9), gridspec_kw={"width_ratios": [1.7, 1]}
    )
    taken = [d for d in decisions if d.weight > 0]
    before = [d.label.score for d in decisions]
    after, weight = [d.target for d in taken], [d.weight for d in taken]
    worth = f", worth {sum(weight):.1f}" if min(weight, default=1) < 1 else ""
    everything = np.array([*before, *after, *mos])
    # Of equal scores too a histogram must have a width.
    bins = list(np.linspace(everything.min() - 1e-6, everything.max() + 1e-6, 25))
    left.hist(after, bins=bins, weights=weight, color=BLUE, alpha=0.55,
              label=f"learned: {len(taken)}{worth}")  # fmt: skip
    left.hist(before, bins=bins, histtype="step", color="black", linewidth=1.2,
              label=f"labelled by the teacher: {len(before)}")  # fmt: skip
    if len(mos):
        scale = len(before) / len(mos)
        left.hist(mos, bins=bins, weights=[scale] * len(mos), histtype="step", color=GREY,
                  linestyle="--", label=f"MOS of the training set (times {scale:.2g})")  # fmt: skip
    left.set(xlabel="score", ylabel="videos", title="pseudo-labels before and after")
    left.set_ylim(0, left.get_ylim()[1] * 1.25)  # the legend stands above the bars
    left.legend(fontsize=8, frameon=False, loc="upper left")
    acted = Counter((d.rule or "kept", d.action) for d in decisions)
    names = [f"{rule}: {action}" if rule != "kept" else "kept" for rule, action in acted]
    order = np.argsort(list(acted.values()))
    counts = [list(acted.values())[at] for at in order]
    colours = [COLOURS[list(acted)[at][1]] for at in order]
    bars = right.barh([names[at] for at in order], counts, color=colours, height=0.6)
    right.bar_label(bars, padding=3, fontsize=8)
    right.set_xlim(0, max(counts) * 1.18)
    right.tick_params(axis="y", labelsize=8)
    right.set(xlabel="videos", title="by rule")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    save(figure, path)


def kinds(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Shares of each kind of video that were kept, weighed and dropped.

    Args:
        path: of the picture.
        rows: of :func:`distill.kinds.kind_table`.
    """
    shown = sorted(rows, key=lambda row: -row["videos"])[:_CLASSES]
    shown = [row for row in rows if row in shown]
    figure, axes = plt.subplots(figsize=(7.5, 0.36 * len(shown) + 1.5))
    start = np.zeros(len(shown))
    for action in ACTIONS:
        share = np.array([row[action] / row["videos"] for row in shown])
        axes.barh(range(len(shown)), share, left=start, color=COLOURS[action], label=action)
        start += share
    names = [f"{row['kind']}: {row['class']}  ({row['videos']})" for row in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of the videos")
    axes.set_title("what became of each kind of video", loc="left", fontsize=11)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.02, 0.99))
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def spreads(path: Path, labels: Sequence[Label]) -> None:
    """Spread over the members against the score: where the teacher is at odds with itself."""
    known = [label for label in labels if np.isfinite(label.std)]
    figure, axes = plt.subplots(figsize=(6, 3.8))
    axes.scatter([x.score for x in known], [x.std for x in known], s=14, color=BLUE, alpha=0.5,
                 edgecolors="none")  # fmt: skip
    axes.set(xlabel="pseudo-label", ylabel="standard deviation over members",
             title=f"how far the members differ (n = {len(known)})")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    save(figure, path)


def sheet(
    path: Path, labels: Sequence[Label], reader: VideoReader, notes: Sequence[str] = ()
) -> None:
    """The middle frame of each video, its score, its spread and every member's opinion.

    Args:
        path: of the picture.
        labels: shown in order, four in a row.
        reader: of the videos; one that cannot be read shows the reason.
        notes: a line more for each, as what became of it.
    """
    rows = -(-len(labels) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(11, 3.0 * rows + 0.4), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for at, (axis, label) in enumerate(zip(axes.flat, labels, strict=False)):
        lines = [_short(label.video), f"{label.score:.2f} ± {label.std:.3f}", *notes[at : at + 1]]
        axis.set_title("\n".join(lines), fontsize=8)
        text = [f"{name} {value:.2f}" for name, value in label.members.items()]
        members = "\n".join("   ".join(text[i : i + 2]) for i in range(0, min(len(text), 6), 2))
        axis.text(0.5, -0.03, members, ha="center", va="top", fontsize=7, transform=axis.transAxes)
        try:
            with local(label.place) as file:
                middle = max(0, reader.probe(file).num_frames // 2)
                for _, frame in reader.read(file, [middle]):
                    axis.imshow(frame)
        except VideoError as error:
            axis.text(0.5, 0.5, error.reason, ha="center", va="center", wrap=True, fontsize=7)
    save(figure, path)


def _short(name: str) -> str:
    """The end of a long name, where versions differ."""
    return name if len(name) <= 2 * _WIDE else f"…{name[-2 * _WIDE :]}"
