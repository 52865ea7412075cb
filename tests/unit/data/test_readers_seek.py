"""PyAVReader's seeks: only what is wanted is decoded, and damage counts within its own GOP."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.readers import make_reader
from distill.data.readers.facts import Facts
from distill.data.readers.gops import Gops, Misjudged
from distill.data.readers.guarded import GuardedReader
from distill.data.readers.packets import facts
from distill.data.readers.pyav import PyAVReader
from distill.errors import VideoError
from tests.helpers.video_files import CLIPS, assert_shown, ffmpeg, make_clip, read, shown

READERS = ("pyav", "decord")
SOURCE = ["-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25:duration=2.4"]
H264 = [*SOURCE, "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]
H265 = [*SOURCE, "-c:v", "libx265", "-preset", "ultrafast"]
ONE_THREAD = "log-level=none:pools=1:frame-threads=1:keyint=10"
# Sixty frames each, with B-frames and several GOPs; all but the last four are safe for seeks.
LAYOUTS: dict[str, list[str]] = {
    "pyramid.mp4": [*H264, "-x264-params", "bframes=4:b-pyramid=normal:keyint=13:open-gop=0"],
    "short_gops.mp4": [*H264, "-x264-params", "bframes=3:keyint=2:open-gop=0"],
    "all_intra.mp4": [*H264, "-x264-params", "keyint=1"],
    "cuts.mkv": [*H264, "-force_key_frames", "0.2,0.28,1.48", "-x264-params", "bframes=3"],
    "fragments.mp4": [
        *H264, "-x264-params", "bframes=3:keyint=12:open-gop=0",
        "-movflags", "frag_keyframe+empty_moov",
    ],
    "closed265.mp4": [*H265, "-x265-params", f"{ONE_THREAD}:open-gop=0:bframes=4"],
    "vp9.webm": [*SOURCE, "-c:v", "libvpx-vp9", "-g", "12", "-deadline", "realtime"],
    "av1.mp4": [
        *SOURCE, "-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "keyint=16:lp=1",
    ],
    "mpeg4.avi": [*SOURCE, "-c:v", "mpeg4", "-g", "12"],
    "open265.mkv": [*H265, "-x265-params", f"{ONE_THREAD}:open-gop=1:bframes=4"],
    "open264.mp4": [*H264, "-x264-params", "bframes=3:keyint=12:open-gop=1"],
    "mpeg2.ts": [*SOURCE, "-c:v", "mpeg2video", "-bf", "2", "-g", "12"],
}  # fmt: skip
SAFE = list(LAYOUTS)[:-4]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, np.ndarray]]:
    folder, made = tmp_path_factory.mktemp("layouts"), {}

    def get(name: str) -> tuple[Path, np.ndarray]:
        if name not in made:
            ffmpeg(*LAYOUTS[name], folder / name)
            made[name] = folder / name, shown(folder / name, 128, 96)
        return made[name]

    return get


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per call of the decoder: whether it was sent a packet, or drained."""
    counts: list[int] = []
    real = Gops._pictures

    def spy(self: Gops, packet: Any, index: int) -> Any:
        counts.append(packet is not None)
        return real(self, packet, index)

    monkeypatch.setattr(Gops, "_pictures", spy)
    return counts


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_judged_as_meant(
    layout: Callable[[str], tuple[Path, np.ndarray]], name: str
) -> None:
    path, reference = layout(name)
    known = facts(path, "pyav")
    assert known.info.num_frames == len(reference) == 60
    assert (not known.unsafe) == (name in SAFE)
    assert (len(known.starts) > 2) == (name in SAFE)


@pytest.mark.parametrize("name", LAYOUTS)
@given(data=st.data())
def test_any_subset_of_indices_is_as_ffmpeg_shows_it(
    layout: Callable[[str], tuple[Path, np.ndarray]], name: str, data: st.DataObject
) -> None:
    path, reference = layout(name)
    wanted = sorted(data.draw(st.sets(st.integers(0, 59), min_size=1, max_size=12)))
    for reader in READERS:
        assert_shown(read(make_reader(reader), path, wanted), wanted, reference)


@pytest.mark.parametrize("name", SAFE)
def test_only_gops_with_a_wanted_frame_are_decoded(
    layout: Callable[[str], tuple[Path, np.ndarray]], decoded: list[int], name: str
) -> None:
    path, reference = layout(name)
    starts = facts(path, "pyav").starts.tolist()
    first, last = starts[1], starts[-1]
    assert_shown(read(PyAVReader(), path, [first, last]), [first, last], reference)
    # Each costs its own picture and those that the decoder reorders or buffers, not all before it.
    assert sum(decoded) < 0.5 * 60


def test_a_whole_file_is_decoded_once_without_a_seek(
    layout: Callable[[str], tuple[Path, np.ndarray]],
    decoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, reference = layout("pyramid.mp4")
    monkeypatch.setattr(Gops, "_seek_to", lambda *_: pytest.fail("a GOP that follows is sought"))
    assert_shown(read(PyAVReader(), path, range(60)), range(60), reference)
    assert sum(decoded) == 60


@pytest.mark.parametrize("miss", ["too late", "fails"])
def test_a_seek_that_misses_is_replaced_by_passing_over_packets(
    layout: Callable[[str], tuple[Path, np.ndarray]],
    decoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
    miss: str,
) -> None:
    path, reference = layout("pyramid.mp4")
    known = facts(path, "pyav")
    seeks = []

    class Astray:
        """A container whose seeks land one GOP late."""

        def __init__(self, container: Any) -> None:
            self._container = container

        def seek(self, stamp: int, stream: Any) -> None:
            seeks.append(stamp)
            if miss == "fails":
                raise av.OSError(5, "no seek here")
            gop = known.stamps.tolist().index(stamp)
            self._container.seek(int(known.stamps[gop + 1]), stream=stream)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._container, name)

    real = Gops._open

    def astray(self: Gops) -> None:
        real(self)
        self._container = Astray(self._container)

    monkeypatch.setattr(Gops, "_open", astray)
    try:
        for _ in range(2):
            assert_shown(read(PyAVReader(), path, [14, 30]), [14, 30], reference)
        assert len(seeks) == 1  # remembered
        assert sum(decoded) < 60  # packets are passed over, not decoded
    finally:
        known.seek_misses = False


def test_pictures_unlike_the_packets_are_counted_from_frame_0(
    layout: Callable[[str], tuple[Path, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reference = layout("closed265.mp4")
    real, ways = Gops.decode, []

    def odd(self: Gops, gop: int) -> Any:
        ways.append(self._seek)
        for index, frame in real(self, gop):
            if self._seek and index == 25:
                raise Misjudged
            yield index, frame

    monkeypatch.setattr(Gops, "decode", odd)
    assert_shown(read(PyAVReader(), path, [3, 26]), [3, 26], reference)
    assert ways == [True, True, False]


def _damage(path: Path, first: int) -> None:
    """Overwrite most of three packets, from that at ``first`` in decode order on."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        start = packets[first].pos + 60
        size = sum(p.size for p in packets[first : first + 3]) - 80
    data = bytearray(path.read_bytes())
    data[start : start + size] = np.random.default_rng(0).bytes(size)
    path.write_bytes(data)


def _uncoded(packet: av.Packet) -> av.Packet:
    """An MPEG-4 packet in which the picture before is shown once more: it says "not coded"."""
    data = bytes(packet)
    start = data.index(b"\0\0\1\xb6") + 4
    bits = "".join(f"{byte:08b}" for byte in data[start : start + 8])
    # Type, seconds passed (a 1 each), 0, marker, 5 bits of time at 25 frames a second, marker.
    end = bits.index("0", 2) + 1 + 1 + 5 + 1
    head = bits[:end] + "0"  # where a coded picture has 1
    head += "0" + "1" * (-(len(head) + 1) % 8)
    tiny = bytes(int(head[i : i + 8], 2) for i in range(0, len(head), 8))
    result = av.Packet(data[:start] + tiny)
    result.pts, result.dts, result.time_base = packet.pts, packet.dts, packet.time_base
    return result


@pytest.mark.parametrize("reader_name", READERS)
def test_mpeg4_that_marks_pictures_as_not_coded_is_counted(
    layout: Callable[[str], tuple[Path, np.ndarray]], tmp_path: Path, reader_name: str
) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(layout("mpeg4.avi")[0])) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet = _uncoded(packet) if number == 5 else packet
            packet.stream = stream
            target.mux(packet)
    reference = shown(path, 128, 96)
    assert len(reference) == 59
    reader = make_reader(reader_name)
    for index in (4, 5, 11, 12, 30, 58):
        assert_shown(read(reader, path, [index]), [index], reference)
    # Its packets promise one frame more than there are: the count is theirs.
    assert reader.probe(path).num_frames == 60
    with pytest.raises(VideoError, match="frame 59 cannot be decoded: the decoder never showed it"):
        read(reader, path, [59])


@pytest.mark.parametrize("reader_name", READERS)
def test_a_picture_that_silently_never_comes_out_is_damage(
    layout: Callable[[str], tuple[Path, np.ndarray]], tmp_path: Path, reader_name: str
) -> None:
    source, reference = layout("closed265.mp4")  # GOPs of 10
    path, reader = tmp_path / "a.mp4", make_reader(reader_name)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packet = [p for p in container.demux(video=0) if p.size][23]
        assert packet.pos is not None
        data[packet.pos + 4] = 41 << 1  # a reserved type of NAL unit: decoders pass it over
    path.write_bytes(data)
    for _ in range(2):
        sound = [*range(20), *range(30, 60)]
        assert_shown(read(reader, path, sound), sound, reference)
        with pytest.raises(VideoError, match="frame 29 cannot be decoded"):
            read(reader, path, [5, 29])


@pytest.mark.parametrize("reader_name", READERS)
def test_damage_counts_in_its_own_gop_only(
    layout: Callable[[str], tuple[Path, np.ndarray]], tmp_path: Path, reader_name: str
) -> None:
    source, reference = layout("pyramid.mp4")  # GOPs of 13: frames 26 to 38 are the third
    path, reader = tmp_path / "a.mp4", make_reader(reader_name)
    path.write_bytes(source.read_bytes())
    _damage(path, 31)

    def outcome(wanted: list[int]) -> tuple[list[int], str]:
        got = []
        try:
            for index, frame in reader.read(path, wanted):
                np.testing.assert_array_equal(frame, reference[index])
                got.append(index)
        except VideoError as error:
            return got, error.reason.split(":")[0]
        return got, ""

    bad = next(i for i in range(60) if outcome([i])[1])
    assert 26 < bad <= 36
    sound = [*range(bad), *range(39, 60)]
    rng = random.Random(3)
    for _ in range(25):  # in any order of reads: what came before has no part in it
        wanted = sorted(rng.sample(range(60), 6))
        whole = [i for i in wanted if i in sound]
        broken = [i for i in wanted if i not in sound]
        want = [i for i in whole if not broken or i < broken[0]]
        text = f"frame {broken[0]} cannot be decoded" if broken else ""
        assert outcome(wanted) == (want, text)
    assert outcome(sound) == (sound, "")
    assert outcome(sound) == (sound, "")  # decord, where it is the reader


def test_decord_is_asked_once_each_gop_is_proven(
    layout: Callable[[str], tuple[Path, np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, reader = tmp_path / "a.mp4", make_reader("decord")
    path.write_bytes(layout("pyramid.mp4")[0].read_bytes())
    calls: list[list[int]] = []
    assert isinstance(reader, GuardedReader)
    real = type(reader)._native

    def spy(self: Any, path: Path, wanted: list[int], known: Facts) -> Any:
        calls.append(wanted)
        return real(self, path, wanted, known)

    monkeypatch.setattr(type(reader), "_native", spy)
    for wanted in ([5, 30], [5, 30], [2, 28], [31], [6, 30], [14], [5, 30]):
        read(reader, path, wanted)
    assert calls == [[5, 30], [2, 28], [5, 30]]


def test_every_clip_gives_random_subsets(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, rng = tmp_path_factory.mktemp("clips"), random.Random(5)
    for name in CLIPS:
        path, reader = make_clip(folder, name), PyAVReader()
        info = reader.probe(path)
        reference = shown(path, info.width, info.height)
        for _ in range(3):
            wanted = sorted(rng.sample(range(len(reference)), min(len(reference), 4)))
            assert_shown(read(reader, path, wanted), wanted, reference)
