"""GuardedReader: a native reader where PyAV proved that it may be asked, else PyAV."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.readers.facts import Facts
from distill.data.readers.packets import facts
from distill.data.readers.pyav import PyAVReader, check_indices
from distill.errors import VideoError


class Refused(Exception):
    """Internal: the native reader would not show what ffmpeg shows; the text says why."""


class GuardedReader:
    """The shell that decord and torchcodec share; see DecordReader for the reasons.

    Args:
        threads: decoder threads of one read, >= 1.
        hdr: as in PyAVReader.
    """

    name: str

    def __init__(self, threads: int = 1, hdr: Literal["keep", "refuse"] = "keep") -> None:
        self._pyav = PyAVReader(threads, hdr)
        self.threads, self.hdr = threads, hdr

    def probe(self, path: Path) -> VideoInfo:
        """Metadata from packets and one decoded picture; see VideoReader.probe."""
        return facts(path, self.name, self.hdr).info

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames in order, in batches of at most 8; see VideoReader.read."""
        known = facts(path, self.name, self.hdr)
        wanted = check_indices(path, self.name, indices, known)
        done, reason = 0, ""
        if wanted and self._trusts(known) and known.are_proven(wanted):
            try:
                for index, frame in self._native(path, wanted, known):
                    yield index, frame
                    done += 1
                return
            except Refused as error:
                known.refused[self.name] = str(error)
            except Exception as error:  # native errors share no base: DECORDError, RuntimeError
                reason = f"{type(error).__name__}: {error}"
                known.refused[self.name] = reason
        try:
            yield from self._pyav.read(path, wanted[done:])
        except VideoError as error:
            # The native text is long: cut it so that both reasons fit.
            both = f"{reason[:90]}; then pyav: {error.reason}" if reason else error.reason
            raise VideoError(path, self.name if reason else error.reader, both) from error

    def _trusts(self, known: Facts) -> bool:
        """Whether this reader may be asked about such a file at all."""
        return not known.unsafe and self.name not in known.refused

    def _native(
        self, path: Path, wanted: list[int], known: Facts
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Frames by the native reader.

        Raises:
            Refused: it numbers the frames differently, or shows another size.
        """
        raise NotImplementedError(type(self).__name__)
