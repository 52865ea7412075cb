"""Every reader on every odd and broken file, held against the ffmpeg tool: a Markdown table.

    python benchmarks/hostile.py [FOLDER]        (../shared/hostile)

The first, the last and 22 random frames of each file are read in order, the same again, and one by
one in random order; ``exact`` says that index and pixels are ffmpeg's each time. ``decord alone``
and ``torchcodec alone`` are the same libraries without our guard. Each cell is a process of its
own, ended after two minutes. Columns whose library does not work here are left out.
"""

import hashlib
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from distill.data.reader import VideoReader  # noqa: E402
from distill.data.readers.pyav import PyAVReader  # noqa: E402
from distill.errors import VideoError  # noqa: E402

READERS = ("pyav", "decord", "torchcodec", "decord alone", "torchcodec alone")
SAMPLED, TIMEOUT = 22, 120
Read = Callable[[list[int]], Iterator[tuple[int, np.ndarray]]]


def shown(path: Path) -> list[str]:
    """MD5 of each frame that the ffmpeg tool shows; empty where it shows none."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-nostdin", "-threads", "1"]
    command += ["-i", str(path), "-an", "-fps_mode", "passthrough", "-pix_fmt", "rgb24"]
    command += ["-f", "framehash", "-hash", "md5", "-"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]


def opened(reader: str, path: Path) -> tuple[int, Read]:
    """How many frames a reader counts, and how it reads."""
    if reader.endswith("alone"):
        video: Any
        if reader == "decord alone":
            import decord

            video = decord.VideoReader(str(path), num_threads=1)
            return len(video), lambda part: zip(part, video.get_batch(part).asnumpy(), strict=True)
        from torchcodec.decoders import VideoDecoder

        video = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
        return len(video), lambda part: zip(
            part, video.get_frames_at(part).data.numpy(), strict=True
        )
    guarded: VideoReader
    if reader == "decord":
        from distill.data.readers.decord_reader import DecordReader

        guarded = DecordReader()
    elif reader == "torchcodec":
        from distill.data.readers.torchcodec_reader import TorchcodecReader

        guarded = TorchcodecReader()
    else:
        guarded = PyAVReader()
    return guarded.probe(path).num_frames, lambda part: guarded.read(path, part)


def verdict(reader: str, path: Path, reference: list[str]) -> str:
    """One cell of the table."""
    try:
        count, read = opened(reader, path)
    except Exception as error:  # every library has its own
        return _short(error)
    total = max(count, len(reference))
    chance = random.Random(0)
    indices = sorted({0, total - 1, *chance.sample(range(total), min(total, SAMPLED))})
    singly = [[index] for index in indices]
    chance.shuffle(singly)
    kinds: dict[int, str] = {}
    said: dict[int, str] = {}
    for part in (indices, indices, *singly):
        try:
            for index, frame in read(part):
                same = index < len(reference) and _md5(frame) == reference[index]
                if kinds.get(index) != "off":
                    kinds[index] = "exact" if same else "off"
        except Exception as error:
            if len(part) == 1:
                kinds.setdefault(part[0], "refused")
                said[part[0]] = _short(error)
    tally = Counter(kinds.values())
    text = "exact"
    if set(tally) != {"exact"}:
        text = ", ".join(f"{tally[k]} {k}" for k in ("exact", "off", "refused") if tally[k])
    if said:
        text += f" ({said[min(said)]})"
    alone = reader.endswith("alone")
    return f"{text}; counts {count} frames" if alone and count != len(reference) else text


def _md5(frame: np.ndarray) -> str:
    return hashlib.md5(np.ascontiguousarray(frame).tobytes()).hexdigest()


def _short(error: Exception) -> str:
    if isinstance(error, VideoError):
        return error.reason
    return type(error).__name__  # the native texts are long, and of source lines


def _cell(reader: str, path: Path, reference: Path) -> str:
    command = [sys.executable, __file__, reader, str(path), str(reference)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"hangs ({TIMEOUT} s)"
    if done.returncode:
        return f"crashes ({done.returncode})"
    return done.stdout.strip().splitlines()[-1]


def main(folder: Path) -> None:
    """Print the table, row by row."""
    with tempfile.TemporaryDirectory() as scratch:
        from distill.data.readers import _write_probe

        probe, hashes = Path(scratch) / "probe.mp4", Path(scratch) / "frames.json"
        _write_probe(probe)
        hashes.write_text(json.dumps(shown(probe)))
        columns = [r for r in READERS if _cell(r, probe, hashes) == "exact"]
        print(f"| file | frames | size | {' | '.join(columns)} |")
        print("|---|---|---|" + "---|" * len(columns))
        for path in sorted(folder.iterdir()):
            if path.name == "README.md":
                continue
            reference = shown(path)
            hashes.write_text(json.dumps(reference))
            try:
                info = PyAVReader().probe(path)
                size = f"{info.width}x{info.height}"
            except VideoError:
                size = ""
            cells = [_cell(reader, path, hashes) for reader in columns]
            print(f"| {path.name} | {len(reference) or ''} | {size} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(verdict(sys.argv[1], Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())))
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "hostile")
