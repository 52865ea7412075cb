"""What the tests of isolated readers share: what a child is, what it read, what it left."""

import contextlib
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from distill.data.readers.isolated import IsolatedReader
from tests.helpers.odd_reader import Odd

LONG = 60.0  # seconds, for what is sound, on whatever machine


@contextlib.contextmanager
def odd_reader() -> Iterator[Odd]:
    """A reader that leaves no process and no file behind."""
    gc.collect()
    files = psutil.Process().num_fds()
    reader = Odd("odd", LONG)
    yield reader
    del reader._idle[:]
    gc.collect()
    commands = [" ".join(process.cmdline()) for process in psutil.Process().children()]
    assert not [command for command in commands if "odd_reader" in command or not command]
    assert psutil.Process().num_fds() <= files + 2 * any("tracker" in c for c in commands)


def pid_of(reader: IsolatedReader) -> int:
    """The child that the next call takes."""
    return reader._idle[-1]._process.pid


def greys(reader: Any, path: str | Path, indices: Any) -> list[int]:
    return [int(frame[0, 0, 0]) for _, frame in reader.read(Path(path), indices)]


def gone(pid: int, seconds: float = LONG) -> bool:
    """Whether a process ends; the time is only a bound on the wait for it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False
