"""From a video file to what four teacher networks see of it: one pass against the peers' ways.

    python benchmarks/video.py                              both sizes, about ten minutes on 2 cores
    python benchmarks/video.py --reader decord --rounds 5 --clips DIR       DIR keeps the two clips

The views are those of RQ-VQA's members: Swin-B key frames (8 of 384), SlowFast chunks (8 of 32
frames of 224), FAST-VQA fragments (4 clips of 32 frames), LIQE patches (8 frames, 15 of 224). The
networks are left out. Ways, all with the same reader, views, threads (1) and files:

* one pass: ``read_views`` decodes the union of the frames once and fills all four views.
* scripts: what RQ-VQA's published scripts do. Two programs extract key frames, resized and native:
  each decodes and converts the whole video and writes 8 frames as PNG (level 1, OpenCV's default).
  The SlowFast script decodes, converts and resizes every frame and keeps them as float32. The
  FAST-VQA script decodes the frames it wants. Training and the LIQE script read the PNGs. Faster
  than theirs: the resize is ours (theirs is Pillow's), the LIQE patches are cut, not unfolded.
* JPEG: decode for each model and write every frame it wants as JPEG of quality 95, then fill its
  view from the files: frame folders for all members, with the losses of JPEG on top. No published
  script does this for SlowFast and FAST-VQA.
* per model: neither files nor frames that no view wants: ``read_views`` once for each model. What
  one pass gains over this is the shared decoding alone.

Each way runs in processes of its own, in rounds one after the other; a process first decodes the
clip once, so that the file is cached and decord is past its first, checking read. Printed: videos
per second (median over the rounds), its ratio, CPU seconds a video, peak memory of the process
(VmHWM, libraries included). The clips, 10 s of 30 frames a second, are made here: a camera pans
over coloured 1/f texture with moving patches and grain, x264 at CRF 23.
"""

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from distill.data.looks import read_views
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.data.sampling import motion_chunks
from distill.data.views import Fragments, KeyFrames, MotionChunks, NativePatches, View
from distill.data.views.base import chw, resize
from distill.errors import ConfigError
from distill.ladder.ffmpeg import Ffmpeg

FPS, SECONDS = 30, 10
SIZES = {"1080p": (1080, 1920), "540p": (540, 960)}
READERS = ("pyav", "decord", "torchcodec")
VIEWS: dict[str, View] = {
    "swin_b": KeyFrames(8, 384, 384, sampling="second_start"),
    "slowfast": MotionChunks(),
    "fast_vqa": Fragments(),
    "liqe": NativePatches(sampling="second_start"),
}


def one_pass(path: Path, reader: VideoReader, folder: Path) -> None:
    """Ours."""
    read_views(path, reader, VIEWS, 0, False)


def per_model(path: Path, reader: VideoReader, folder: Path) -> None:
    """One decode for each model."""
    for name, view in VIEWS.items():
        read_views(path, reader, {name: view}, 0, False)


def scripts(path: Path, reader: VideoReader, folder: Path) -> None:
    """As RQ-VQA's scripts: two extractions to PNG, SlowFast on every frame, FAST-VQA."""
    everything = range(reader.probe(path).num_frames)
    for name in ("swin_b", "liqe"):
        through_files(path, reader, folder, VIEWS[name], "png", everything)
    slowfast = VIEWS["slowfast"]
    frames = torch.zeros((len(everything), *slowfast.shape[2:]))
    for index, frame in reader.read(path, everything):
        small = torch.from_numpy(resize(chw(frame), *slowfast.shape[3:]))
        frames[index] = (small / 255 - 0.45) / 0.225
    chunks = motion_chunks(*slowfast.shape[:2], len(everything), FPS)
    frames[torch.from_numpy(chunks)]
    read_views(path, reader, {"fast_vqa": VIEWS["fast_vqa"]}, 0, False)


def jpeg(path: Path, reader: VideoReader, folder: Path) -> None:
    """Every model's frames through JPEG."""
    for view in VIEWS.values():
        through_files(path, reader, folder, view, "jpg")


def through_files(
    path: Path, reader: VideoReader, folder: Path, view: View, kind: str,
    read: Sequence[int] | None = None, seed: int = 0,
) -> torch.Tensor:  # fmt: skip
    """Decode into files the frames that a view wants, then fill it; ``read`` may name more."""
    collector = view.begin(reader.probe(path), seed, False)
    wanted = np.unique(collector.indices).tolist()
    for index, frame in reader.read(path, read or wanted):
        if index not in wanted:
            continue
        image = Image.fromarray(frame)
        if isinstance(view, KeyFrames) and view.short_side:  # RQ-VQA stores these resized
            ratio = view.short_side / min(image.size)
            image = image.resize([round(side * ratio) for side in image.size], Image.BILINEAR)
        image.save(folder / f"{index}.{kind}", quality=95, compress_level=1)
    for index in wanted:
        file = folder / f"{index}.{kind}"
        collector.add(index, np.array(Image.open(file).convert("RGB")))
        file.unlink()
    return collector.result()


WAYS: dict[str, Callable[[Path, VideoReader, Path], None]] = {
    "one pass": one_pass,
    "scripts": scripts,
    "JPEG": jpeg,
    "per model": per_model,
}


def film(height: int, width: int) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8: a pan over 1/f texture, patches that move on their own, grain."""
    rng = np.random.default_rng(0)
    large = (height + 2 * FPS * SECONDS, width + 2 * FPS * SECONDS)
    fy, fx = np.fft.fftfreq(large[0])[:, None], np.fft.rfftfreq(large[1])[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / large[0])
    ground = np.empty((*large, 3), dtype=np.int16)
    shared = np.fft.rfft2(rng.standard_normal(large)) * falloff
    for channel in range(3):
        own = np.fft.rfft2(rng.standard_normal(large)) * falloff
        plane = np.fft.irfft2(shared + 0.4 * own, s=large)
        ground[..., channel] = np.clip(128 + 55 * plane / plane.std(), 0, 255)
    grain = rng.normal(0, 3, (height + 64, width + 64, 1)).astype(np.int16)
    side = height // 4
    for t in range(FPS * SECONDS):
        y, x = t + t // 3, round(t + 20 * np.sin(t / 25) + 20)
        frame = ground[y : y + height, x : x + width].copy()
        for k in range(3):  # each shows another part of the texture, at another speed
            top = round((height - side) * (0.5 + 0.5 * np.sin(t / 40 + 2 * k)))
            left = round((width - side) * (0.5 + 0.5 * np.cos(t / 55 + 3 * k)))
            frame[top : top + side, left : left + side] = ground[k * 99 :, k * 50 :][:side, :side]
        y, x = rng.integers(0, 64, 2)
        yield np.clip(frame + grain[y : y + height, x : x + width], 0, 255).astype(np.uint8)


def measure(way: str, path: Path, reader_name: str) -> dict[str, float]:
    """One video, this process: seconds, CPU seconds, peak MiB."""
    torch.set_num_threads(1)
    reader = make_reader(reader_name)
    for _ in reader.read(path, [reader.probe(path).num_frames - 1]):
        pass
    with tempfile.TemporaryDirectory(prefix="distill-video-") as folder:
        start, cpu = time.perf_counter(), time.process_time()
        WAYS[way](path, reader, Path(folder))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return {"seconds": seconds, "cpu": cpu, "mib": int(peak[1]) / 1024 if peak else math.nan}


def in_process(way: str, path: Path, reader: str) -> dict[str, float]:
    """``measure`` in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--measure", way, str(path), reader]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {way}, {reader}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


def table(path: Path, runs: list[tuple[str, str]], rounds: int) -> None:
    """Measure (way, reader) pairs in rounds and print them against the first pair."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {run: [] for run in runs}
    for _ in range(rounds):
        for way, reader in runs:
            found[way, reader].append(in_process(way, path, reader))
    first = None
    for (way, reader), results in found.items():
        middle = {key: statistics.median(r[key] for r in results) for key in results[0]}
        first = first or middle["seconds"]
        print(
            f"| {path.stem} | {way} | {reader} | {1 / middle['seconds']:.3f} "
            f"| {middle['seconds'] / first:.2f} | {middle['cpu']:.2f} | {middle['mib']:.0f} |",
            flush=True,
        )


def main() -> int:
    """Make the clips, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reader", default="pyav", choices=READERS, help="for all ways")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=Path, help="folder that keeps the clips")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, path, reader = options.measure
        print(json.dumps(measure(way, Path(path), reader)))
        return 0

    others = []
    for name in READERS:
        try:
            make_reader(name)
        except ConfigError as error:
            print(f"reader {name} left out: {error}")
        else:
            others.append(name)
    with tempfile.TemporaryDirectory(prefix="distill-video-") as made:
        folder = options.clips or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        for name, (height, width) in SIZES.items():
            path = folder / f"{name}.mp4"
            if not path.is_file():
                step = ("x264", "crf", 23)
                Ffmpeg.find(["x264"], labels=False).encode_frames(
                    film(height, width), FPS, path, step, name
                )
            rate = path.stat().st_size * 8 / SECONDS / 1e6
            print(f"\n{name}: {width}x{height}, {FPS * SECONDS} frames, {rate:.1f} Mbit/s")
            print("| clip | way | reader | videos/s | times as long | CPU s | peak MiB |")
            print("|---|---|---|---|---|---|---|")
            table(path, [(way, options.reader) for way in WAYS], options.rounds)
            table(path, [("one pass", reader) for reader in others], options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
