"""The decoding process of an IsolatedReader: one video at a time, frames through shared memory.

    python -m distill.data.readers.serve '{"name": "pyav", ...}'

Started by ``distill.data.readers.isolated`` and by nobody else. It never imports torch (but for
the torchcodec reader), so it starts in a fraction of a second.

Messages are JSON lines, requests on standard input, replies on a pipe of their own, because
native code prints what it likes: ::

    {"do": "probe", "path": p}                  ->  {"info": {...}}
    {"do": "read", "path": p, "indices": [..]}  ->  {"frames": [[index, offset, height, width],
    {"free": n}  n frames were copied out                       ..]} often, then {"end": true}
    {"do": "stop"}  drop the read, if any       ->  {"stopped": true}
    failure of a request                        ->  {"error": [kind, reader, reason]}
"""

import contextlib
import fcntl
import json
import mmap
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.errors import ConfigError, VideoError

# Frames decoded ahead of the caller: as many as fit, so that small ones do not cost a switch of
# processes each, and large ones do not cost memory.
_AHEAD_BYTES, _FEWEST, _MOST = 24 << 20, 2, 4
# Frames that take less are told of several at once: a switch of processes each is dear on one core.
_QUICK = 2e-3
_GRACE = 5.0  # seconds past the limit after which this process ends itself


class Channel:
    """JSON lines over two pipes.

    Args:
        reads, writes: file descriptors; the caller closes them.
    """

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._buffer, self._lines = b"", list[bytes]()
        self._poll = select.poll()
        self._poll.register(reads, select.POLLIN)
        self._room = select.poll()
        self._room.register(writes, select.POLLOUT)

    def send(self, message: dict[str, Any], seconds: float | None = None) -> None:
        """Write a message. One to a dead process is lost; the next ``receive`` tells.

        Raises:
            TimeoutError: the other side did not take it within so many seconds. Part of it may be
                written, so the channel is of no more use.
        """
        data = memoryview(json.dumps(message).encode() + b"\n")
        until = None if seconds is None else time.monotonic() + seconds
        with contextlib.suppress(BrokenPipeError):
            while data:
                left = None if until is None else until - time.monotonic()
                if not self._room.poll(_milliseconds(left)):
                    raise TimeoutError
                # A pipe with room takes so much without blocking.
                data = data[os.write(self._writes, data[: select.PIPE_BUF]) :]

    def ready(self, seconds: float | None = 0.0) -> bool:
        """Whether ``receive`` finds something, within so many seconds; None waits for ever."""
        return bool(self._lines) or bool(self._poll.poll(_milliseconds(seconds)))

    def receive(self, seconds: float | None = None) -> dict[str, Any] | None:
        """The next message, or None where the other side is gone.

        Raises:
            TimeoutError: there was none for so many seconds.
        """
        while not self._lines:
            if seconds is not None and not self.ready(seconds):
                raise TimeoutError
            data = os.read(self._reads, 1 << 16)
            if not data:
                return None
            *self._lines, self._buffer = (self._buffer + data).split(b"\n")
        message: dict[str, Any] = json.loads(self._lines.pop(0))
        return message


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, int(1000 * seconds + 0.999))


def pack_path(path: str | Path) -> str:
    """A path as JSON can hold it whatever its bytes and both processes' encodings."""
    path = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    return os.fsencode(path).decode("latin-1")


def unpack_path(text: str) -> Path:
    """See ``pack_path``."""
    return Path(os.fsdecode(text.encode("latin-1")))


def main(options: str, make: Callable[..., VideoReader] = make_reader) -> None:
    """Serve until the other side is gone.

    Args:
        options: JSON with ``name``, ``threads``, ``hdr``: of the reader; ``time_limit``: seconds;
            ``frames``, ``replies``, ``lifeline``: file descriptors.
        make: of the reader, as ``make_reader``.
    """
    chosen = json.loads(options)
    _end_with_parent(chosen["lifeline"])
    channel = Channel(0, chosen["replies"])
    try:
        reader = make(chosen["name"], threads=chosen["threads"], hdr=chosen["hdr"])
    except ConfigError as error:
        channel.send({"refused": str(error)})
        return
    channel.send({"name": reader.name})
    server = _Server(reader, channel, chosen["frames"], chosen["time_limit"] + _GRACE)
    while (request := channel.receive()) is not None:
        if "free" not in request:  # of the last frames of a read that is over
            server.answer(request)


def _end_with_parent(lifeline: int) -> None:
    """Die with the parent even inside native code that never returns.

    Linux signals this process when the only other end of the pipe is closed, and SIGIO unhandled
    ends it. Elsewhere the timer of ``_Server`` does, later, and the end of input between videos.
    """
    for name in (signal.SIGIO, signal.SIGALRM):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO, signal.SIGALRM})
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it was closed before the signal was asked for
        sys.exit()


class _Stopped(Exception):
    """Internal: the caller wants no more of this read."""


class _Server:
    def __init__(self, reader: VideoReader, channel: Channel, frames: int, limit: float) -> None:
        self._reader, self._channel, self._limit = reader, channel, limit
        self._slots = _Slots(frames, self._wait)
        self._told_late: list[list[int]] = []

    def answer(self, request: dict[str, Any]) -> None:
        """Answer a request; whatever goes wrong in it is a reply."""
        send = self._channel.send
        self._alarm(self._limit)
        try:
            if request["do"] == "probe":
                send({"info": asdict(self._reader.probe(unpack_path(request["path"])))})
            elif request["do"] == "read":
                self._read(unpack_path(request["path"]), request["indices"])
                send({"end": True})
            else:
                send({"stopped": True})
        except _Stopped:
            send({"stopped": True})
        except VideoError as error:
            send({"error": ["VideoError", error.reader, error.reason]})
        except Exception as error:  # a file must not end this process: that costs a start
            send({"error": [type(error).__name__, self._reader.name, str(error)]})
        self._alarm(0)

    def _read(self, path: Path, indices: list[int]) -> None:
        self._slots.used = 0
        last = time.monotonic()
        frames: Any = self._reader.read(path, indices)
        with contextlib.closing(frames):
            try:
                for index, frame in frames:
                    offset = self._slots.put(frame)
                    self._told_late.append([index, offset, *frame.shape[:2]])
                    now = time.monotonic()
                    if now - last > _QUICK or 2 * len(self._told_late) >= self._slots.count:
                        self._tell()
                    last = now
            finally:
                self._tell()

    def _tell(self) -> None:
        if self._told_late:
            self._channel.send({"frames": self._told_late})
            self._told_late = []

    def _wait(self, for_all: bool) -> None:
        """Learn which slots are free; wait where none is, or until all are."""
        slots, channel = self._slots, self._channel
        while channel.ready() or slots.used >= (1 if for_all else slots.count):
            if not channel.ready():
                self._tell()
                self._alarm(0)  # the caller's time, not the decoder's
            message = channel.receive()
            if message is None:
                sys.exit()
            if "free" not in message:
                raise _Stopped
            slots.used -= message["free"]
        self._alarm(self._limit)

    def _alarm(self, seconds: float) -> None:
        """End this process after so many seconds in one frame, whoever holds the lock; 0: never."""
        signal.setitimer(signal.ITIMER_REAL, seconds)


class _Slots:
    """A ring of equal places in the shared file, as large as the largest frame of the read.

    Args:
        file: descriptor of the shared file.
        wait: called before a place is taken; returns once one is free, or all of them.
    """

    def __init__(self, file: int, wait: Callable[[bool], None]) -> None:
        self._file, self._wait = file, wait
        self._map: mmap.mmap | None = None
        self._size = self._next = 0
        self.count = self.used = 0

    def put(self, frame: np.ndarray) -> int:
        """Copy a frame to the next place; its offset in bytes."""
        # A much smaller one gives memory back: one 8K video must not cost 200 MB for ever.
        if frame.nbytes > self._size or (frame.nbytes < self._size // 4 and not self.used):
            if self.used:
                self._wait(True)
            self._resize(frame.nbytes)
        self._wait(False)
        assert self._map is not None
        offset = self._next * self._size
        np.ndarray(frame.shape, np.uint8, self._map, offset)[...] = frame
        self._next = (self._next + 1) % self.count
        self.used += 1
        return offset

    def _resize(self, size: int) -> None:
        self._size, self._next = size, 0
        self.count = min(_MOST, max(_FEWEST, _AHEAD_BYTES // size))
        if self._map is not None:
            self._map.close()
        os.ftruncate(self._file, size * self.count)
        self._map = mmap.mmap(self._file, size * self.count)


if __name__ == "__main__":
    main(sys.argv[1])
