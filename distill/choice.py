"""What becomes of each pseudo-label: kept, weighed or dropped, by which rule, and why."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from distill.content_levels import LEAST_CONTENTS, ContentSlopes, level_contents
from distill.data.perceptual import exact_hash
from distill.doubt import judge
from distill.errors import ConfigError
from distill.label_options import DoubtConfig, SelectConfig
from distill.labels import Label
from distill.leaks import Leak
from distill.selection import features_of, histogram, k_center, keys_of_videos

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """What becomes of one pseudo-label.

    Attributes:
        label: of the store.
        target: what the student learns: the score, or what levelling its contents made of it.
        weight: 1 is kept, less is weighed, 0 is dropped.
        rule: that weighed or dropped it: labelled, leak, gone, duplicate, doubt, selection;
            empty where it is kept.
        reason: one line.
        match: the video that it was found to be a copy or a version of.
        distance: of their looks, in bits of 64; NaN where they were not compared.
        measure: what the rule of doubt looked at; NaN where it did not.
    """

    label: Label
    target: float
    weight: float = 1.0
    rule: str = ""
    reason: str = ""
    match: str = ""
    distance: float = math.nan
    measure: float = math.nan

    @property
    def action(self) -> str:
        """``kept``, ``weighed`` or ``dropped``."""
        if self.weight == 0:
            return "dropped"
        return "kept" if self.weight == 1 else "weighed"

    def dropped(self, rule: str, reason: str, match: str = "", distance: float = math.nan) -> (
        "Decision"
    ):  # fmt: skip
        """The same label, dropped."""
        return replace(
            self, weight=0.0, rule=rule, reason=reason, match=match, distance=distance
        )  # fmt: skip


def choose(
    labels: Sequence[Label],
    leaks: Mapping[int, Leak],
    labelled: Mapping[int, str],
    gone: Sequence[int],
    signatures: Mapping[Path, np.ndarray],
    doubt: DoubtConfig,
    select: SelectConfig,
    slopes: ContentSlopes | None = None,
) -> list[Decision]:
    """Decide on every label; each rule sees what those before it left.

    Args:
        labels: sound ones, scores finite.
        leaks: position -> why it must stay out of training.
        labelled: position -> the labelled video that it is.
        gone: positions of videos that are no longer there.
        signatures: for duplicates by decoded frames.
        doubt, select: the rules.
        slopes: of the teacher, which ``doubt.shrink=auto`` goes by; None: not known.

    Returns:
        A decision per label, in their order.

    Raises:
        ConfigError: a rule cannot be applied to these labels.
    """
    found = [Decision(label, label.score) for label in labels]
    for at in gone:
        found[at] = found[at].dropped("gone", "the video is no longer there")
    for at, match in labelled.items():
        found[at] = found[at].dropped("labelled", "it has a MOS, which counts more", match)
    for at, leak in leaks.items():
        found[at] = found[at].dropped("leak", leak.reason, leak.match, leak.distance)
    for at, first in _duplicates(labels, _left(found), signatures, select.duplicates).items():
        reason = "the same file" if _same_file(labels[at], labels[first]) else "the same frames"
        found[at] = found[at].dropped("duplicate", f"{reason} as another", labels[first].video)
    _doubt(found, doubt)
    _select(found, select)
    _level(found, doubt.shrink, slopes)
    return found


def _left(found: Sequence[Decision]) -> list[int]:
    return [at for at, decision in enumerate(found) if decision.weight > 0]


def _same_file(one: Label, other: Label) -> bool:
    return bool(one.content) and one.content == other.content


def _duplicates(
    labels: Sequence[Label], left: Sequence[int], signatures: Mapping[Path, np.ndarray], kind: str
) -> dict[int, int]:
    """Position -> the one of its copies that stays, whose path comes first."""
    found: dict[int, int] = {}
    first: dict[tuple[str, str | int], int] = {}
    for at in sorted(left, key=lambda at: labels[at].path) if kind != "none" else ():
        label, signature = labels[at], signatures.get(labels[at].place)
        same = [("bytes", label.content)] if label.content else []
        if kind == "frames" and signature is not None:
            same.append(("frames", f"{exact_hash(signature)} {label.num_frames}"))
        seen = [first[key] for key in same if key in first]
        if seen:
            found[at] = seen[0]
        for key in same:
            first.setdefault(key, found.get(at, at))
    return found


def _doubt(found: list[Decision], options: DoubtConfig) -> None:
    left = _left(found)
    if options.rule == "none" or not left:
        return
    std = np.array([found[at].label.std for at in left])
    score = np.array([found[at].label.score for at in left])
    threshold = float(getattr(options, options.rule))
    told = judge(score, std, options.rule, options.action, threshold)
    unknown = int((~np.isfinite(std)).sum())
    if unknown:
        log.warning(
            "doubt.rule=%s: %d of %d pseudo-labels have no spread (a teacher of one member, or"
            " scores from elsewhere); they are kept as they are", options.rule, unknown, len(left),
        )  # fmt: skip
    unit = "places" if options.rule == "rank_change" else "of spread"
    for at, weight, measure in zip(left, told.weight, told.measure, strict=True):
        reason = f"{options.rule}: {measure:.3g} {unit}, the limit is {told.limit:.3g}"
        found[at] = replace(
            found[at], weight=float(weight), measure=float(measure),
            rule="doubt" if weight < 1 else "", reason=reason if weight < 1 else "",
        )  # fmt: skip


def _select(found: list[Decision], options: SelectConfig) -> None:
    left = _left(found)
    if options.method == "none" or not left:
        return
    assert options.count is not None
    labels = [found[at].label for at in left]
    content, key = [_content(label) for label in labels], keys_of_videos(labels)
    if options.method == "histogram":
        score = np.array([label.score for label in labels])
        taken = histogram(score, content, key, options.count, options.bins, options.per_content)
    else:
        features = features_of(labels, options.features)
        taken = k_center(features, content, key, options.count, options.per_content)
    if len(taken) < options.count:
        log.warning(
            "select.count=%d: the pool has %d%s", options.count, len(taken),
            f" of at most {options.per_content} a content" if options.per_content else "",
        )  # fmt: skip
    for number in sorted(set(range(len(left))) - set(taken.tolist())):
        at = left[number]
        found[at] = found[at].dropped("selection", f"{options.method}: enough others like it")


def _level(found: list[Decision], shrink: float | str, slopes: ContentSlopes | None) -> None:
    """Scale the differences between contents, and within them, as ``doubt.shrink`` says."""
    if shrink == "auto":
        _level_by_slopes(found, slopes)
        return
    left, between = _left(found), float(shrink)
    if between == 1 or not left:
        return
    alone = len(left) - len(_of_several_versions(found))
    if alone == len(left):
        raise ConfigError(
            f"doubt.shrink={between:g}: no content of the pool has two versions, so all labels"
            " would be pulled together; name the contents in the column `group` of the pool's"
            " table, or leave doubt.shrink=1"
        )
    if alone:
        log.warning(
            "doubt.shrink=%s: %d pseudo-labels are the only version of their content: they are"
            " pulled to the mean, with no difference within a content to keep", shrink, alone,
        )  # fmt: skip
    _retarget(found, left, between, 1.0)


def _level_by_slopes(found: list[Decision], slopes: ContentSlopes | None) -> None:
    """As the teacher's scores were worth on contents of several versions, and those alone."""
    several = _of_several_versions(found)
    if slopes is None or not several:
        why = "the pool names no two videos as versions of one content (column group)"
        if slopes is None:
            why = (
                "it is unknown how well their teacher compares different contents; that takes"
                f" {LEAST_CONTENTS} validation contents with two or more versions each"
            )
        log.info(
            "pseudo-labels are learned as the teacher gave them: %s; otherwise the contents' scores"
            " would be pulled together (doubt.shrink=auto, docs/doubt.md)", why,
        )  # fmt: skip
        return
    log.info(
        "doubt.shrink=auto: differences between contents times %.2f, within them times %.2f, as on"
        " the teacher's %d validation contents; %d labels of single versions stay as they are",
        slopes.between, slopes.within, slopes.contents, len(_left(found)) - len(several),
    )  # fmt: skip
    _retarget(found, several, slopes.between, slopes.within)


def _of_several_versions(found: Sequence[Decision]) -> list[int]:
    """Positions of what is left whose content has another version among it."""
    left = _left(found)
    versions = Counter(_content(found[at].label) for at in left)
    return [at for at in left if versions[_content(found[at].label)] > 1]


def _retarget(found: list[Decision], at: Sequence[int], between: float, within: float) -> None:
    labels = [found[one].label for one in at]
    score = np.array([label.score for label in labels])
    targets = level_contents(score, [_content(label) for label in labels], between, within)
    for one, target in zip(at, targets.tolist(), strict=True):
        found[one] = replace(found[one], target=target)


def _content(label: Label) -> str:
    """Source content; a video that names none is its own."""
    return label.group or label.path
