"""PyAVReader: decodes from the first frame on, which was exact on every file tried."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from distill.data.reader import VideoInfo
from distill.data.readers.packets import (
    Facts,
    clockwise,
    describe,
    display_matrix,
    facts,
    open_container,
    select,
)
from distill.errors import VideoError


class PyAVReader:
    """Reads with PyAV, sequentially and without a seek, up to the last frame wanted.

    Args:
        threads: decoder threads of one read, >= 1. Loader workers are the parallel part already.

    Frames are numbered as ``ffmpeg -fps_mode passthrough`` writes them and have the pixels of its
    default conversion to RGB, 8-bit and 10-bit alike (maximum difference 0 in tests/reference).

    A damaged file keeps the number of frames that it promises, and its frames before the damage
    can be read. From the first damaged picture on every read is a VideoError that names the index:
    ffmpeg would show a repaired picture there, or skip it and renumber all that follow.
    """

    name = "pyav"

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        self.threads = threads

    def probe(self, path: Path) -> VideoInfo:
        """Metadata from packets and one decoded picture; see VideoReader.probe."""
        return facts(path, self.name).info

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames in order, each converted when it is reached; see VideoReader.read."""
        known = facts(path, self.name)
        wanted = check_indices(path, self.name, indices, known)
        if wanted:
            yield from self._read(path, wanted, known)

    def _read(
        self, path: Path, wanted: list[int], known: Facts
    ) -> Iterator[tuple[int, np.ndarray]]:
        to_rgb, left = _ToRGB(), deque(wanted)
        try:
            with open_container(path) as container:
                for index, frame in self._decode(container, known.stream, wanted[-1]):
                    if index == left[0]:
                        yield index, to_rgb(frame)
                        left.popleft()
                    if not left:
                        break
            reason = "the decoder never showed it"
        except _Damaged as error:
            reason = str(error)
        except av.FFmpegError as error:
            reason = describe(error)
        if left:
            if known.missing:
                count = known.info.num_frames
                whole = count - known.missing
                reason = f"the file is truncated: {whole} of {count} frames are whole"
            raise VideoError(path, self.name, f"frame {left[0]} cannot be decoded: {reason}")
        known.intact_to = max(known.intact_to, wanted[-1])

    def _decode(
        self, container: Any, stream_index: int, last: int
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Number and yield frames up to ``last``; hold each until its references proved sound.

        A picture may refer to one that is shown after it. So a frame is released only once as
        many later ones as the decoder reorders have come out undamaged.
        """
        stream = container.streams[stream_index]
        select(container, stream)
        context = stream.codec_context
        context.thread_count = self.threads
        context.thread_type = "AUTO" if self.threads > 1 else "NONE"

        held: deque[av.VideoFrame] = deque()
        released = count = 0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise _Damaged(f"the file's data is cut off near frame {count}")
            try:
                frames = context.decode(packet if packet.size else None)
            except av.FFmpegError as error:
                raise _Damaged(f"damage near frame {count}: {describe(error)}") from error
            for frame in frames:
                if frame.is_corrupt:
                    raise _Damaged(f"frame {count} is damaged")
                held.append(frame)
                count += 1
            while held and (packet.size == 0 or len(held) > context.reorder_depth):
                yield released, held.popleft()
                released += 1
                if released > last:
                    return


class _Damaged(Exception):
    """Internal: the stream cannot be decoded further."""


class _ToRGB:
    """Turns decoded frames upright and into RGB by the filters that the ffmpeg tool inserts.

    A filter graph, because it is what makes 10-bit exact: PyAV's own ``reformat`` differs from
    ffmpeg by 17 levels or more there, whatever its flags.
    """

    def __init__(self) -> None:
        self._built_for: tuple[Any, ...] = ()
        self._graph: av.filter.Graph

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        matrix = display_matrix(frame)
        size, colour = (frame.width, frame.height), (frame.colorspace, frame.color_range)
        looks = (size, frame.format.name, colour, matrix)
        if looks != self._built_for:  # some files change size in mid-stream
            self._build(frame, matrix)
            self._built_for = looks
        self._graph.vpush(frame)
        return np.ascontiguousarray(self._graph.vpull().to_ndarray())

    def _build(self, frame: av.VideoFrame, matrix: tuple[int, ...] | None) -> None:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base="1/1000",
            pixel_aspect="1/1",
            colorspace=str(int(frame.colorspace)),
            range=str(int(frame.color_range)),
        )
        upright = [graph.add(name, argument) for name, argument in _upright(matrix)]
        graph.link_nodes(source, *upright, graph.add("format", "rgb24"), graph.add("buffersink"))
        graph.configure(auto_buffer=False)
        self._graph = graph


def _upright(matrix: tuple[int, ...] | None) -> list[tuple[str, str | None]]:
    """The filters for a display matrix, mirrored ones included.

    Source: the choice of filters is that of the ffmpeg tool's ``-autorotate``.
    """
    if matrix is None:
        return []
    turn = clockwise(matrix)
    if turn == 90:
        return [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
    if turn == 270:
        return [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
    if turn == 180:
        flips = (("hflip", matrix[0] < 0), ("vflip", matrix[4] < 0))
        return [(name, None) for name, needed in flips if needed]
    if turn:
        return [("rotate", f"{turn}*PI/180")]
    return [("vflip", None)] if matrix[4] < 0 else []


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
