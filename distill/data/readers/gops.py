"""One open file, decoded GOP by GOP: from a key frame on, numbered, and checked for damage."""

import heapq
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.codec.context import Flags

from distill.data.readers.facts import Facts
from distill.data.readers.packets import describe, open_container, select


class Damaged(Exception):
    """Internal: the GOP cannot be decoded further; the text says why."""


class Misjudged(Exception):
    """Internal: the pictures are not those that the packets promise, so counting must decide."""


# x264 and x265 put at most 16 B-frames between two others, so no more are shown between a picture
# and one that it refers to. Source: X264_BFRAME_MAX of x264, X265_BFRAME_MAX of x265.
_PATIENCE = 16


class Held:
    """Pictures in the order shown, held until all that each may refer to came out sound.

    A picture refers only to pictures that were decoded before it, and the decoder takes packets in
    that order. So a picture may go once each packet that was sent before its own has shown its
    picture, undamaged: then all its references are among those that were looked at. How many
    pictures the decoder reorders tells nothing of that: of an anchor and the B-frames before it
    one is reordered, and the anchor is shown after all of them.

    Args:
        patience: some packets show nothing: second fields, pictures marked as not coded, those
            before a cut. Once more pictures than this wait for such a packet, it is given up.
            None: each packet shows a picture.
    """

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self._awaited: dict[int, None] = {}  # packets without a picture as yet, in order
        self._held: deque[tuple[int, av.VideoFrame]] = deque()

    def sent(self, number: int) -> None:
        """Note a packet; numbers grow."""
        self._awaited[number] = None

    def came(self, number: int | None, picture: av.VideoFrame) -> None:
        """Take the next picture in the order shown, undamaged, of the packet of that number."""
        assert number is not None  # each packet had one
        self._awaited.pop(number, None)
        self._held.append((number, picture))

    def release(self) -> Iterator[av.VideoFrame]:
        """The pictures that may go now, in order."""
        while self._held:
            number = self._held[0][0]
            if self._patience is not None and len(self._held) > self._patience:
                for late in [late for late in self._awaited if late < number]:
                    del self._awaited[late]
            if next(iter(self._awaited), number) < number:
                return
            yield self._held.popleft()[1]

    def rest(self) -> Iterator[av.VideoFrame]:
        """All that are left, once the decoder is drained: nothing more will come."""
        self._awaited.clear()
        return self.release()


class Gops:
    """A file that is open for one read, as a context manager.

    A file that cannot be trusted with a seek is one GOP from frame 0 to its end.

    Args:
        path: the file.
        known: its facts.
        threads: decoder threads, >= 1.
        seek: trust the seek points of ``known``; else count from frame 0.

    Attributes:
        ended: whether the packets are over.
    """

    def __init__(self, path: Path, known: Facts, threads: int, seek: bool) -> None:
        self._path, self._known, self._threads, self._seek = path, known, threads, seek
        self._ahead, self.ended = None, False
        self._open()

    def __enter__(self) -> "Gops":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def decode(self, gop: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Number and yield the frames of one GOP; hold each until its references proved sound.

        See ``Held`` for when that is. Which frame is released before an error depends on the GOP
        alone, not on when the caller stops or on how late decoder threads deliver.

        Raises:
            Damaged: at the first sign of damage.
            Misjudged: a picture is not that of the next time stamp of those in the packets, and
                that is no sign of damage.
        """
        held = Held(patience=None if self._seek else _PATIENCE)
        stamps: list[tuple[int, int]] = []  # a heap of those that were sent and have not come out
        index = come = int(self._known.starts[gop]) if self._seek else 0
        latest: av.VideoFrame | None = None
        for number, packet in enumerate(self._packets(gop)):
            if packet is not None:
                if self._seek:
                    heapq.heappush(stamps, (packet.pts, number))
                if not packet.is_discard:
                    held.sent(number)
                # Decoders carry the time stamp of a packet over to its picture, so a number in its
                # place names the picture's packet, where the file has no unique time stamps too.
                packet.pts = number
            for frame in self._pictures(packet, come):
                if self._seek and (not stamps or heapq.heappop(stamps)[1] != frame.pts):
                    raise self._gap(come, frame)
                held.came(frame.pts, frame)
                come, latest = come + 1, frame
                for sound in held.release():
                    yield index, sound
                    index += 1
        if stamps:
            raise self._gap(come, latest)
        for sound in held.rest():
            yield index, sound
            index += 1

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

    def _pictures(self, packet: Any, index: int) -> Iterator[av.VideoFrame]:
        """What comes out of the decoder for one packet; None drains it."""
        if packet is not None and packet.is_corrupt:
            self._next()  # to know whether it is the last
            raise Damaged(f"the container marks the data near frame {index} as damaged")
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            raise Damaged(f"damage near frame {index}: {describe(error)}") from error
        for place, frame in enumerate(frames):
            if frame.is_corrupt:
                raise Damaged(f"frame {index + place} is damaged")
            yield frame

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
        self.ended = True  # unless a packet comes: an error of the demuxer's is an end too
        packet = next(self._demuxer, None)
        self.ended = packet is None or not packet.size
        return None if self.ended else packet

    def _open(self) -> None:
        self._container = open_container(self._path)
        self._stream = self._container.streams[self._known.stream]
        select(self._container, self._stream)
        self._context = self._stream.codec_context
        self._context.thread_count = self._threads
        self._context.thread_type = "AUTO" if self._threads > 1 else "NONE"
        # Else a crop at the left is widened until the first column is aligned in memory.
        self._context.flags |= Flags.unaligned
        self._demuxer = self._container.demux(self._stream)
        self._ahead = None
