"""A reader whose behaviour is the stem of the file's name, as the program of a decoding process."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.readers import serve
from distill.data.readers.isolated import IsolatedReader
from distill.errors import ConfigError, VideoError


class Odd(IsolatedReader):
    """Its child reads as below; ``refuse`` and ``exit`` as names fail at the start."""

    program = (__file__,)


class _OddReader:
    name = "odd"

    def probe(self, path: Path) -> VideoInfo:
        self._act(path)
        return VideoInfo(100, 25.0, 8, 4)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in indices:
            if path.is_file():  # counts what was begun
                with path.open("ab") as file:
                    file.write(b".")
            if index >= 3:
                self._act(path)
            side = 4 + index if path.stem == "grows" else 4
            yield index, np.full((side, 8, 3), index, np.uint8)

    def _act(self, path: Path) -> None:
        what = path.stem
        if what == "hang":
            ctypes.PyDLL(None).pause()  # holds the interpreter's lock
        elif what == "slow":
            time.sleep(2)
        elif what == "error":
            raise VideoError(path, "inner", "broken \udcff name")
        elif what == "bug":
            raise RuntimeError("an oversight")
        elif what == "exit":
            os._exit(3)
        elif what == "prints":
            os.write(1, b"{} native noise\n")
        elif what.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, what))


def _make(name: str, *, threads: int, hdr: str) -> _OddReader:
    if name == "refuse":
        raise ConfigError("reader 'refuse' does not work here: as it should")
    if name == "exit":
        os._exit(3)
    return _OddReader()


if __name__ == "__main__":
    serve.main(sys.argv[1], _make)
