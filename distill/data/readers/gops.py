"""One open file, decoded GOP by GOP: from a key frame on, numbered, and checked for damage."""

import heapq
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from distill.data.readers.facts import Facts
from distill.data.readers.packets import describe, open_container, select


class Damaged(Exception):
    """Internal: the GOP cannot be decoded further; the text says why."""


class Misjudged(Exception):
    """Internal: the pictures are not those that the packets promise, so counting must decide."""


class Gops:
    """A file that is open for one read, as a context manager.

    A file that cannot be trusted with a seek is one GOP from frame 0 to its end.

    Args:
        path: the file.
        known: its facts.
        threads: decoder threads, >= 1.
        seek: trust the seek points of ``known``; else count from frame 0.
    """

    def __init__(self, path: Path, known: Facts, threads: int, seek: bool) -> None:
        self._path, self._known, self._threads, self._seek = path, known, threads, seek
        self._ahead = None
        self._open()

    def __enter__(self) -> "Gops":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def decode(self, gop: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Number and yield the frames of one GOP; hold each until its references proved sound.

        A picture may refer to one that is shown after it. So a frame is released only once as
        many later ones as the decoder reorders have come out undamaged, or its GOP is over.

        Raises:
            Damaged: at the first sign of damage.
            Misjudged: a picture's time stamp is not the next one of those in the packets, and that
                is no sign of damage.
        """
        held: deque[av.VideoFrame] = deque()
        stamps: list[int] = []  # a heap of those that were sent and have not come out
        index = int(self._known.starts[gop]) if self._seek else 0
        latest: av.VideoFrame | None = None
        for packet in self._packets(gop):
            if packet is not None and self._seek:
                heapq.heappush(stamps, packet.pts)
            for frame in self._pictures(packet, index + len(held)):
                due = heapq.heappop(stamps) if stamps else None
                if self._seek and frame.pts != due:
                    raise self._gap(index + len(held), frame)
                held.append(frame)
                latest = frame
            while held and (packet is None or len(held) > self._context.reorder_depth):
                yield index, held.popleft()
                index += 1
        if stamps:
            raise self._gap(index, latest)

    def _gap(self, index: int, frame: av.VideoFrame | None) -> Exception:
        """What it means that another picture than that of ``index`` came out.

        Where each field is a packet, or a codec marks pictures as not coded, fewer pictures than
        packets are no fault. In H.264 and HEVC a packet without a picture is one that the decoder
        did not recognise, and it may say nothing of that.
        """
        fields = frame is not None and frame.interlaced_frame
        if fields or self._known.info.codec not in ("h264", "hevc"):
            return Misjudged()
        return Damaged(f"the decoder never showed frame {index}")

    def _pictures(self, packet: Any, index: int) -> list[av.VideoFrame]:
        """What comes out of the decoder for one packet; None drains it."""
        if packet is not None and packet.is_corrupt:
            raise Damaged(f"the file's data is cut off near frame {index}")
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            raise Damaged(f"damage near frame {index}: {describe(error)}") from error
        for place, frame in enumerate(frames):
            if frame.is_corrupt:
                raise Damaged(f"frame {index + place} is damaged")
        return frames

    def _packets(self, gop: int) -> Iterator[Any]:
        """The packets of one GOP, then None."""
        packet = self._go_to(gop)
        self._context.flush_buffers()
        while packet is not None:
            self._ahead = None
            yield packet
            packet = self._ahead = self._next()
            if packet is not None and self._starts(packet, gop + 1):
                break
        yield None

    def _go_to(self, gop: int) -> Any:
        """The first packet of a GOP; a file whose seek missed one is not sought in again."""
        if self._ahead is not None and self._starts(self._ahead, gop):
            return self._ahead
        if not self._seek:
            for _ in range(self._known.headless):
                self._next()
            return self._next()
        if gop and not self._known.seek_misses:
            packet = self._seek_to(gop)
            if packet is not None:
                return packet
            self._known.seek_misses = True
            self._container.close()
            self._open()
        packet = self._skip_to(gop)  # GOPs are asked for in order, so it lies ahead
        if packet is None:
            raise Misjudged
        return packet

    def _seek_to(self, gop: int) -> Any | None:
        try:
            self._container.seek(int(self._known.stamps[gop]), stream=self._stream)
        except av.FFmpegError:
            return None
        self._demuxer = self._container.demux(self._stream)
        return self._skip_to(gop)

    def _skip_to(self, gop: int) -> Any | None:
        """Pass over packets, undecoded, up to the first one of a GOP; None if it lies behind."""
        stamp = self._known.stamps[gop]
        while (packet := self._next()) is not None:
            if self._starts(packet, gop):
                return packet
            if packet.is_keyframe and packet.pts is not None and packet.pts > stamp:
                return None
        return None

    def _starts(self, packet: Any, gop: int) -> bool:
        stamps = self._known.stamps
        return self._seek and gop < len(stamps) and packet.is_keyframe and packet.pts == stamps[gop]

    def _next(self) -> Any | None:
        packet = next(self._demuxer, None)
        return packet if packet is not None and packet.size else None

    def _open(self) -> None:
        self._container = open_container(self._path)
        self._stream = self._container.streams[self._known.stream]
        select(self._container, self._stream)
        self._context = self._stream.codec_context
        self._context.thread_count = self._threads
        self._context.thread_type = "AUTO" if self._threads > 1 else "NONE"
        self._demuxer = self._container.demux(self._stream)
        self._ahead = None
