"""Tables of videos for tests, and file names that break careless code."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.data.manifest import Manifest, read_manifest
from distill.errors import ManifestError

ODD_NAMES = [
    "with space.mp4",
    "comma,comma.mp4",
    "a=b.mp4",
    'quote".mp4',
    "it's.mp4",
    "ünïcödé 视频.mp4",
    "line\u2028separator\x85.mp4",
    "tab\there.mp4",
    "new\nline.mp4",
    "-m.mp4",
    "#hash.mp4",
    "${brace}.mp4",
]


def table(folder: Path, text: str | bytes, *videos: str, name: str = "videos.csv") -> Path:
    for video in videos:
        (folder / video).parent.mkdir(parents=True, exist_ok=True)
        (folder / video).write_bytes(b"x")
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def summary(manifest: Manifest) -> list[tuple[str, float | None, str]]:
    return [(r.video, None if math.isnan(r.mos) else r.mos, r.split) for r in manifest.rows]


def refused(path: Path, read: Callable[[Path], Manifest] = read_manifest) -> str:
    with pytest.raises(ManifestError) as caught:
        read(path)
    return str(caught.value)
