"""What any model says of a video, whatever runs it; imports no torch."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from distill.data.reader import VideoInfo
from distill.data.rows import Row

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """What a model says of one video, or why it says nothing.

    Attributes:
        row: the video.
        raw: the network's score, the mean of several looks; NaN where it failed.
        members: member name -> its score.
        frame_scores: over time, where the model has them; of the first look alone.
        info, content: metadata and content hash; None and empty where it failed.
        error: the reason; empty where it is sound.
        seconds: of decoding and scoring, the batch's share.
    """

    row: Row
    raw: float = math.nan
    members: dict[str, float] = field(default_factory=dict)
    frame_scores: list[float] = field(default_factory=list)
    info: VideoInfo | None = None
    content: str = ""
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class VideoScore:
    """What a model says of one video.

    Attributes:
        video: as it was named.
        score: on the MOS scale, or the raw score where the model has no calibration; None where
            the video could not be scored.
        error: why; empty where it could.
        frame_scores: in the order of time, on the same scale, where they were asked for and the
            model has them. Their mean need not be ``score``.
        frame_times: their seconds from the video's start, None where nobody knows; see
            :func:`~distill.data.timeline.timeline`.
        raw: before the calibration; None where it could not be scored.
        info: of the video; None where it could not be scored.
        note: what to know before the score is believed; empty where there is nothing.
    """

    video: str
    score: float | None
    error: str = ""
    frame_scores: list[float] = field(default_factory=list)
    frame_times: list[float | None] = field(default_factory=list)
    raw: float | None = None
    info: VideoInfo | None = None
    note: str = ""


def no_number(score: float) -> str:
    """The reason in the row of a video whose score is not finite."""
    return f"the score is {score}, no number"


@dataclass
class Doubtful:
    """How many of the scored videos are HDR, or lack their end."""

    hdr: int = 0
    truncated: int = 0

    def see(self, infos: Iterable[VideoInfo]) -> None:
        """Count some of them."""
        for info in infos:
            self.hdr += info.hdr
            self.truncated += bool(info.missing)

    def tell(self) -> None:
        """Warn where there are any."""
        if self.truncated:
            log.warning(
                "%d videos are truncated, but all that the network looks at is in the part that is"
                " left (docs/video.md)", self.truncated,
            )  # fmt: skip
        if self.hdr:
            log.warning(
                "%d videos are HDR; their frames are taken without tone mapping, which few networks"
                " have learned from (docs/video.md)", self.hdr,
            )  # fmt: skip
