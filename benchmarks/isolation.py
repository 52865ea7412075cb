"""What the time limit costs: videos a second through IsolatedReader against the same reader here.

    python benchmarks/isolation.py [pyav decord]

Reads each clip alternately in this process and through a decoding process, after one read that
warms both, and prints the median of the pairs' ratios of time less 1: "one core" with both
processes on the same core, where nothing runs side by side and every copy and switch shows; "all
cores" as in use. The clips are moving test pictures with film-like noise, as H.264. The last
line is the time from the start of a decoding process to its first answer.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg

from distill.data.reader import VideoReader
from distill.data.readers import make_reader

REPEATS = 15
CLIPS = {  # size, seconds, kbit/s
    "320p, 2.5 s": ("568x320", 2.5, 600),
    "540p, 5 s": ("960x540", 5, 1500),
    "1080p, 5 s": ("1920x1080", 5, 5000),
}
SPARSE, DENSE = 10, 128  # frames


def make_clip(path: Path, size: str, seconds: float, rate: int) -> None:
    """Write an H.264 clip of 30 frames a second."""
    source = f"testsrc2=size={size}:rate=30:duration={seconds},noise=alls=6:allf=t"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i", source,
         "-c:v", "libx264", "-preset", "fast", "-b:v", f"{rate}k", "-pix_fmt", "yuv420p", path],
        check=True,
    )  # fmt: skip


def seconds_a_video(reader: VideoReader, path: Path, count: int) -> float:
    """Time of one probe and one read of ``count`` spread frames."""
    start = time.perf_counter()
    frames = reader.probe(path).num_frames
    wanted = sorted({round(i * (frames - 1) / (count - 1)) for i in range(count)})
    for _ in reader.read(path, wanted):
        pass
    return time.perf_counter() - start


def compare(bare: VideoReader, isolated: VideoReader, path: Path, count: int) -> tuple[float, str]:
    """Median seconds in this process, and the extra share through the other, with quartiles."""
    times: list[float] = []
    ratios: list[float] = []
    for number in range(REPEATS + 1):
        pair = [bare, isolated] if number % 2 else [isolated, bare]
        took = {id(reader): seconds_a_video(reader, path, count) for reader in pair}
        if number:  # the first warms the caches
            times.append(took[id(bare)])
            ratios.append(took[id(isolated)] / took[id(bare)] - 1)
    low, middle, high = statistics.quantiles(ratios, n=4)
    return statistics.median(times), f"{middle:+6.1%} [{low:+.1%}, {high:+.1%}]"


def main() -> None:
    """Print the table."""
    names = sys.argv[1:] or ["pyav", "decord"]
    every = os.sched_getaffinity(0)
    print(f"{len(every)} cores; time per video through IsolatedReader, less 1; median [quartiles]")
    with tempfile.TemporaryDirectory() as folder:
        for name, (size, seconds, rate) in CLIPS.items():
            make_clip(Path(folder) / f"{name}.mp4", size, seconds, rate)
        print(f"{'reader':7} {'clip':12} {'frames':>6} {'here':>9}  {'one core':24} all cores")
        for reader in names:
            for name in CLIPS:
                for count in (SPARSE, DENSE):
                    cells = []
                    for cores in ({min(every)}, every):
                        os.sched_setaffinity(0, cores)  # a child inherits it
                        limited = make_reader(reader, time_limit=600)
                        path = Path(folder) / f"{name}.mp4"
                        cells.append(compare(make_reader(reader), limited, path, count))
                    os.sched_setaffinity(0, every)
                    here = f"{1000 * cells[0][0]:6.1f} ms"
                    line = f"{reader:7} {name:12} {count:6} {here:>9}"
                    print(f"{line}  {cells[0][1]:24} {cells[1][1]}", flush=True)
    starts = []
    for _ in range(5):
        begin = time.perf_counter()
        make_reader(names[0], time_limit=600)
        starts.append(time.perf_counter() - begin)
    print(f"start of a decoding process ({names[0]}): {statistics.median(starts):.2f} s")


if __name__ == "__main__":
    main()
