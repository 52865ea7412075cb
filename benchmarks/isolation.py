"""What the time limit costs: videos a second through IsolatedReader against the same reader here.

    python benchmarks/isolation.py [pyav decord]

Probes and reads each clip alternately in this process and through a decoding process, after one
read that warms both. Frames are lent, as ``read_views`` takes them. Prints the median over the
pairs, with quartiles, of the time here over the time there less 1: +3% is slower by so much, -20%
faster.

* one core: both processes on the same core, where nothing runs side by side and each copy and
  each switch shows; by processor time of both, because a busy neighbour would spoil the clock.
* copy: of that, what a copy of each frame into shared memory costs in this process alone.
* all cores: as in use, by the clock; the child decodes while the caller works on a frame.

The clips are moving test pictures with film-like noise, as H.264 at the rates that YouTube advises
for uploads of 360p, 540p (between its 480p and 720p) and 1080p.
"""

import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from distill.data.reader import VideoInfo, VideoReader
from distill.data.readers import make_reader
from distill.data.readers.isolated import IsolatedReader

REPEATS = 12
CLIPS = {  # size, seconds, kbit/s
    "320p, 2.5 s": ("568x320", 2.5, 1000),
    "540p, 5 s": ("960x540", 5, 3000),
    "1080p, 5 s": ("1920x1080", 5, 8000),
}
SPARSE, DENSE = 10, 128  # frames


class Copying:
    """A reader that copies each frame to shared memory, three places in turn."""

    def __init__(self, inner: VideoReader) -> None:
        self.name, self._inner = inner.name, inner
        self._memory = mmap.mmap(-1, 3 * 1920 * 1080 * 3)

    def probe(self, path: Path) -> VideoInfo:
        """See VideoReader."""
        return self._inner.probe(path)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """See VideoReader."""
        for number, (index, frame) in enumerate(self._inner.read(path, indices)):
            place = np.ndarray(frame.shape, np.uint8, self._memory, number % 3 * frame.nbytes)
            place[...] = frame
            yield index, place


def make_clip(path: Path, size: str, seconds: float, rate: int) -> None:
    """Write an H.264 clip of 30 frames a second."""
    source = f"testsrc2=size={size}:rate=30:duration={seconds},noise=alls=6:allf=t"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", source,
         "-c:v", "libx264", "-preset", "fast", "-b:v", f"{rate}k", "-pix_fmt", "yuv420p", path],
        check=True,
    )  # fmt: skip


def read_seconds(reader: VideoReader, path: Path, count: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, of a probe and a read of spread frames."""
    start, busy = time.perf_counter(), _processor_time(reader)
    frames = reader.probe(path).num_frames
    wanted = sorted({round(i * (frames - 1) / (count - 1)) for i in range(count)})
    for _ in getattr(reader, "lend", reader.read)(path, wanted):
        pass
    return time.perf_counter() - start, _processor_time(reader) - busy


def _processor_time(reader: VideoReader) -> float:
    child = 0.0
    if isinstance(reader, IsolatedReader):  # the clock of another process, see clock_getcpuclockid
        child = time.clock_gettime((~reader._idle[-1]._process.pid << 3) | 2)
    return time.process_time() + child


def compare(
    bare: VideoReader, isolated: VideoReader, path: Path, count: int
) -> tuple[float, str, str]:
    """Median seconds of processor of the one, and as text the other's ratios, clock first."""
    here: list[tuple[float, float]] = []
    there: list[tuple[float, float]] = []
    for number in range(REPEATS + 1):
        if number % 2:
            one, other = (read_seconds(reader, path, count) for reader in (bare, isolated))
        else:
            other, one = (read_seconds(reader, path, count) for reader in (isolated, bare))
        if number:  # the first warms the caches
            here.append(one)
            there.append(other)
    texts = []
    for kind in (0, 1):
        ratios = [b[kind] / a[kind] - 1 for a, b in zip(here, there, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        texts.append(f"{middle:+.1%} [{low:+.1%}, {high:+.1%}]")
    return statistics.median(busy for _, busy in here), texts[0], texts[1]


def main() -> None:
    """Print the table."""
    names = sys.argv[1:] or ["pyav", "decord"]
    every = os.sched_getaffinity(0)
    print(f"{len(every)} cores, load {os.getloadavg()[0]:.1f}")
    print("| reader | clip | frames | here | one core, processor | copy | all cores, clock |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for clip, (size, seconds, rate) in CLIPS.items():
            path = Path(folder) / f"{clip}.mp4"
            make_clip(path, size, seconds, rate)
            for reader in names:
                for count in (SPARSE, DENSE):
                    frames = min(count, int(30 * seconds))
                    bare = make_reader(reader)
                    os.sched_setaffinity(0, {min(every)})  # a child inherits it
                    limited = make_reader(reader, time_limit=600)
                    busy, _, alone = compare(bare, limited, path, count)
                    _, _, copies = compare(bare, Copying(bare), path, count)
                    del limited  # equal readers are one as long as one is in use
                    os.sched_setaffinity(0, every)
                    _, clock, _ = compare(bare, make_reader(reader, time_limit=600), path, count)
                    print(
                        f"| {reader} | {clip} | {frames} | {1000 * busy:.0f} ms | {alone}"
                        f" | {copies} | {clock} |",
                        flush=True,
                    )
    for reader in names:
        starts = []
        for _ in range(7):
            begin = time.perf_counter()
            make_reader(reader, time_limit=600)
            starts.append(time.perf_counter() - begin)
        print(f"start of a decoding process, {reader}: {statistics.median(starts):.2f} s")


if __name__ == "__main__":
    main()
