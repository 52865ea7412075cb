"""What is known of one file: metadata, where a decoder may begin, and what proved sound."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distill.data.reader import VideoInfo

# 20 bytes for each, in the cache, of each file: an hour with a key frame every 12 frames has 9000.
_MAX_SEEK_POINTS = 2048


@dataclass
class Facts:
    """Facts about one version of one file.

    A **GOP** here is what lies between two places where a decoder may begin. A file in which a
    seek is unsafe has one GOP, from frame 0 to its end.

    Attributes:
        info: metadata as the protocol defines it.
        stream: index of the video stream in the container.
        container: FFmpeg's name of the format.
        headless: packets before the first key frame, which no decoder shows.
        unsafe: why a seek may land on the wrong frame; empty where it may not.
        all_enter: whether decoding may begin at every key frame, open GOPs included.
        matrix: display matrix, see display_matrix.
        turn: PyAV's ``rotation`` of a frame that carries it.
        starts: (G,) int64, display index of each GOP's first frame.
        stamps: (G,) int64, its time stamp in the stream's time base; meaningless where unsafe.
        proven: (G,) int32, how many frames of each GOP, from its first on, PyAV has decoded
            undamaged in this process. Only grows; where two threads race, one proof is lost and
            made again.
        refused: reader -> why it is not asked for this file again.
        seek_misses: the container's seek went past a key frame, so packets are passed over instead.
    """

    info: VideoInfo
    stream: int
    container: str
    headless: int
    unsafe: str
    all_enter: bool
    matrix: tuple[int, ...] | None
    turn: int
    starts: np.ndarray
    stamps: np.ndarray
    proven: np.ndarray
    refused: dict[str, str] = field(default_factory=dict)
    seek_misses: bool = False

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height before rotation."""
        size = self.info.width, self.info.height
        return size[::-1] if self.info.rotation in (90, 270) else size

    def gop(self, index: int) -> int:
        """The GOP that a frame lies in."""
        return int(np.searchsorted(self.starts, index, side="right")) - 1

    def last(self, gop: int) -> int:
        """The last frame of a GOP."""
        ends = gop + 1 == len(self.starts)
        return (self.info.num_frames if ends else int(self.starts[gop + 1])) - 1

    def prove(self, gop: int, index: int) -> None:
        """Note that a GOP is undamaged up to a frame."""
        self.proven[gop] = max(self.proven[gop], index - self.starts[gop] + 1)

    def are_proven(self, indices: Sequence[int]) -> bool:
        """Whether each frame's GOP was found undamaged up to it."""
        gops = np.searchsorted(self.starts, indices, side="right") - 1
        return bool((np.asarray(indices) < self.starts[gops] + self.proven[gops]).all())


def seek_points(keys: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Every n-th of the key frames, so that at most 2048 are kept for a file."""
    return np.asarray(keys, dtype=np.int64)[:: -(-len(keys) // _MAX_SEEK_POINTS) or 1]
