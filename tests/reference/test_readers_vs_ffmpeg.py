"""Every odd and broken file of ../shared/hostile: both readers against the ffmpeg tool.

Equality is of MD5 sums of RGB frames, so the tolerance is 0 everywhere, 10-bit files included.
"""

import hashlib
import random
import subprocess
from functools import lru_cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from distill.data.readers import make_reader
from distill.errors import VideoError

READERS = ("pyav", "decord")

# name: frames shown, size as displayed.
SOUND = {
    "av1_540.mp4": (120, 960, 540),
    "bt601_540.mp4": (120, 960, 540),
    "editlist.mp4": (62, 960, 540),
    "full_540.mp4": (120, 960, 540),
    "gif_like.gif": (20, 960, 540),
    "h264_10bit.mp4": (120, 960, 540),
    "h264_540.mp4": (300, 960, 540),
    "hevc_10bit.mp4": (120, 960, 540),
    "hevc_540.mp4": (120, 960, 540),
    "mpeg4.avi": (120, 960, 540),
    "odd_638x358.mp4": (120, 638, 358),
    "odd_641x361_444.mp4": (120, 641, 361),
    "opengop.mp4": (120, 960, 540),
    "rot90_540.mp4": (122, 540, 960),
    "single.mp4": (1, 960, 540),
    "untagged_540.mp4": (120, 960, 540),
    "vfr_540.mp4": (81, 960, 540),
    "vp9_540.webm": (120, 960, 540),
}
NO_VIDEO = {
    "audio_only.mp4": "no video stream",
    "random.mp4": "Invalid data",
    "text.mp4": "Invalid data",
    "trunc_head.mp4": "Invalid data",
    "zero.mp4": "the file is empty",
}
# Files that promise 300 frames: how many come out before the damage, and what is said of it.
DAMAGED = {
    "corrupt.mp4": (21, "frame 22 is damaged"),
    "trunc_fast.mp4": (155, "the file is truncated: 157 of 300 frames are whole"),
}


@lru_cache
def _shown(path: Path) -> tuple[str, ...]:
    """MD5 of each frame that the ffmpeg tool shows."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-nostdin", "-threads", "1"]
    command += ["-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-pix_fmt", "rgb24", "-f", "framehash", "-hash", "md5", "-"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return tuple(line.split(",")[-1].strip() for line in lines if not line.startswith("#"))


def _md5(frame: np.ndarray) -> str:
    return hashlib.md5(frame.tobytes()).hexdigest()


def test_every_file_is_accounted_for(shared_dir: Path) -> None:
    files = {path.name for path in (shared_dir / "hostile").iterdir()} - {"README.md"}
    assert files == {*SOUND, *NO_VIDEO, *DAMAGED}


@pytest.mark.parametrize("reader_name", READERS)
@pytest.mark.parametrize("name", SOUND)
def test_frames_are_those_of_ffmpeg(shared_dir: Path, name: str, reader_name: str) -> None:
    path, reader = shared_dir / "hostile" / name, make_reader(reader_name)
    count, width, height = SOUND[name]
    info = reader.probe(path)
    assert (info.num_frames, info.width, info.height) == (count, width, height)
    reference = _shown(path)
    assert len(reference) == count

    spread = np.unique(np.linspace(0, count - 1, 9).astype(int)).tolist()
    chance = random.Random(name)
    some = [sorted(chance.sample(range(count), min(count, 4))) for _ in range(3)]
    for indices in (*some, spread, spread, *some):  # decord from the second time on
        got = dict(reader.read(path, indices))
        assert list(got) == indices
        for index, frame in got.items():
            assert frame.shape == (height, width, 3) and frame.dtype == np.uint8
            assert _md5(frame) == reference[index], f"frame {index} differs"


@pytest.mark.parametrize("reader_name", READERS)
@pytest.mark.parametrize("name", NO_VIDEO)
def test_what_is_no_video_says_so(shared_dir: Path, name: str, reader_name: str) -> None:
    path, reader = shared_dir / "hostile" / name, make_reader(reader_name)
    with pytest.raises(VideoError, match=NO_VIDEO[name]):
        reader.probe(path)
    with pytest.raises(VideoError, match=NO_VIDEO[name]):
        list(reader.read(path, [0]))


@pytest.mark.parametrize("reader_name", READERS)
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_an_error_that_names_the_frame(
    shared_dir: Path, name: str, reader_name: str
) -> None:
    path, reader = shared_dir / "hostile" / name, make_reader(reader_name)
    count, reason = DAMAGED[name]
    assert reader.probe(path).num_frames == 300
    sound = _shown(shared_dir / "hostile" / "h264_540.mp4")  # of which these are damaged copies
    for _ in range(2):
        got: dict[int, str] = {}
        with pytest.raises(VideoError) as caught:
            got.update((index, _md5(frame)) for index, frame in reader.read(path, range(300)))
        assert f"frame {count} cannot be decoded: {reason}" in caught.value.reason
        assert got == {index: sound[index] for index in range(count)}
