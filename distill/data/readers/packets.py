"""What a file says about its video, read from packets: one demux, one decoded picture, cached.

Both readers need the same facts: the metadata, which frames a player shows, how to turn them
upright, and whether a seek in this file can be trusted.
"""

import gc
import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from distill.data.reader import VideoInfo
from distill.data.readers.facts import Facts, seek_points
from distill.data.readers.guard import entry, needs_key, why_unsafe
from distill.data.readers.rgb import clockwise, display_matrix, is_turn
from distill.errors import VideoError

# The largest picture of level 6.2, the highest of H.264 and AV1 and of HEVC's first editions:
# 8192 x 4352. A header that promises more is a fault or an attack: 30000 x 30000 would be 2.7 GB
# a frame. Source: ITU-T H.264 table A-1 (MaxFS), H.265 table A.8 (MaxLumaPs), AV1 annex A.3.
MAX_PIXELS = 35_651_584

# FFmpeg's names of the transfer characteristics, by number. Source: ITU-T H.273 table 3 and
# av_color_transfer_name; what is missing is unspecified or reserved.
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear",
    9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1",
    14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
# PyAV 19 has no such argument: it takes any tag.
_ANY_TAGS: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
NO_CONTAINER = "no video: another kind of file, or one whose index is cut off or damaged"
_PLAYLISTS = {"concat", "hls", "dash", "imf"}


def facts(path: Path, reader: str, hdr: Literal["keep", "refuse"] = "keep") -> Facts:
    """Facts of a file, from the cache where path, inode, size and times of change are the same.

    Args:
        path: the file.
        reader: who asks, for the error's text.
        hdr: what to do with a video whose transfer is PQ or HLG.

    Raises:
        VideoError: the file is missing, empty, has no video stream, or is no video; or it is HDR
            and that is refused.
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
        version = status.st_dev, status.st_ino, status.st_size
        known = _scan(os.path.abspath(path), version, status.st_mtime_ns, status.st_ctime_ns)
    except _NoVideo as error:
        raise VideoError(path, reader, str(error)) from error
    except Exception as error:  # what a strange header makes native code throw has no one base
        raise VideoError(path, reader, describe(error)) from error
    if hdr == "refuse" and known.info.hdr:
        raise VideoError(
            path,
            reader,
            f"HDR video (transfer {known.info.transfer}) and hdr=refuse: convert it to SDR, or "
            "take its frames without tone mapping by hdr=keep",
        )
    return known


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
    # max_pixels is for the decoders by which FFmpeg finds out what a stream holds.
    limit = {"max_pixels": str(MAX_PIXELS)}
    return av.open(url, options=limit, container_options=only_files, **_ANY_TAGS)


class _NoVideo(Exception):
    """Internal: the text of a VideoError that the cached function cannot word itself."""


@lru_cache(maxsize=4096)  # written in C: no lock that a fork could leave held
def _scan(path: str, version: tuple[int, int, int], mtime_ns: int, ctime_ns: int) -> Facts:
    del version, mtime_ns, ctime_ns  # part of the cache key only
    try:
        opened = open_container(path)
    except av.error.InvalidDataError as error:
        raise _NoVideo(f"{NO_CONTAINER} ({describe(error)})") from error
    with opened as container:
        if container.format.name in _PLAYLISTS:
            raise _NoVideo("a playlist of other files, not a video")
        videos = container.streams.video
        real = [s for s in videos if not s.disposition & av.stream.Disposition.attached_pic]
        if not real:
            raise _NoVideo("only a cover picture" if videos else "no video stream")
        readable = [s for s in real if s.codec_context is not None]
        if not readable:
            raise _NoVideo("FFmpeg knows no decoder for its video stream")
        stream = max(readable, key=_rank)
        if not 0 < stream.width * stream.height <= MAX_PIXELS:
            side = f"{stream.width}x{stream.height}" if stream.width else "no sane size"
            raise _NoVideo(f"pictures of {side}; up to {MAX_PIXELS} pixels are read")
        select(container, stream)
        packets = _Packets(stream)
        for packet in container.demux(stream):
            packets.add(packet)
        if not packets.shown:
            raise _NoVideo("the video stream has no frames")
        return _facts(container, stream, packets, len(real) > 1)


def _rank(stream: Any) -> int:
    """FFmpeg's choice where there are several: the default one, then the largest picture.

    Source: map_auto_video of the ffmpeg tool, whose bonus for the default is 5 000 000 pixels.
    """
    default = bool(stream.disposition & av.stream.Disposition.default)
    return stream.width * stream.height + 5_000_000 * default


def select(container: Any, stream: Any) -> None:
    """Tell the demuxer to skip what is not the video, and the decoder to refuse huge pictures."""
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all


class _Packets:
    """Gathers what the packets of one stream show, in decode order."""

    def __init__(self, stream: Any) -> None:
        self.pts: list[int | None] = []
        self.keys: list[int] = []
        self.shown = self.discarded = self.orphans = self.headless = 0
        self.damaged = self.cut = 0  # by the container's word; the latter at the end of the file
        self.matrix: tuple[int, ...] | None = None
        self.turn = 0
        self.widened = self._seen = False
        self.all_idr = self.all_enter = True
        self._stream = stream
        self._leading = False

    def add(self, packet: Any) -> None:
        if packet.size == 0 and packet.dts is None:  # the demuxer's end marker
            return
        if packet.is_corrupt:
            self.damaged += 1
            self.cut += 1
            return
        self.cut = 0
        if not self._seen and packet.is_keyframe:
            self._see(_decode_alone(self._stream, packet))
            gc.collect(0)  # the picture: display_matrix tells why it would stay
        if packet.is_keyframe:
            kind = entry(self._stream.codec_context, packet)
            idr = kind == "clears"
            if not self.keys and needs_key(self._stream.codec_context):
                self.headless, self.shown = len(self.pts), 0
            self.keys.append(len(self.pts))
            self.all_idr = self.all_idr and idr
            self.all_enter = self.all_enter and bool(kind)
            self._leading = self._leading or (not self.keys[1:] and not idr)
        self.pts.append(packet.pts)
        self.discarded += packet.is_discard
        self.shown += not packet.is_discard and not self._is_orphan(packet)

    def _see(self, picture: av.VideoFrame | None) -> None:
        if picture is not None:
            self._seen, self.turn = True, picture.rotation
            self.matrix = display_matrix(picture)
            self.widened = picture.width != self._stream.codec_context.width

    def _is_orphan(self, packet: Any) -> bool:
        """Whether the picture refers to one before the first key frame: no decoder shows it.

        Such pictures begin a stream that was cut at an open GOP.
        """
        if not self._leading or packet.is_keyframe:
            return False
        first = self.pts[self.keys[0]]
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
    context = stream.codec_context
    missing = packets.cut
    if "mov" in container.format.name and len(stream.index_entries) > len(packets.pts):
        promised = sum(not entry.is_discard for entry in stream.index_entries)
        missing = max(missing, promised - packets.shown)

    matrix, turn = packets.matrix, clockwise(packets.matrix)
    rotation = int(turn) if turn in (90, 270) or is_turn(matrix, 180) else 0
    width, height = context.width, context.height
    if rotation in (90, 270):
        width, height = height, width

    duration = stream.duration * float(stream.time_base) if stream.duration else 0.0
    if not duration and container.duration:
        duration = container.duration / av.time_base
    count = packets.shown + packets.damaged + missing - packets.cut
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
        transfer=_TRANSFERS.get(int(context.color_trc), ""),
        missing=missing,
    )
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
        widened=packets.widened,
    )
    keys = seek_points([0] if unsafe else packets.keys)
    stamps = np.array([packets.pts[key] or 0 for key in keys], dtype=np.int64)
    proven = np.zeros(len(keys), dtype=np.int32)
    return Facts(
        info=info,
        stream=stream.index,
        container=container.format.name,
        headless=packets.headless,
        unsafe=unsafe,
        all_enter=packets.all_enter,
        matrix=matrix,
        turn=packets.turn,
        starts=keys,
        stamps=stamps,
        proven=proven,
    )
