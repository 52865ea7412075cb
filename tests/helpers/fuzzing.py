"""Damaged copies of small videos, and what a reader makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.reader import VideoReader
from distill.errors import VideoError
from tests.helpers.video_files import CLIPS, X264, ffmpeg, make_clip

_SOURCE = ["-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25:duration=1.2"]
_MORE = {
    "vp9.webm": [*_SOURCE, "-c:v", "libvpx-vp9", "-cpu-used", "8", "-deadline", "realtime"],
    "av1.mp4": [*_SOURCE, "-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1"],
    "plain.gif": _SOURCE,
    "plain.mkv": [*_SOURCE, *X264],
}
SEEDS = (
    "plain.mp4", "open265.mp4", "vp9.webm", "av1.mp4", "mpeg4_b.avi", "plain.gif", "ten_bit.mp4",
    "turned90.mp4", "edit_list.mp4", "plain.mkv",
)  # fmt: skip
KINDS = ("header bytes", "payload bytes", "truncation", "zeroed block", "swapped blocks")


@dataclass(frozen=True)
class Damaged:
    """One damaged file, made anew from its number alone."""

    number: int
    source: str
    kind: str
    data: bytes


def damaged_files(folder: Path, count: int) -> Iterator[Damaged]:
    """Every kind of damage to every source in turn; file ``number`` is always the same."""
    for number in range(count):
        source = SEEDS[number % len(SEEDS)]
        kind = KINDS[number // len(SEEDS) % len(KINDS)]
        data = _seed(folder, source)
        yield Damaged(number, source, kind, damage(data, kind, np.random.default_rng(number)))


def _seed(folder: Path, name: str) -> bytes:
    if name in CLIPS:
        return make_clip(folder, name).read_bytes()
    if not (folder / name).exists():
        ffmpeg(*_MORE[name], "-fflags", "+bitexact", folder / name)  # Matroska draws an identity
    return (folder / name).read_bytes()


def damage(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A damaged copy."""
    broken, size = bytearray(data), len(data)
    if kind == "truncation":
        return bytes(broken[: rng.integers(1, size)])
    block = int(rng.integers(1, min(4096, size // 4)))
    one, other = (int(at) for at in rng.integers(0, size - block, 2))
    if kind == "zeroed block":
        broken[one : one + block] = bytes(block)
    elif kind == "swapped blocks":
        broken[one : one + block] = data[other : other + block]
        broken[other : other + block] = data[one : one + block]
    else:
        start, end = _header(data)
        places = np.arange(start, end)
        if kind == "payload bytes":
            places = np.setdiff1d(np.arange(size), places)
        for at in rng.choice(places, min(len(places), int(rng.integers(1, 16)))):
            broken[at] = rng.integers(0, 256)
    return bytes(broken)


def _header(data: bytes) -> tuple[int, int]:
    """Where a file tells what it is: the index of an MP4, else its first bytes."""
    moov = data.rfind(b"moov")
    if data[4:8] == b"ftyp" and moov > 4:
        return moov - 4, min(len(data), moov - 4 + int.from_bytes(data[moov - 4 : moov], "big"))
    return 0, min(len(data), 600)


def outcome(reader: VideoReader, path: Path) -> tuple[str, str]:
    """Probe a file and read 8 spread frames of it, twice: decord takes over what proved sound.

    Returns:
        ``frames``, ``another size`` (frames, not all of the size that probe told), ``malformed``,
        ``changed`` (the second time), ``time-out``, ``crash`` or ``error``; and the reason.
    """
    try:
        info = reader.probe(path)
        wanted = sorted({round(i * (info.num_frames - 1) / 7) for i in range(8)})
        frames, again = list(reader.read(path, wanted)), list(reader.read(path, wanted))
    except VideoError as error:
        if "died of" in error.reason or "its decoding process" in error.reason:
            return "crash", error.reason
        return ("time-out" if "stopped after" in error.reason else "error"), error.reason
    sound = all(f.dtype == np.uint8 and f.ndim == 3 and f.shape[2] == 3 for _, f in frames)
    if not sound or [index for index, _ in frames] != wanted:
        return "malformed", str([(index, frame.shape) for index, frame in frames])
    if not all(np.array_equal(a[1], b[1]) for a, b in zip(frames, again, strict=True)):
        return "changed", ""
    sizes = {frame.shape[:2] for _, frame in frames}
    return ("frames" if sizes == {(info.height, info.width)} else "another size"), ""
