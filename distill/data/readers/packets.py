"""What a file says about its video, read from packets: one demux, one decoded picture, cached.

Both readers need the same facts: the metadata, which frames a player shows, how to turn them
upright, and whether a seek in this file can be trusted.
"""

import os
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import Type

from distill.data.reader import VideoInfo
from distill.data.readers.guard import is_idr, is_turn, why_unsafe
from distill.errors import VideoError

# PyAV 19 has no such argument: it takes any tag.
_ANY_TAGS: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
_PLAYLISTS = {"concat", "hls", "dash", "imf"}


@dataclass
class Facts:
    """Facts about one version of one file.

    Attributes:
        info: metadata as the protocol defines it.
        stream: index of the video stream in the container.
        missing: frames that the file's index promises but its end cuts off.
        key_frames: display indices of key frames; empty where a seek is unsafe.
        unsafe: why a seek may land on the wrong frame; empty where it may not. A reader may
            still find a reason.
        intact_to: last frame that a sequential decode of this process found undamaged, or -1.
            Only grows; where two threads race, the loser's file is read sequentially once more.
    """

    info: VideoInfo
    stream: int
    missing: int
    key_frames: tuple[int, ...]
    unsafe: str
    intact_to: int = -1


def facts(path: Path, reader: str) -> Facts:
    """Facts of a file, from the cache where path, size and time of change are the same.

    Args:
        path: the file.
        reader: who asks, for the error's text.

    Raises:
        VideoError: the file is missing, empty, has no video stream, or is no video.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise VideoError(path, reader, "no such file" if missing else str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, reader, "not a regular file")
    if status.st_size == 0:
        raise VideoError(path, reader, "the file is empty")
    try:
        return _scan(os.path.abspath(path), status.st_size, status.st_mtime_ns)
    except _NoVideo as error:
        raise VideoError(path, reader, str(error)) from error
    except Exception as error:  # what a strange header makes native code throw has no one base
        raise VideoError(path, reader, describe(error)) from error


def describe(error: Exception) -> str:
    """A native error in one line, without the path that VideoError names already."""
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}"


def open_container(path: str | Path) -> Any:
    """Open a file and nothing else: a colon in its name is no protocol, nor may it ask for one.

    Tags need not be UTF-8; PyAV would refuse the whole file over one that is not.
    """
    only_files = {"protocol_whitelist": "file"}
    url = f"file:{os.path.abspath(path)}"
    return av.open(url, container_options=only_files, **_ANY_TAGS)


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The 3x3 display matrix of a decoded frame in 16.16 fixed point, row by row."""
    items = cast(Any, frame.side_data)  # its stub is that of a dict
    for position in range(len(items)):  # iteration yields other things from PyAV 19 on
        if items[position].type == Type.DISPLAYMATRIX:
            return tuple(np.frombuffer(bytes(items[position])[:36], dtype=np.int32).tolist())
    return None


def clockwise(matrix: tuple[int, ...] | None) -> float:
    """Degrees clockwise, in [0, 360), that turn a stored frame upright."""
    if matrix is None:
        return 0.0
    scale = np.hypot(matrix[0], matrix[3]), np.hypot(matrix[1], matrix[4])
    if not all(scale):
        return 0.0
    degrees = np.degrees(np.arctan2(matrix[1] / scale[1], matrix[0] / scale[0]))
    return float(np.round(degrees)) % 360


class _NoVideo(Exception):
    """Internal: the text of a VideoError that the cached function cannot word itself."""


@lru_cache(maxsize=4096)  # written in C: no lock that a fork could leave held
def _scan(path: str, size: int, mtime_ns: int) -> Facts:
    del size, mtime_ns  # part of the cache key only
    with open_container(path) as container:
        if container.format.name in _PLAYLISTS:
            raise _NoVideo("a playlist of other files, not a video")
        videos = container.streams.video
        real = [s for s in videos if not s.disposition & av.stream.Disposition.attached_pic]
        if not real:
            raise _NoVideo("only a cover picture" if videos else "no video stream")
        # FFmpeg's own choice where there are several: the largest picture.
        stream = max(real, key=lambda s: s.width * s.height)
        select(container, stream)
        packets = _Packets(stream)
        for packet in container.demux(stream):
            packets.add(packet)
        if not packets.shown:
            raise _NoVideo("the video stream has no frames")
        if not stream.width or not stream.height:
            raise _NoVideo("the video stream does not say its picture size")
        return _facts(container, stream, packets, len(real) > 1)


def select(container: Any, stream: Any) -> None:
    """Tell the demuxer to skip what is not the video, sound above all."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all


class _Packets:
    """Gathers what the packets of one stream show, in decode order."""

    def __init__(self, stream: Any) -> None:
        self.pts: list[int | None] = []
        self.keys: list[int] = []
        self.shown = self.discarded = self.damaged = self.orphans = 0
        self.picture: av.VideoFrame | None = None
        self.all_idr = True
        self._stream = stream
        self._leading = False

    def add(self, packet: Any) -> None:
        if packet.size == 0 and packet.dts is None:  # the demuxer's end marker
            return
        if packet.is_corrupt:
            self.damaged += 1
            return
        if self.picture is None and packet.is_keyframe:
            self.picture = _decode_alone(self._stream, packet)
        if packet.is_keyframe:
            self.keys.append(len(self.pts))
            idr = is_idr(self._stream.codec_context, packet)
            self.all_idr = self.all_idr and idr
            self._leading = self._leading or (not self.pts and not idr)
        self.pts.append(packet.pts)
        self.discarded += packet.is_discard
        self.shown += not packet.is_discard and not self._is_orphan(packet)

    def _is_orphan(self, packet: Any) -> bool:
        """Whether the picture refers to one before the first key frame: no decoder shows it.

        Such pictures begin a stream that was cut at an open GOP.
        """
        if not self._leading or len(self.pts) < 2:
            return False
        first = self.pts[0]
        self._leading = first is not None and (packet.pts is None or packet.pts < first)
        self.orphans += self._leading
        return self._leading


def _decode_alone(stream: Any, packet: Any) -> av.VideoFrame | None:
    """One key picture: PyAV shows a stream's display matrix on decoded frames only."""
    context = stream.codec_context
    if not context.is_open:
        context.thread_count = 1
    plain = av.Packet(bytes(packet))  # without the flag by which an edit list discards it
    try:
        frames = context.decode(plain) + context.decode(None)
    except av.FFmpegError:
        frames = []
    context.flush_buffers()
    return frames[0] if frames else None


def _facts(container: Any, stream: Any, packets: _Packets, several: bool) -> Facts:
    context, picture = stream.codec_context, packets.picture
    missing = packets.damaged
    if "mov" in container.format.name and len(stream.index_entries) > len(packets.pts):
        promised = sum(not entry.is_discard for entry in stream.index_entries)
        missing = max(missing, promised - packets.shown)

    matrix = display_matrix(picture) if picture is not None else None
    turn = clockwise(matrix)
    rotation = int(turn) if turn in (90, 270) or is_turn(matrix, 180) else 0
    width, height = context.width, context.height
    if rotation in (90, 270):
        width, height = height, width

    duration = stream.duration * float(stream.time_base) if stream.duration else 0.0
    if not duration and container.duration:
        duration = container.duration / av.time_base
    count = packets.shown + missing
    fps = float(stream.average_rate or 0) or (count / duration if duration else 0.0)
    info = VideoInfo(
        num_frames=count,
        fps=fps,
        width=width,
        height=height,
        rotation=rotation,
        codec=context.codec.canonical_name,
        duration=duration,
        pix_fmt=context.pix_fmt or "",
    )
    key_frames = tuple(packets.keys)
    unsafe = why_unsafe(
        info,
        container=container.format.name,
        several_streams=several,
        shown=packets.shown,
        discarded=packets.discarded,
        orphans=packets.orphans,
        pts=packets.pts,
        keys=packets.keys,
        all_idr=packets.all_idr,
        matrix=matrix,
    )
    return Facts(info, stream.index, missing, () if unsafe else key_frames, unsafe)
