"""Reports on pseudo-labels: what the teacher is at odds with itself about, and what rules did."""

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from distill import choice_plots, plots
from distill.choice import Decision
from distill.data.dataset import Example
from distill.data.reader import VideoReader
from distill.kinds import disputed, kind_table, lost_contents
from distill.labels import Label
from distill.runs import Run, first_process
from distill.tracking import Tracker
from distill.tracking.tables import MOST_ROWS, by_spread, thumbnail

log = logging.getLogger(__name__)
TABLE, SUMMARY = "pseudo_labels.csv", "pseudo_labels.json"
_SHOWN = 12  # most disputed videos
_COLUMNS = (
    "video", "path", "group", "action", "rule", "reason", "score", "target", "weight", "std",
    "measure", "match", "distance",
)  # fmt: skip


def report_labels(labels: Sequence[Label], run: Run, tracker: Tracker, reader: VideoReader) -> None:
    """What the teacher is at odds with itself about: for ``pseudo_label``.

    Writes the spreads, the most disputed videos (to the tracker with ``tracking.media`` only) and
    the kinds of videos. Nothing where no label has a spread.

    Args:
        labels: sound ones.
        run, tracker: of the command.
        reader: of the videos.
    """
    most = disputed(labels, _SHOWN)
    if not first_process() or not most:
        return
    choice_plots.spreads(run.plots / "spreads.png", labels)
    tracker.picture("plots/spreads", run.plots / "spreads.png")
    choice_plots.sheet(run.plots / "disputed.png", most, reader)
    tracker.frames("plots/disputed", run.plots / "disputed.png")
    rows = kind_table([Decision(label, label.score) for label in labels])
    kinds = [{k: row[k] for k in ("kind", "class", "videos", "score", "spread")} for row in rows]
    run.write(SUMMARY, {"kinds": kinds, "disputed": [label.video for label in most]})
    log.info("the members differ most about %s; see %s", most[0].video, run.plots / "disputed.png")


def report_targets(
    decisions: Sequence[Decision], examples: Sequence[Example], run: Run, tracker: Tracker,
    reader: VideoReader,
) -> None:  # fmt: skip
    """What a training with pseudo-labels learns from: their scores beside the MOS, and the rules.

    Args:
        decisions: on every label of the store.
        examples: that are learned from, of both kinds.
        run, tracker: of the command.
        reader: of the videos.
    """
    mos = [e.target for e in examples if not e.pseudo]
    pseudo = [e.target for e in examples if e.pseudo]
    picture = run.plots / "targets.png"
    plots.distributions(picture, {"MOS": mos, "pseudo-labels": pseudo}, "what is learned from")
    tracker.picture("plots/targets", picture)
    report_choice(decisions, mos, run, tracker, reader)


def report_choice(
    decisions: Sequence[Decision],
    mos: Sequence[float],
    run: Run,
    tracker: Tracker,
    reader: VideoReader,
) -> dict[str, Any]:
    """What the rules did.

    Args:
        decisions: on all labels of the store.
        mos: of the labelled training videos.
        run, tracker: of the command.
        reader: of the videos.

    Returns:
        What the JSON holds.
    """
    found = _summary(decisions)
    if not first_process():
        return found
    with (run.folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(_cells(decision) for decision in decisions)
    run.write(SUMMARY, found)
    pictures = {name: run.plots / f"{name}.png" for name in ("before_and_after", "kinds")}
    choice_plots.before_and_after(pictures["before_and_after"], decisions, mos)
    choice_plots.kinds(pictures["kinds"], found["kinds"])
    for name, picture in pictures.items():
        tracker.picture(f"plots/{name}", picture)
    most = disputed((d.label for d in decisions), _SHOWN)
    if most:
        by_path = {d.label.path: d for d in decisions}
        notes = [_note(by_path[label.path]) for label in most]
        choice_plots.sheet(run.plots / "disputed.png", most, reader, notes)
        tracker.frames("plots/disputed", run.plots / "disputed.png")
    if tracker.active:
        widest = sorted(decisions, key=lambda d: by_spread(d.label.std))[:MOST_ROWS]
        tracker.table(
            "labels/choice",
            [_choice_row(decision) for decision in widest],
            lambda at: thumbnail(widest[at].label.place, reader),
        )
    tracker.summary(found["actions"], "labels")
    log.info(
        "pseudo-labels: %s; %s", ", ".join(f"{n} {a}" for a, n in found["actions"].items()),
        run.folder / TABLE,
    )  # fmt: skip
    return found


def _summary(decisions: Sequence[Decision]) -> dict[str, Any]:
    taken = [d for d in decisions if d.weight > 0]
    rules = Counter((d.rule, d.action) for d in decisions if d.rule)
    return {
        "labels": len(decisions),
        "actions": dict(Counter(d.action for d in decisions).most_common()),
        "rules": [
            {"rule": rule, "action": action, "videos": n}
            for (rule, action), n in rules.most_common()
        ],
        "before": _spread_of([d.label.score for d in decisions], [1.0] * len(decisions)),
        "after": _spread_of([d.target for d in taken], [d.weight for d in taken]),
        "kinds": kind_table(decisions),
        "contents": len({d.label.group for d in decisions if d.label.group}),
        "lost_contents": lost_contents(decisions),
        "disputed": [label.video for label in disputed((d.label for d in decisions), _SHOWN)],
    }


def _spread_of(scores: Sequence[float], weights: Sequence[float]) -> dict[str, float]:
    """Mean and deviation, weighed, and the range."""
    if not scores:
        return {}
    values, weight = np.array(scores), np.array(weights)
    mean = float(np.average(values, weights=weight))
    std = float(np.average(np.square(values - mean), weights=weight)) ** 0.5
    low, high = float(values.min()), float(values.max())
    return {"mean": mean, "std": std, "low": low, "high": high, "weight": float(weight.sum())}


def _cells(d: Decision) -> list[str | float]:
    label = d.label
    return [
        label.video, label.path, label.group, d.action, d.rule, d.reason, label.score, d.target,
        d.weight, label.std, d.measure, d.match, d.distance,
    ]  # fmt: skip


def _choice_row(d: Decision) -> dict[str, Any]:
    # Not the reason nor the match: both may name other videos.
    return {
        "video": d.label.video, "group": d.label.group, "score": d.label.score, "target": d.target,
        "weight": d.weight, "std": d.label.std, "doubt": d.measure, "action": d.action,
        "rule": d.rule,
    }  # fmt: skip


def _note(decision: Decision) -> str:
    if decision.action == "weighed":
        return f"weighs {decision.weight:.2f}"
    return "kept" if decision.action == "kept" else f"dropped: {decision.rule}"
