"""The section with the videos themselves: worst, best and most disputed, with frame scores."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.report.blocks import Card, Cards, Fold, Heading, Section
from distill.report.folder import RunFolder
from distill.report.frames import Frames
from distill.report.label_plots import over_time
from distill.report.subjects import Subject, Video, by_place
from distill.report.text import fixed, short_names

_EACH = {1: 6, 2: 6, 3: 4}  # videos of a kind, by the number of models and tables; else 3
_MODELS = 8  # that the videos are shown of


def videos(run: RunFolder, frames: Frames) -> Section | None:
    """None where no predictions are known."""
    subjects = [s for s in run.subjects if s.videos][:_MODELS]
    if not subjects:
        return None
    each = _EACH.get(len(subjects), 3)
    blocks: list[Any] = []
    for number, subject in enumerate(subjects):
        title, shown = f"{subject.name} · {subject.where}", _of(subject, each, frames)
        if number:
            blocks.append(Fold(title, shown))
        else:
            blocks += [Heading(title), *shown] if len(subjects) > 1 else shown
    blocks += _between(subjects, 2 * each if len(subjects) < 4 else each, frames)
    return Section(
        "videos", "Videos",
        "Look at the worst before you trust a number: a wrong label, a broken file, or a kind of"
        " video that the model has never seen. The curve has the score of each frame that was"
        " looked at, the dashed line is the MOS; a click enlarges.",
        blocks,
    )  # fmt: skip


def _of(subject: Subject, each: int, frames: Frames) -> list[Cards]:
    found = sorted(subject.videos, key=lambda v: (-abs(v.residual), v.path))
    each = min(each, len(found) // 2) or 1
    scale = _scale(subject)
    names = short_names([video.video for video in found])

    def cards(chosen: Sequence[Video], spread: bool = False) -> list[Card]:
        return [_card(video, names[video.video], scale, frames, spread) for video in chosen]

    groups = [
        Cards("Worst", "Largest error; the badge is score minus MOS.", cards(found[:each])),
        Cards("Best", "Smallest error.", cards(found[: -each - 1 : -1])),
    ]
    spread = [video for video in found if math.isfinite(video.spread)]
    if spread:
        most = sorted(spread, key=lambda v: (-v.spread, v.path))[:each]
        note = "Largest standard deviation over the model's members, in the badge."
        groups.append(Cards("Most disputed by its members", note, cards(most, True)))
    return groups


def _card(
    video: Video, label: str, scale: tuple[float, float], frames: Frames, spread: bool
) -> Card:
    frame = frames.of(video.path)
    curve: dict[str, Any] = {}
    if len(video.frame_scores) > 1:
        curve["plot"] = over_time(video.frame_scores, scale, video.mos, video.duration)
    told = f"MOS\u00a0{fixed(video.mos, 2)} · score\u00a0{fixed(video.score, 2)}"
    return Card(
        video.video, frame.image, frame.size, frame.reason,
        f"±{fixed(video.spread, 2)}" if spread else fixed(video.residual, 2, sign=True),
        [told], label=label, **curve,
    )  # fmt: skip


def _between(subjects: Sequence[Subject], each: int, frames: Frames) -> list[Any]:
    """Videos that the models of a table differ most about."""
    blocks: list[Any] = []
    for where in dict.fromkeys(s.where for s in subjects):
        known = [(s.name, by_place(s.videos)) for s in subjects if s.where == where]
        if len(known) < 2:
            continue
        both = [place for place in known[0][1] if all(place in other for _, other in known)]
        spread = {p: float(np.std([v[p].score for _, v in known], ddof=1)) for p in both}
        names = short_names([known[0][1][place].video for place in both])
        cards = []
        for place in sorted(both, key=lambda p: (-spread[p], p))[:each]:
            video = known[0][1][place]
            frame = frames.of(video.path)
            lines = [f"MOS {fixed(video.mos, 2)}"]
            lines += [f"{name} {fixed(v[place].score, 2)}" for name, v in known]
            badge = f"±{fixed(spread[place], 2)}"
            cards.append(
                Card(video.video, frame.image, frame.size, frame.reason, badge, lines,
                     label=names[video.video])
            )  # fmt: skip
        if cards:
            note = "Largest standard deviation over the compared models, in the badge."
            blocks.append(Heading(f"Between the models · {where}"))
            blocks.append(Cards("Most disputed", note, cards))
    return blocks


def _scale(subject: Subject) -> tuple[float, float]:
    values = np.concatenate([subject.mos, subject.scores])
    return float(values.min()), float(values.max())
