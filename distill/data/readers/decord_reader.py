"""DecordReader: decord where it is right, PyAV where it is not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import decord
import numpy as np

from distill.data.reader import VideoInfo
from distill.data.readers.packets import Facts, facts
from distill.data.readers.pyav import PyAVReader, check_indices
from distill.errors import VideoError

# get_batch allocates its whole answer: 8 frames of 1080p are 50 MB.
_BATCH = 8

# Any frame that decord repeats in place of one it could not decode is an error; 0 and below mean
# "never" to it, so the smallest useful share stands for none.
_NO_REPEATS = 1e-9


class DecordReader:
    """Reads with decord (wheel ``decord2``) behind a guard, else with ``PyAVReader``.

    decord is asked only where a seek was measured to be exact: closed GOPs that begin with IDR
    pictures, no edit list, codec, pixel format and container of a known list, and the same frame
    count and key frames in decord as in the packets. Where any of that fails, PyAV reads the file.

    decord also repairs damaged pictures without a word, and its repaired pictures are not those
    of ffmpeg. So a file is first read with PyAV, which reports damage, and with decord from the
    second read on, as far as PyAV found it sound. The pixels of both are the same (maximum
    difference 0 in tests/reference), and a first read costs no second decode.

    The decord reader lives for one call: left open, it decodes ahead of its caller without limit.
    """

    name = "decord"

    def __init__(self) -> None:
        self._pyav = PyAVReader()

    def probe(self, path: Path) -> VideoInfo:
        """Metadata from packets and one decoded picture; see VideoReader.probe."""
        return facts(path, self.name).info

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames in order, in batches of at most 8; see VideoReader.read."""
        known = facts(path, self.name)
        wanted = check_indices(path, self.name, indices, known)
        if not wanted:
            return
        done, reason = 0, ""
        if not known.unsafe and wanted[-1] <= known.intact_to:
            try:
                for index, frame in self._read(path, wanted, known):
                    yield index, frame
                    done += 1
                return
            except _Refused as error:
                known.unsafe = str(error)
            except Exception as error:  # DECORDError and its kin share no other base
                reason = f"{type(error).__name__}: {error}"
                known.unsafe = "decord failed on it"
        try:
            yield from self._pyav.read(path, wanted[done:])
        except VideoError as error:
            # The native text is long: cut it so that both reasons fit.
            both = f"{reason[:90]}; then pyav: {error.reason}" if reason else error.reason
            raise VideoError(path, self.name if reason else error.reader, both) from error

    def _read(
        self, path: Path, wanted: list[int], known: Facts
    ) -> Iterator[tuple[int, np.ndarray]]:
        reader = decord.VideoReader(
            str(Path(path).absolute()), num_threads=1, fault_tol=_NO_REPEATS
        )
        count, keys = len(reader), tuple(reader.get_key_indices())
        if (count, keys) != (known.info.num_frames, known.key_frames):
            raise _Refused("decord numbers the frames differently")
        for start in range(0, len(wanted), _BATCH):
            part = wanted[start : start + _BATCH]
            frames = reader.get_batch(part).asnumpy()
            if frames.shape != (len(part), known.info.height, known.info.width, 3):
                raise _Refused(f"decord gave shape {frames.shape}")
            # Copied: one frame that a caller keeps must not keep its whole batch.
            yield from ((index, frame.copy()) for index, frame in zip(part, frames, strict=True))


class _Refused(Exception):
    """Internal: the guard found that decord would number this file's frames differently."""
