"""The reader protocol: a path and sorted frame indices in, frames and metadata out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class VideoInfo:
    """Metadata of one video, had without decoding it.

    Attributes:
        num_frames: frames a player shows (edit lists and discarded packets left out), >= 1.
        fps: average frames per second; 0.0 where the file does not say.
        width, height: pixels as displayed, that is after rotation.
        rotation: degrees clockwise that the reader turns stored frames: 0, 90, 180 or 270.
        codec: FFmpeg's codec name, e.g. ``h264``.
        duration: seconds; 0.0 where the file does not say.
        pix_fmt: FFmpeg's pixel format name, e.g. ``yuv420p``.
        transfer: FFmpeg's name of the transfer characteristics, e.g. ``bt709``; empty if untagged.
        path: of the file; readers leave it empty, views are told.
        missing: of ``num_frames``, those that the file promises and its end cuts off.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    rotation: int = 0
    codec: str = ""
    duration: float = 0.0
    pix_fmt: str = ""
    transfer: str = ""
    path: str = ""
    missing: int = 0

    @property
    def hdr(self) -> bool:
        """Whether the transfer is PQ (``smpte2084``) or HLG (``arib-std-b67``)."""
        return self.transfer in ("smpte2084", "arib-std-b67")

    @property
    def truncated(self) -> str:
        """What is left of a file whose end is missing; empty for a whole one."""
        if not self.missing:
            return ""
        whole = self.num_frames - self.missing
        return f"the file is truncated: {whole} of {self.num_frames} frames are whole"


class VideoReader(Protocol):
    """Decodes, and nothing else. Opens and closes the file within each call: fork-safe, no leak."""

    name: str

    def probe(self, path: Path) -> VideoInfo:
        """Read metadata.

        Raises:
            VideoError: the file is missing, empty, has no video stream, or is no video.
        """
        ...

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(index, frame)`` for sorted unique indices, one decoded frame at a time.

            Frames are (H, W, 3) uint8 RGB, rotated upright, full range, each a fresh array. Where a
        video changes its size in mid-stream, so do they: only the first ones need have the size
        that probe tells.

        Raises:
            VideoError: decoding failed, or a frame that was asked for does not exist.
        """
        ...
