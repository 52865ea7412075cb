"""Of each content of a store the best video: what `make_ladder.py` makes a ladder of."""

import csv
from pathlib import Path

from distill.labels.rows import Label
from distill.labels.store import LabelStore


def best_of_contents(store: LabelStore, least: float = float("-inf")) -> list[Label]:
    """The label with the highest score of every content, by content.

    Args:
        store: of a teacher.
        least: contents whose best score is lower are left out.
    """
    best: dict[str, Label] = {}
    for label in sorted(store.usable(), key=lambda label: label.path):
        content = label.group or label.path
        if content not in best or label.score > best[content].score:
            best[content] = label
    return [label for _, label in sorted(best.items()) if label.score >= least]


def write_sources(store: LabelStore, path: Path, least: float = float("-inf")) -> int:
    """Write them as a table that `make_ladder.py` reads, all for training.

    Args:
        store, least: see :func:`best_of_contents`.
        path: of the CSV: video, group, split.

    Returns:
        How many.
    """
    labels = best_of_contents(store, least)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "group", "split"])
        writer.writerows((x.path, x.group or x.path, "train") for x in labels)
    return len(labels)
