"""When the frames are shown that a network scores, and how many of them differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distill.data.identity import seed_of
from distill.data.reader import VideoInfo
from distill.data.sampling import PAD
from distill.data.views import View
from distill.errors import VideoError


@dataclass(frozen=True)
class Timeline:
    """Where in a video a network looks in evaluation.

    Attributes:
        seconds: of each frame score, from the start of the video; None where nobody knows.
        wanted: frames that the view asks for.
        distinct: different ones among those that it gets.
    """

    seconds: list[float | None]
    wanted: int
    distinct: int

    @property
    def few(self) -> bool:
        """Whether the video is so short that most of what the network sees is repeated or black."""
        return 2 * self.distinct < self.wanted


def timeline(
    views: Mapping[str, View], info: VideoInfo, content: str, count: int
) -> Timeline | None:
    """The frames of a network's first view, which ``Prediction.frame_scores`` follow.

    Args:
        views: of the network, in its order.
        info: metadata of the video.
        content: its content hash, which decides what evaluation draws.
        count: frame scores there are; a clip with one score is at the mean of its frames' times.

    Returns:
        None where the view looks at no frames, as one that reads a table. Seconds are a frame's
        number over the average rate; where a rate varies they are as far off as it does.
    """
    view = next(iter(views.values()))
    try:
        slots = getattr(view.begin(info, seed_of(content), False), "slots", None)
    except VideoError:
        return None
    if slots is None:
        return None
    seconds: list[float | None] = [None] * count
    if count and len(slots) % count == 0 and info.fps > 0:
        groups = slots.reshape(count, -1)
        seconds = [float(g[g != PAD].mean() / info.fps) if (g != PAD).any() else None
                   for g in groups]  # fmt: skip
    return Timeline(seconds, len(slots), len(np.unique(slots[slots != PAD])))
