"""Damage that the decoder reports: no frame that it repaired comes out before the error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.readers import make_reader
from distill.data.readers.gops import Held
from distill.errors import VideoError
from tests.helpers.video_files import assert_shown, ffmpeg, read, shown

_SOURCE = ["-f", "lavfi", "-i", "testsrc2=size=160x128:rate=25:duration=1.6"]
_H264 = [*_SOURCE, "-c:v", "libx264", "-threads", "1", "-x264-params"]
# In each of them some picture is shown more places after one that refers to it than the decoder
# reorders pictures. The first three are sought in, the others counted from frame 0.
LAYOUTS: dict[str, list[str]] = {
    "adaptive.mp4": [*_H264, "bframes=3:b-adapt=0"],
    "pyramid.mp4": [*_H264, "bframes=8:b-adapt=0:b-pyramid=normal:keyint=20:open-gop=0"],
    "sixteen.mkv": [*_H264, "bframes=16:b-adapt=0:keyint=36:open-gop=0:scenecut=0"],
    "open.mp4": [*_H264, "bframes=16:b-adapt=0:keyint=20:open-gop=1:scenecut=0"],
    "no_stamps.avi": ["-i", "{pyramid}", "-c", "copy"],
    "mpeg4.mp4": [*_SOURCE, "-c:v", "mpeg4", "-bf", "2", "-g", "12"],
}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("layouts")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            args = [str(make("pyramid.mp4")) if a == "{pyramid}" else a for a in LAYOUTS[name]]
            ffmpeg(*args, path)
        return path

    return make


def _anchors(path: Path) -> list[tuple[int, int]]:
    """Place in the file and size of the pictures that others refer to, but for key pictures."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    middle = np.median([p.size for p in packets])
    return [(int(p.pos or 0), p.size) for p in packets[1:] if p.size > middle and not p.is_keyframe]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", LAYOUTS)
def test_no_frame_before_the_error_was_repaired(
    layout: Callable[[str], Path], tmp_path: Path, name: str, threads: int
) -> None:
    source, path = layout(name), tmp_path / f"damaged{Path(name).suffix}"
    reference, reader = shown(source, 160, 128), make_reader("pyav", threads=threads)
    assert_shown(read(reader, source, range(40)), range(40), reference)
    reported = 0
    for turn, (start, size) in enumerate(_anchors(source)):
        data, at = bytearray(source.read_bytes()), start + size // 3
        data[at : at + 8] = np.random.default_rng(turn).bytes(8)
        path.write_bytes(data)
        got: dict[int, np.ndarray] = {}
        try:
            for index, frame in reader.read(path, range(40)):
                got[index] = frame
        except VideoError:
            reported += 1
            assert_shown(got, range(len(got)), reference)
    assert reported >= 2


def test_damage_that_the_container_tells_of_is_no_truncation(tmp_path: Path) -> None:
    part, path = tmp_path / "part.ts", tmp_path / "a.ts"
    ffmpeg(*_SOURCE, "-c:v", "libx264", "-threads", "1", part)
    path.write_bytes(part.read_bytes() * 2)  # its packets' counters start anew in the middle
    reader = make_reader("pyav")
    assert reader.probe(path).num_frames == 80
    reference = shown(part, 160, 128)
    with pytest.raises(VideoError) as caught:
        read(reader, path, range(80))
    assert "the container marks the data near frame" in caught.value.reason
    assert "truncated" not in caught.value.reason
    sound = int(caught.value.reason.split()[1])
    assert 25 < sound <= 40
    assert_shown(read(reader, path, range(sound)), range(sound), reference)


def _released(shows: list[int], patience: int | None) -> list[tuple[int, int]]:
    """Each picture's packet, and how many pictures had come out when it went."""
    held, out, come, sent = Held(patience), list[tuple[int, int]](), 0, 0
    for number in shows:
        while sent <= number:
            held.sent(sent)
            sent += 1
        held.came(number, number)  # type: ignore[arg-type]  # its own name, for a picture
        come += 1
        out += [(int(picture), come) for picture in held.release()]  # type: ignore[call-overload]
    return out + [(int(p), come) for p in held.rest()]  # type: ignore[call-overload]


@given(st.permutations(range(12)))
def test_a_picture_goes_once_all_packets_before_its_own_have_shown(order: Any) -> None:
    out = _released(list(order), None)
    assert [number for number, _ in out] == list(order)
    for place, (number, come) in enumerate(out):
        # As soon as the latest of those before it, and of those shown before it, has come.
        due = max(order.index(n) for m in order[: place + 1] for n in range(m + 1)) + 1
        assert come == due, number


@given(st.sets(st.integers(0, 199), max_size=150))
def test_packets_that_show_nothing_hold_no_more_than_the_patience(silent: set[int]) -> None:
    shows = [number for number in range(200) if number not in silent]
    out = _released(shows, 5)
    assert [number for number, _ in out] == shows
    assert all(come - place <= 6 for place, (_, come) in enumerate(out))
