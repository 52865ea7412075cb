"""DecordReader: decord where it is right, PyAV where it is not."""

from collections.abc import Iterator
from pathlib import Path

import decord
import numpy as np

from distill.data.readers.facts import Facts, seek_points
from distill.data.readers.guarded import GuardedReader, Refused

# get_batch allocates its whole answer: 8 frames of 1080p are 50 MB.
_BATCH = 8

# Any frame that decord repeats in place of one it could not decode is an error; 0 and below mean
# "never" to it, so the smallest useful share stands for none.
_NO_REPEATS = 1e-9

# decord decodes ahead of its caller as far as the file goes: while a slow caller read a quarter of
# 8 s of 1080p it took 1.3 GB, of 3 s of 4K 2.2 GB. So it gets only what would fit as a whole.
_MOST_BYTES = 2**29


class DecordReader(GuardedReader):
    """Reads with decord (wheel ``decord2``) behind a guard, else with ``PyAVReader``.

    decord is asked only where a seek was measured to be exact: closed GOPs that begin with IDR
    pictures, no edit list, codec, pixel format and container of a known list, and the same frame
    count and key frames in decord as in the packets. Where any of that fails, PyAV reads the file.

    decord also repairs damaged pictures without a word, and its repaired pictures are not those
    of ffmpeg. So a frame is first read with PyAV, which reports damage, and with decord from the
    second read on, in each GOP as far as PyAV found it sound. The pixels of both are the same
    (maximum difference 0 in tests/reference), and a first read costs no second decode.

    The decord reader lives for one call: left open, it decodes ahead of its caller without limit.
    Videos of more than 512 MiB as RGB are left to PyAV for the same reason.
    """

    name = "decord"

    def _trusts(self, known: Facts) -> bool:
        info = known.info
        fits = 3 * info.num_frames * info.width * info.height <= _MOST_BYTES
        return fits and super()._trusts(known)

    def _native(
        self, path: Path, wanted: list[int], known: Facts
    ) -> Iterator[tuple[int, np.ndarray]]:
        reader = decord.VideoReader(
            str(Path(path).absolute()), num_threads=self.threads, fault_tol=_NO_REPEATS
        )
        keys = seek_points(reader.get_key_indices())
        if len(reader) != known.info.num_frames or not np.array_equal(keys, known.starts):
            raise Refused("decord numbers the frames differently")
        for start in range(0, len(wanted), _BATCH):
            part = wanted[start : start + _BATCH]
            frames = reader.get_batch(part).asnumpy()
            if frames.shape != (len(part), known.info.height, known.info.width, 3):
                raise Refused(f"decord gave shape {frames.shape}")
            # Copied: one frame that a caller keeps must not keep its whole batch.
            yield from ((index, frame.copy()) for index, frame in zip(part, frames, strict=True))
