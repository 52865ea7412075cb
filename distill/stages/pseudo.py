"""Pseudo-labels on their way into a training: read, checked for leaks, weighed, reported."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from distill.choice import Decision, choose
from distill.config import LearningConfig
from distill.content_levels import ContentSlopes
from distill.data.dataset import Example
from distill.data.identity import content_hash
from distill.data.manifest import Row
from distill.data.perceptual import comparable
from distill.data.places import is_url
from distill.data.reader import VideoReader
from distill.data.spool import local
from distill.errors import LabelStoreError, VideoError
from distill.labels import Label, LabelStore
from distill.leaks import find_leaks
from distill.options import decoding_workers
from distill.stages.alike import signatures_of

log = logging.getLogger(__name__)


def choose_labels(
    store: LabelStore,
    labelled: Sequence[Row],
    held_out: Sequence[Row],
    config: LearningConfig,
    reader: VideoReader,
) -> list[Decision]:
    """What becomes of each usable label of a store.

    Args:
        store: of the teacher.
        labelled: videos that have a MOS, which counts more than a pseudo-label.
        held_out: validation and test videos; every version of their contents is kept out.
        config: of the training.
        reader: of the videos. A dry run decodes none.

    Raises:
        LabelStoreError: no label is left to learn from.
        ConfigError: a rule cannot be applied to these labels.
        Interrupted: a signal; the signatures made so far are kept.
    """
    rows, total = store.read(), store.meta.get("videos")
    store.tell_missing(rows)
    if total and len(rows) < total:
        log.warning(
            "%s: %d of %d videos are labelled; `python pseudo_label.py store=%s` continues",
            store.folder, len(rows), total, store.folder,
        )  # fmt: skip
    labels = sorted((label for label in rows if label.status == "ok"), key=lambda x: x.path)
    gone = [at for at, label in enumerate(labels) if _is_gone(label)]
    contents: dict[Path, str] = {}
    if config.leak_check != "none":
        contents = {row.path: _content(row.path) for row in (*labelled, *held_out)}
        # Scores from elsewhere come without hashes.
        labels = [x if x.content else replace(x, content=_content(x.place)) for x in labels]
    mine = {
        **{contents[row.path]: row.video for row in labelled if contents.get(row.path)},
        **{str(row.path): row.video for row in labelled},
    }
    labelled_at = {
        at: mine.get(label.path) or mine[label.content]
        for at, label in enumerate(labels)
        if label.path in mine or (label.content and label.content in mine)
    }
    out = {*gone, *labelled_at}
    _tell_remote(labels)
    left = [label for at, label in enumerate(labels) if at not in out]
    signatures = _signatures(left, held_out, contents, config, reader)
    looks = signatures if config.leak_check == "perceptual" else {}
    leaks = find_leaks(labels, held_out, contents, looks)
    told = store.meta.get("content_slopes")
    slopes = ContentSlopes(**told) if told else None
    found = choose(
        labels, leaks, labelled_at, gone, signatures, config.doubt, config.select, slopes
    )
    _tell(found, store)
    return found


def examples_of(decisions: Sequence[Decision], weight: float) -> list[Example]:
    """What the student learns from; the error of a label is its teacher's spread, where known.

    Args:
        decisions: of :func:`choose_labels`.
        weight: of a pseudo-label that was kept, against a MOS.
    """
    return [
        Example(
            Row(d.label.video, d.label.place, group=d.label.group),
            target=d.target, weight=weight * d.weight, pseudo=True, error=d.label.std,
        )
        for d in decisions
        if d.weight > 0
    ]  # fmt: skip


def _signatures(
    labels: Sequence[Label],
    held_out: Sequence[Row],
    contents: dict[Path, str],
    config: LearningConfig,
    reader: VideoReader,
) -> dict[Path, np.ndarray]:
    """Of all videos whose looks or frames are compared; told where there is none."""
    looks, frames = config.leak_check == "perceptual", config.select.duplicates == "frames"
    if not (looks or frames) or not labels:
        return {}
    if config.dry_run:
        log.info("dry run: looks and decoded frames of the videos are not compared")
        return {}
    videos = {label.place: label.content for label in labels}
    if looks:
        videos |= {row.path: contents[row.path] for row in held_out}
    found, failed = signatures_of(videos, reader, decoding_workers(config.data.num_workers))
    for path, reason in list(failed.items())[:5]:
        log.warning("%s: cannot be compared by its looks: %s", path, reason)
    if len(failed) > 5:
        log.warning("and %d more videos cannot be compared", len(failed) - 5)
    flat = [p for p, s in found.items() if not comparable(s[None])[0]] if looks else []
    if flat:
        log.warning(
            "%d videos are too flat to be compared by their looks, for example %s", len(flat),
            flat[0],
        )  # fmt: skip
    return found


def _tell(found: Sequence[Decision], store: LabelStore) -> None:
    """Counts by rule; every leak by its name, the first ones here and all in the run's table."""
    dropped = Counter(d.rule for d in found if d.action == "dropped")
    for rule, text in (
        ("labelled", "are left out: they have a MOS"),
        ("leak", "are left out: their content is in val or test"),
        ("gone", "are gone"),
        ("duplicate", "are left out: they are copies of others"),
        ("doubt", "are left out: the teacher's members disagree about them"),
        ("selection", "are left out: select.count has enough others"),
    ):
        if not dropped[rule]:
            continue
        log.warning("%d pseudo-labelled videos %s", dropped[rule], text)
        if rule in ("leak", "gone", "duplicate"):
            first = [d for d in found if d.rule == rule and d.weight == 0]
            for d in first[:5]:
                bits = "" if np.isnan(d.distance) else f", {d.distance:.1f} of 64 bits apart"
                match = f" ({d.match}{bits})" if d.match else ""
                log.warning("  %s: %s%s", d.label.video, d.reason, match)
            if len(first) > 5:
                log.warning(
                    "  and %d more; all are in pseudo_labels.csv of the run", len(first) - 5
                )
    weighed = sum(d.action == "weighed" for d in found)
    if weighed:
        log.info("%d pseudo-labels weigh less, because of their spread", weighed)
    if all(d.weight == 0 for d in found):
        raise LabelStoreError(f"{store.folder}: no usable pseudo-label; train without: labels=none")


def _content(path: Path) -> str:
    try:
        with local(path) as file:
            return content_hash(file)
    except (OSError, VideoError):  # who decodes it will say why
        return ""


def _is_gone(label: Label) -> bool:
    """Whether a file is; to ask for each remote video takes as long as a page of a browser."""
    return not is_url(label.path) and not os.path.isfile(label.path)


def _tell_remote(labels: Sequence[Label]) -> None:
    """What it costs to learn from videos that are elsewhere."""
    count = sum(is_url(label.path) for label in labels)
    if count:
        log.warning(
            "%d of %d pseudo-labelled videos are remote: each is fetched again in every epoch, and"
            " once for the leak check; if that is slow or costs money, copy them here and label"
            " the copies (docs/labels.md)", count, len(labels),
        )  # fmt: skip
