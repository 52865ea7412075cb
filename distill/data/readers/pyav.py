"""PyAVReader: numbers and pixels as ffmpeg's sequential decode has them, by seeks where exact."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
import numpy as np

from distill.data.reader import VideoInfo
from distill.data.readers.facts import Facts
from distill.data.readers.gops import Damaged, Gops, Misjudged
from distill.data.readers.packets import describe, facts
from distill.data.readers.rgb import ToRGB
from distill.errors import VideoError


class PyAVReader:
    """Reads with PyAV: from the key frame before each wanted frame, or from frame 0.

    Args:
        threads: decoder threads of one read, >= 1. Loader workers are the parallel part already.
        hdr: ``refuse`` makes a VideoError of a video whose transfer is PQ or HLG; ``keep`` gives
            its frames by ffmpeg's default conversion, which maps no tones.

    Frames are numbered as ``ffmpeg -fps_mode passthrough`` writes them and have the pixels of its
    default conversion to RGB, 8-bit and 10-bit alike (maximum difference 0 in tests/reference).

    Where the guard finds seeks exact, only GOPs with a wanted frame are decoded, each by itself
    from its key frame on, and every picture's time stamp is held against those of the packets.
    All other files are one GOP that begins at frame 0.

    A damaged file keeps the number of frames that it promises. A frame can be read if its own GOP
    is undamaged up to it, and so are the pictures that it may refer to; from there on to the end of
    that GOP each is a VideoError that names the index. (ffmpeg would show a repaired picture there,
    or skip it and renumber all that follow.) Damage is what the decoder reports, which in HEVC and
    VP9 is little: docs/video.md has the numbers. In a GOP that nobody wants it is not looked for.
    So what comes of a frame depends on the file and the index alone, not on what else is read.
    """

    name = "pyav"

    def __init__(self, threads: int = 1, hdr: Literal["keep", "refuse"] = "keep") -> None:
        if threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        if hdr not in ("keep", "refuse"):
            raise ValueError(f"hdr must be keep or refuse, got {hdr!r}")
        self.threads, self.hdr = threads, hdr

    def probe(self, path: Path) -> VideoInfo:
        """Metadata from packets and one decoded picture; see VideoReader.probe."""
        return facts(path, self.name, self.hdr).info

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames in order, each converted when it is reached; see VideoReader.read."""
        known = facts(path, self.name, self.hdr)
        left = deque(check_indices(path, self.name, indices, known))
        try:
            yield from self._read(path, left, known, seek=not known.unsafe)
        except Misjudged:
            # Some packet shows no picture, or two. Counting from frame 0 settles the numbers.
            yield from self._read(path, left, known, seek=False)

    def _read(
        self, path: Path, left: deque[int], known: Facts, *, seek: bool
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the frames of ``left``, and take each out of it."""
        to_rgb, reason, ended = ToRGB(known.matrix, known.turn), "", True
        try:
            with Gops(path, known, self.threads, seek) as gops:
                try:
                    while left:
                        first = left[0]
                        for index, frame in self._wanted(gops, left, known, seek):
                            yield index, to_rgb(frame)
                        if left and left[0] == first:
                            raise Damaged("the decoder never showed it")
                finally:
                    ended = gops.ended
        except Damaged as error:
            reason = str(error)
        except av.FFmpegError as error:
            reason = describe(error)
        if reason:
            if known.info.missing and ended:  # damage before the end has another cause
                reason = known.info.truncated
            raise VideoError(path, self.name, f"frame {left[0]} cannot be decoded: {reason}")

    def _wanted(
        self, gops: Gops, left: deque[int], known: Facts, seek: bool
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames of ``left`` in the GOP of its first, taken out of it after each."""
        gop = known.gop(left[0]) if seek else 0
        last = known.last(gop) if seek else known.info.num_frames - 1
        # Other readers scale what changes size to the first size, so they get no proof of it.
        provable = seek or bool(known.unsafe)
        for index, frame in gops.decode(gop):
            provable = provable and (frame.width, frame.height) == known.stored_size
            if index == left[0]:
                if provable:
                    known.prove(gop, index)
                yield index, frame
                left.popleft()
            # The last frame of a GOP is followed through: the next GOP then needs no seek.
            if not left or (left[0] > last and index < last):
                return


def check_indices(path: Path, reader: str, indices: Sequence[int], known: Facts) -> list[int]:
    """The indices as plain integers.

    Raises:
        ValueError: they are not sorted or not unique, a mistake of the caller.
        VideoError: the video has no such frame.
    """
    wanted = [int(index) for index in indices]
    if any(a >= b for a, b in pairwise(wanted)):
        raise ValueError(f"indices must be sorted and unique, got {wanted[:20]}")
    for index in (wanted[0], wanted[-1]) if wanted else ():
        if not 0 <= index < known.info.num_frames:
            count = known.info.num_frames
            raise VideoError(path, reader, f"frame {index} does not exist: it has {count} frames")
    return wanted
