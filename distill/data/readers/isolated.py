"""IsolatedReader: any reader in a process of its own, so that no video can hang or crash ours.

Native decoders cannot be interrupted from Python: one that loops holds its thread, and often the
interpreter's lock, for ever. Another process can always be ended.
"""

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import distill
from distill.data.reader import VideoInfo
from distill.data.readers.serve import Channel, pack_path
from distill.errors import ConfigError, VideoError

_START = 120.0  # seconds; a busy machine or a cold network file system may need many
# Seconds for a child to drop a read. Longer is not worth it: a new one starts in that time.
_DROP = 0.5
_IDLE = 4  # children kept for the next calls; each holds its decoder's memory


class IsolatedReader:
    """Reads in a child process, with a limit on the time that a video may take.

    A video that takes too long, or whose decoder dies, is a VideoError, and the next one gets a
    new child. A child stays for the next call, decodes a few frames ahead of the caller and no
    more, and ends with this process. Threads and interleaved reads have a child each, of which
    at most four stay; a forked or spawned process (a loader's worker) starts its own.

    Args:
        name: of the reader, as for ``make_reader``; ``auto`` is settled by the first child.
        time_limit: seconds, > 0, that one call of ``probe`` or ``read`` may wait for the child.
            What the caller does between two frames does not count.
        threads: see ``make_reader``.
        hdr: see ``make_reader``.

    Raises:
        ConfigError: the reader does not work here.
    """

    program: tuple[str, ...] = ("-m", "distill.data.readers.serve")

    def __init__(
        self, name: str, time_limit: float, *, threads: int = 1, hdr: str = "keep"
    ) -> None:
        self.time_limit = time_limit
        self._options = {"name": name, "threads": threads, "hdr": hdr, "time_limit": time_limit}
        child = _Child(self.program, self._options)
        self.name = self._options["name"] = child.name
        self._idle = [child]  # its append and pop are atomic, so threads need no lock

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": []}

    def probe(self, path: Path) -> VideoInfo:
        """Metadata; see VideoReader.probe."""
        (info,) = self._ask(path, {"do": "probe"})
        return VideoInfo(**info)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames in order; see VideoReader.read."""
        for index, frame in self.lend(path, indices):
            yield index, frame.copy()

    def lend(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """As ``read``, without a copy: a frame is gone when the next one is asked for."""
        yield from self._ask(path, {"do": "read", "indices": [int(i) for i in indices]})

    def _ask(self, path: Path, request: dict[str, Any]) -> Iterator[Any]:
        """What a child answers: one VideoInfo as a mapping, or frames with their indices."""
        child = self._take()
        left, usable = self.time_limit, False
        try:
            start = time.monotonic()
            child.send({**request, "path": pack_path(path)}, left)
            left -= time.monotonic() - start
            while True:
                start = time.monotonic()
                reply = child.receive(left)
                left -= time.monotonic() - start
                if reply is None:
                    raise VideoError(path, self.name, child.cause_of_death(self.time_limit))
                if "frames" in reply:
                    yield from map(child.frame, reply["frames"])
                    continue
                usable = True
                if "error" in reply:
                    raise _error(path, *reply["error"])
                if "info" in reply:
                    yield reply["info"]
                return
        except TimeoutError:
            raise VideoError(path, self.name, _too_long(self.time_limit)) from None
        except GeneratorExit:
            usable = usable or child.drop()
            raise
        finally:
            # Not usable: it hangs, is dead, or was left in the midst of a message (Ctrl-C).
            if usable:
                self._keep(child)
            else:
                child.end()

    def _keep(self, child: "_Child") -> None:
        self._idle.append(child)
        while len(self._idle) > _IDLE:
            with contextlib.suppress(IndexError):  # another thread took it
                self._idle.pop(0).end()

    def _take(self) -> "_Child":
        while True:
            try:
                child = self._idle.pop()
            except IndexError:
                return _Child(self.program, self._options)
            if child.alive():
                return child
            child.end()  # killed while it had nothing to do, which is no video's fault


def _error(path: Path, kind: str, reader: str, reason: str) -> Exception:
    if kind == "ValueError":  # a mistake of the caller's, as in process
        return ValueError(reason)
    return VideoError(path, reader, reason if kind == "VideoError" else f"{kind}: {reason}")


def _too_long(limit: float) -> str:
    return (
        f"stopped after {limit:g} s of decoding; reader.time_limit"
        " (score.py, make_ladder.py: --time-limit) allows more"
    )


class _Child:
    """A decoding process, as the process that started it sees it.

    Raises:
        ConfigError: its reader does not work here, or it does not start.
    """

    def __init__(self, program: Sequence[str], options: dict[str, Any]) -> None:
        frames = _memory_file()
        (lifeline, held), (answers, replies) = os.pipe(), os.pipe()
        theirs = {"frames": frames, "replies": replies, "lifeline": lifeline}
        # -P: a folder named numpy where the command was typed is not the library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", *program, json.dumps({**options, **theirs})],
            stdin=subprocess.PIPE,
            stdout=2,  # ours may be a table that somebody reads
            pass_fds=tuple(theirs.values()),
            start_new_session=True,  # Ctrl-C is for us to act upon
            env={**os.environ, "PYTHONPATH": _same_packages()},
        )
        os.close(lifeline)
        os.close(replies)
        assert self._process.stdin is not None
        self._files = [held, frames, answers, self._process.stdin]
        self._frames = frames
        self._map: mmap.mmap | None = None
        self._used = 0  # frames copied out that the child does not know of
        self._channel = Channel(answers, self._process.stdin.fileno())
        self.end = weakref.finalize(self, _end, self._process, self._files)
        _ALL.add(self)
        self.name = self._greet(str(options["name"]))

    def _greet(self, name: str) -> str:
        try:
            hello = self.receive(_START)
        except TimeoutError:
            hello = {"refused": f"its process did not start within {_START:g} s"}
        if hello is None:
            hello = {"refused": f"its process failed at the start: {self.cause_of_death(_START)}"}
        if "refused" in hello:
            self.end()
            text = hello["refused"]
            raise ConfigError(text if text.startswith("reader ") else f"reader {name!r}: {text}")
        return str(hello["name"])

    def alive(self) -> bool:
        """Whether it runs and is this process's own."""
        return self.end.alive and self._process.poll() is None

    def send(self, message: dict[str, Any], seconds: float) -> None:
        """Ask for something; see ``serve``.

        Raises:
            TimeoutError: the process did not take it for so many seconds.
        """
        self._used = 0
        self._channel.send(message, seconds)

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next reply, or None where the process is gone.

        Raises:
            TimeoutError: none came for so many seconds.
            RuntimeError: a read that another process began is continued here.
        """
        if not self.end.alive:
            raise RuntimeError("a read cannot be continued in a forked process; read again")
        until = time.monotonic() + max(0.0, seconds)
        if self._used:  # those of the reply before: not for each, as ``_QUICK`` says
            self._channel.send({"free": self._used}, max(0.0, seconds))
            self._used = 0
        return self._channel.receive(max(0.0, until - time.monotonic()))

    def frame(self, place: tuple[int, int, int, int]) -> tuple[int, np.ndarray]:
        """A frame in the shared memory: index, offset in bytes, height and width."""
        index, offset, height, width = place
        if self._map is None or len(self._map) < offset + height * width * 3:
            self._map = mmap.mmap(self._frames, 0)
        self._used += 1
        return index, np.ndarray((height, width, 3), np.uint8, self._map, offset)

    def drop(self) -> bool:
        """Leave the current read; False where the process is too busy to hear of it."""
        if not self.alive():
            return False
        until = time.monotonic() + _DROP
        with contextlib.suppress(TimeoutError):
            self.send({"do": "stop"}, _DROP)
            while (reply := self._channel.receive(max(0.0, until - time.monotonic()))) is not None:
                if "stopped" in reply:
                    return True
        return False

    def cause_of_death(self, limit: float) -> str:
        """Why a process that is gone is gone."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "its decoding process closed its connection"
        if code >= 0:
            return f"its decoding process ended with exit code {code}"
        if code == -signal.SIGALRM:  # hung while the caller did not wait
            return _too_long(limit)
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        return f"its decoding process died of {name}{hint}"

    def forget(self) -> None:
        """In a forked process: let go of what belongs to the one that started the child."""
        if self.end.detach():
            self._process.returncode = 0  # not ours to wait for
            _close(self._files)


def _memory_file() -> int:
    """A file that is memory, or at least has no name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("distill-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _same_packages() -> str:
    """PYTHONPATH by which a child imports what this process does, installed or not."""
    return os.pathsep.join([str(Path(distill.__file__).parents[1]), *filter(None, sys.path)])


def _end(process: subprocess.Popen[bytes], files: list[Any]) -> None:
    process.kill()
    _close(files)
    with contextlib.suppress(subprocess.TimeoutExpired):  # one that waits for a dead disk
        process.wait(5)


def _close(files: list[Any]) -> None:
    for file in files:
        if isinstance(file, int):
            os.close(file)
        else:
            file.close()


# A fork copies both ends' descriptors. While a copy is open, the child would not see us end.
_ALL: "weakref.WeakSet[_Child]" = weakref.WeakSet()


def _forget_all() -> None:
    for child in list(_ALL):
        child.forget()


os.register_at_fork(after_in_child=_forget_all)
