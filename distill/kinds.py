"""Kinds of videos (size, codec, duration, versions), and what became of the labels of each."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from distill.choice import Decision
from distill.labels import Label

KINDS = ("size", "codec", "duration", "versions")
_SIZES = (360, 540, 720, 1080)  # pixels of the short side
_SECONDS = (3, 10, 60)
_OF_A_CONTENT = 2
_MANY = 10  # versions of a content
ACTIONS = ("kept", "weighed", "dropped")


def kind_of(label: Label, kind: str, versions: int) -> str:
    """The class of a video within a kind.

    Args:
        label: of the video.
        kind: one of KINDS.
        versions: how many of its content the pool has, >= 1.
    """
    if kind == "codec":
        return label.codec or "unknown"
    if kind == "size":
        return _between(min(label.width, label.height), _SIZES, "px")
    if kind == "duration":
        return _between(label.duration, _SECONDS, "s")
    if versions < _MANY:
        return "1" if versions == 1 else f"2 to {_MANY - 1}"
    return f"{_MANY} and more"


def kind_table(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """A row per kind and class: how many videos, what became of them, their scores and spreads."""
    versions = Counter(d.label.group for d in decisions)
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        classes: dict[str, list[Decision]] = {}
        for decision in decisions:
            label = decision.label
            many = versions[label.group] if label.group else 1
            classes.setdefault(kind_of(label, kind, many), []).append(decision)
        for name in sorted(classes, key=_order):
            inside = classes[name]
            acted = Counter(d.action for d in inside)
            rows.append(
                {"kind": kind, "class": name, "videos": len(inside)}
                | {action: acted[action] for action in ACTIONS}
                | {
                    "score": _mean(d.label.score for d in inside),
                    "spread": _mean(d.label.std for d in inside),
                }
            )
    return rows


def lost_contents(decisions: Sequence[Decision]) -> list[str]:
    """Named contents of which nothing is left, sorted."""
    named = {d.label.group for d in decisions if d.label.group}
    return sorted(named - {d.label.group for d in decisions if d.weight > 0})


def disputed(labels: Iterable[Label], count: int) -> list[Label]:
    """The labels with the largest spreads, largest first, at most two of a content."""
    known = [label for label in labels if math.isfinite(label.std)]
    shown, found = Counter[str](), list[Label]()
    for label in sorted(known, key=lambda label: (-label.std, label.path)):
        content = label.group or label.path
        if shown[content] < _OF_A_CONTENT:
            found.append(label)
            shown[content] += 1
        if len(found) == count:
            break
    return found


def _between(value: float, edges: Sequence[int], unit: str) -> str:
    if not value > 0:  # NaN too
        return "unknown"
    if value < edges[0]:
        return f"under {edges[0]} {unit}"
    for low, high in pairwise(edges):
        if value < high:
            return f"{low} to {high} {unit}"
    return f"{edges[-1]} {unit} and more"


def _order(name: str) -> tuple[float, str]:
    """Classes by their numbers, what is unknown last."""
    words = name.split()
    if words[0] == "under":
        return -1.0, name
    return (float(words[0]), name) if words[0].isdigit() else (math.inf, name)


def _mean(values: Iterable[float]) -> float:
    """Of the finite ones; NaN where there is none."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
