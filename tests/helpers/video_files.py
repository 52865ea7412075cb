"""Small video files made by the ffmpeg tool, and what that tool shows of them."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from distill.data.reader import VideoReader

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]
B_FRAMES = ["-bf", "3", "-x264-params", "keyint=10:open-gop=0:scenecut=0"]


def ffmpeg(*args: str | Path) -> bytes:
    command = [FFMPEG, "-v", "error", "-nostdin", "-y", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _source(size: str = "128x96", seconds: float = 1.2) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"]


def shown(path: Path, width: int, height: int) -> np.ndarray:
    """What the ffmpeg tool shows: (T, H, W, 3)."""
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


# How each file is made; {plain} stands for the file plain.mp4.
CLIPS: dict[str, list[str]] = {
    "plain.mp4": [*_source(), *X264, *B_FRAMES],
    "open265.mp4": [
        *_source(), "-c:v", "libx265", "-preset", "ultrafast",
        "-x265-params", "log-level=none:keyint=10:open-gop=1:bframes=3:pools=1:frame-threads=1",
    ],
    "intra_refresh.mp4": [
        *_source(), *X264, "-bf", "0", "-x264-params", "keyint=10:intra-refresh=1",
    ],
    "vfr.mp4": [
        *_source(), "-vf", "select='not(eq(mod(n,7),3))'", "-fps_mode", "passthrough", *X264,
    ],
    "odd.mp4": [*_source("132x98"), "-vf", "format=yuv444p,crop=131:97:exact=1", *X264],
    "ten_bit.mp4": [*_source(), *X264, "-pix_fmt", "yuv420p10le"],
    "full_range.mp4": [*_source(), *X264, "-pix_fmt", "yuvj420p"],
    "mpeg4_b.avi": [*_source(), "-c:v", "mpeg4", "-bf", "2", "-g", "10"],
    "tiny.mp4": [*_source("32x32"), *X264],
    "sound.mp4": [
        *_source(), "-f", "lavfi", "-i", "sine=duration=1.2", *X264, "-c:a", "aac",
    ],
    "turned90.mp4": ["-display_rotation", "90", "-i", "{plain}", "-c", "copy"],
    "turned180.mp4": ["-display_rotation", "180", "-i", "{plain}", "-c", "copy"],
    "turned270.mp4": ["-display_rotation", "270", "-i", "{plain}", "-c", "copy"],
    "mirrored.mp4": ["-display_hflip", "-i", "{plain}", "-c", "copy"],
    "turned_mirrored.mp4": [
        "-display_rotation", "90", "-display_hflip", "-i", "{plain}", "-c", "copy",
    ],
    "edit_list.mp4": ["-ss", "0.6", "-i", "{turned90}", "-c", "copy"],
    "edit_list_end.mp4": ["-ss", "0.6", "-t", "0.3", "-i", "{plain}", "-c", "copy"],
    "orphans.mkv": ["-ss", "0.45", "-i", "{open265}", "-c", "copy"],
    "orphans.mp4": ["-ss", "0.45", "-i", "{open265}", "-c", "copy", "-use_editlist", "0"],
    "names a:b, c='d' \"e\" é 中 %03d [f].mp4": ["-i", "{plain}", "-c", "copy"],
}  # fmt: skip
# What decord's guard says of those that it keeps from decord.
UNSAFE = {
    "open265.mp4": "open GOP",
    "intra_refresh.mp4": "no IDR",
    "mpeg4_b.avi": "codec mpeg4",
    "mirrored.mp4": "mirrored",
    "turned_mirrored.mp4": "mirrored",
    "edit_list.mp4": "edit list",
    "edit_list_end.mp4": "edit list",
    "orphans.mkv": "begins inside an open GOP",
    "orphans.mp4": "begins inside an open GOP",
}


def make_clip(folder: Path, name: str) -> Path:
    """The file of that name in CLIPS, made at its first use."""
    path = folder / name
    if not path.exists():
        args = []
        for arg in CLIPS[name]:
            base = arg[1:-1] if arg[0] + arg[-1] == "{}" else ""
            args.append(str(make_clip(folder, f"{base}.mp4")) if base else arg)
        ffmpeg(*args, f"file:{path}")
    return path


def read(reader: VideoReader, path: Path, indices: Sequence[int]) -> dict[int, np.ndarray]:
    return dict(reader.read(path, indices))


def assert_shown(got: dict[int, np.ndarray], indices: Iterable[int], reference: np.ndarray) -> None:
    assert list(got) == list(indices)
    for index, frame in got.items():
        np.testing.assert_array_equal(frame, reference[index], err_msg=f"frame {index}")
