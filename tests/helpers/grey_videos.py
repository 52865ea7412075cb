"""A reader of text files that stand for videos: no codec between a test and what it asks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distill.data.reader import VideoInfo
from distill.errors import VideoError


class Grey:
    """Reads files that hold one number as five frames of that grey. ``-`` cannot be read.

    Attributes:
        read_paths: files that frames were asked of.
        frames_read: frames given out.
    """

    name = "grey"

    def __init__(self) -> None:
        self.read_paths: list[Path] = []
        self.frames_read = 0

    def probe(self, path: Path) -> VideoInfo:
        if path.read_text() == "-":
            raise VideoError(path, self.name, "no picture")
        return VideoInfo(5, 25.0, 40, 30)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        self.read_paths.append(path)
        for index in indices:
            self.frames_read += 1
            yield index, np.full((30, 40, 3), int(path.read_text()), np.uint8)
