"""Readers on what few files have: HDR, odd streams, huge headers, sizes that change; and memory."""

import gc
import os
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from distill.data.reader import VideoInfo
from distill.data.readers import decord_reader, make_reader
from distill.data.readers.decord_reader import DecordReader
from distill.data.readers.guarded import GuardedReader
from distill.data.readers.packets import MAX_PIXELS
from distill.data.readers.pyav import PyAVReader
from distill.errors import VideoError
from tests.helpers.video_files import CLIPS, X264, assert_shown, ffmpeg, make_clip, read, shown

READERS = ("pyav", "decord")
_X265 = ["-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params"]
_QUIET = "log-level=none:pools=1:frame-threads=1:keyint=8:open-gop=0"


def _source(size: str = "128x96", seconds: float = 0.8) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"]


_ALPHA = [
    "-f", "lavfi", "-i", "color=black@0:size=128x96:rate=10:d=1,format=rgba,"
    "geq=r=255:g=N*20:b=0:a=255*lt(mod(X+N*9\\,60)\\,30)",
]  # fmt: skip
_TWO = [*_source("64x48"), *_source("128x96"), "-map", "0", "-map", "1", *X264]
# What ffmpeg shows without a word about streams; {plain} and {cover} are other files.
ODD: dict[str, list[str]] = {
    "interlaced.mp4": [
        *_source(), *X264, "-flags", "+ildct+ilme", "-x264-params", "tff=1:keyint=9",
    ],
    "interlaced.mkv": [*_source(), "-c:v", "mpeg2video", "-flags", "+ildct+ilme"],
    "two.mov": _TWO,
    "two_default.mkv": [*_TWO, "-disposition:0", "default", "-disposition:1", "0"],
    "two_equal.mkv": [*_TWO, "-disposition:0", "0", "-disposition:1", "0"],
    "cover_last.mp4": [
        "-i", "{plain}", "-i", "{cover}", "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v:1", "attached_pic",
    ],
    "cover_first.mp4": [
        "-i", "{cover}", "-i", "{plain}", "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v:0", "attached_pic",
    ],
    "alpha.gif": [*_ALPHA, "-gifflags", "+transdiff"],
    "alpha.mov": [*_ALPHA, "-c:v", "qtrle"],
    "b_frames.avi": ["-i", "{plain}", "-c", "copy"],
    "stream.ts": ["-i", "{plain}", "-c", "copy"],
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("plain"), "plain.mp4")


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_shown_as_ffmpeg_shows_them(tmp_path: Path, plain: Path, name: str) -> None:
    cover = tmp_path / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=300x300", "-frames:v", "1", cover)
    path, files = tmp_path / name, {"{plain}": plain, "{cover}": cover}
    ffmpeg(*[files.get(arg, arg) for arg in ODD[name]], path)
    for reader_name in READERS:
        reader = make_reader(reader_name)
        info = reader.probe(path)
        reference = shown(path, info.width, info.height)
        every, some = range(len(reference)), [2, 7, len(reference) - 1]
        assert info.num_frames == len(reference) >= 10
        assert_shown(read(reader, path, every), every, reference)
        assert_shown(read(reader, path, some), some, reference)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_what_lies_before_the_first_key_frame_is_not_shown(
    tmp_path: Path, codec: str, container: str
) -> None:
    encoders = {
        "h264": CLIPS["plain.mp4"],
        "hevc": [*_source(seconds=1.2), *_X265, _QUIET],
        "vp9": [*_source(seconds=1.2), "-c:v", "libvpx-vp9", "-g", "10", "-deadline", "realtime"],
    }
    whole, path = tmp_path / "whole.mkv", tmp_path / f"cut.{container}"
    ffmpeg(*encoders[codec], whole)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[2:-1]:
            packet.stream = stream
            target.mux(packet)
    reference = shown(path, 128, 96)
    assert len(reference) in (20, 22)
    for name in READERS:
        every = range(make_reader(name).probe(path).num_frames)
        assert_shown(read(make_reader(name), path, every), every, reference)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize(
    "crop", ["crop_left=10:crop_right=4", "crop_left=10:crop_top=6", "crop_right=2:crop_bottom=4"]
)
def test_pictures_are_cropped_as_their_headers_say(tmp_path: Path, codec: str, crop: str) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "cropped.mkv"
    if codec == "h264":
        ffmpeg(*_source(), *X264, whole)
    else:
        ffmpeg(*_source(), "-c:v", "libx265", "-x265-params", _QUIET, whole)
    ffmpeg("-i", whole, "-c", "copy", "-bsf:v", f"{codec}_metadata={crop}", path)
    sides = dict(side.split("=") for side in crop.split(":"))
    width = 128 - int(sides.get("crop_left", 0)) - int(sides.get("crop_right", 0))
    height = 96 - int(sides.get("crop_top", 0)) - int(sides.get("crop_bottom", 0))
    reference = shown(path, width, height)
    for name in (*READERS, *READERS):
        info = make_reader(name).probe(path)
        assert (info.width, info.height, info.num_frames) == (width, height, len(reference))
        assert_shown(read(make_reader(name), path, range(20)), range(20), reference)


def test_gifs_that_were_pasted_together_are_counted(tmp_path: Path) -> None:
    part, path = tmp_path / "part.gif", tmp_path / "a.gif"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1", part)
    path.write_bytes(part.read_bytes() * 2)
    reference = shown(path, 64, 48)
    for reader_name in READERS:
        reader = make_reader(reader_name)
        every = range(reader.probe(path).num_frames)
        assert_shown(read(reader, path, every), every, reference)
        for index in every:
            assert_shown(read(reader, path, [index]), [index], reference)


def test_frames_follow_a_change_of_size(tmp_path: Path) -> None:
    path, parts, references = tmp_path / "changing.mkv", [], []
    for size in ("128x96", "64x48"):
        parts.append(tmp_path / f"{size}.webm")
        options = ["-c:v", "libvpx-vp9", "-g", "5", "-deadline", "realtime"]
        ffmpeg(*_source(size, 0.4), *options, parts[-1])
        references += list(shown(parts[-1], *map(int, size.split("x"))))
    with av.open(str(path), "w") as target:
        stream: Any = None
        for start, part in zip((0, 400), parts, strict=True):
            with av.open(str(part)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                for packet in list(source.demux(video=0))[:-1]:
                    packet.pts = packet.dts = (packet.pts or 0) + start
                    packet.stream = stream
                    target.mux(packet)
    for name in (*READERS, *READERS):  # decord alone would scale the small ones up
        for wanted in (range(20), [3, 12], [17]):
            got = read(make_reader(name), path, wanted)
            for index in wanted:
                np.testing.assert_array_equal(got[index], references[index])


@pytest.mark.parametrize(
    ("tags", "transfer", "hdr"),
    [
        ("transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc", "smpte2084", True),
        ("transfer=arib-std-b67:colorprim=bt2020:colormatrix=bt2020nc", "arib-std-b67", True),
        ("transfer=bt709:colorprim=bt709:colormatrix=bt709", "bt709", False),
        ("range=limited", "", False),
    ],
)
def test_hdr_is_named_kept_as_ffmpeg_shows_it_or_refused(
    tmp_path: Path, tags: str, transfer: str, hdr: bool
) -> None:
    path = tmp_path / "ten.mp4"
    ffmpeg(*_source(), *_X265, f"{_QUIET}:{tags}", path)
    reference = shown(path, 128, 96)
    for kind in (PyAVReader, DecordReader):
        info = kind().probe(path)
        assert (info.transfer, info.hdr, info.pix_fmt) == (transfer, hdr, "yuv420p10le")
        for _ in range(2):
            assert_shown(read(kind(hdr="keep"), path, range(20)), range(20), reference)
        strict = kind(hdr="refuse")
        if not hdr:
            assert len(read(strict, path, range(20))) == 20
            continue
        for call in (strict.probe, lambda p, strict=strict: list(strict.read(p, [0]))):
            with pytest.raises(VideoError, match=f"transfer {transfer}.*convert it to SDR.*keep"):
                call(path)


def test_unknown_options_are_errors() -> None:
    for kind in (PyAVReader, DecordReader):
        with pytest.raises(ValueError, match="hdr must be keep or refuse, got 'map'"):
            kind(hdr="map")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="threads must be >= 1, got 0"):
            kind(threads=0)


def test_info_of_hdr_follows_from_the_transfer() -> None:
    names = ("", "bt709", "smpte2084", "arib-std-b67", "bt2020-10")
    assert [VideoInfo(1, 25.0, 8, 8, transfer=name).hdr for name in names] == [
        False, False, True, True, False,
    ]  # fmt: skip


def _resident() -> float:
    return psutil.Process().memory_info().rss / 2**20


@pytest.mark.parametrize("kind", ["mkv", "gif", "png"])
def test_a_huge_header_is_an_error_and_no_allocation(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"huge.{'mkv' if kind == 'png' else kind}"
    if kind == "png":
        options = ["-c:v", "png", "-pix_fmt", "gray", "-pred", "none"]
    else:
        options = X264 if kind == "mkv" else []
    ffmpeg("-f", "lavfi", "-i", "color=gray:size=8192x4400:rate=1:d=1", *options, path)
    assert MAX_PIXELS == 8192 * 4352
    if kind == "gif":
        data = bytearray(path.read_bytes())
        data[6:10] = struct.pack("<HH", 30_000, 30_000)
        path.write_bytes(data)
    before = _resident()
    for name in READERS:
        for call in (make_reader(name).probe, lambda p: list(PyAVReader().read(p, [0]))):
            with pytest.raises(VideoError, match=f"; up to {MAX_PIXELS} pixels are read"):
                call(path)
    assert _resident() - before < 30


def test_frames_do_not_wait_for_the_garbage_collector(tmp_path: Path) -> None:
    path, reader = tmp_path / "hd.mp4", PyAVReader()
    ffmpeg(*_source("1920x1080", 1.6), *X264, path)
    read(reader, path, [0, 1])
    gc.disable()
    try:
        before = _resident()
        sizes = [_resident() for _ in reader.read(path, range(40))]
    finally:
        gc.enable()
    assert max(sizes) - before < 60  # 40 pictures are 120 MB, and 240 MB as RGB


@pytest.mark.parametrize("most", [0, 2**29])
def test_decord_gets_no_video_that_it_could_fill_memory_with(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(plain.read_bytes())
    monkeypatch.setattr(decord_reader, "_MOST_BYTES", most)
    calls: list[Path] = []
    real = DecordReader._native

    def spy(self: DecordReader, path: Path, *rest: Any) -> Any:
        calls.append(path)
        return real(self, path, *rest)

    monkeypatch.setattr(DecordReader, "_native", spy)
    for _ in range(2):
        assert_shown(read(DecordReader(), path, [3]), [3], shown(path, 128, 96))
    assert bool(calls) == bool(most)


@pytest.mark.slow
@pytest.mark.parametrize("reader_name", READERS)
def test_two_thousand_opens_leave_memory_as_it_was(plain: Path, reader_name: str) -> None:
    reader = make_reader(reader_name)
    native = reader._native if isinstance(reader, GuardedReader) else None

    def touch_and_read(turn: int) -> None:
        os.utime(plain, ns=(turn, turn))  # new facts, and no proof yet
        read(reader, plain, [9, 11])
        if native:
            read(reader, plain, [9, 11])

    for turn in range(300):
        touch_and_read(turn)
    before = _resident()
    for turn in range(300, 2300):
        touch_and_read(turn)
    # The cache of facts is not full yet: at about 1 kB a file it may take 2 to 3 MB of this.
    assert _resident() - before < 8


@pytest.mark.parametrize("name", READERS)
def test_a_codec_that_nobody_knows_is_named(tmp_path: Path, plain: Path, name: str) -> None:
    path = tmp_path / "unknown.mp4"
    path.write_bytes(plain.read_bytes().replace(b"avc1", b"zzz9"))
    with pytest.raises(VideoError, match="FFmpeg knows no decoder for its video stream"):
        make_reader(name).probe(path)
