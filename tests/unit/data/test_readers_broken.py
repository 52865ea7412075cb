"""Readers on broken files, decord's guard and fallback, and readers by name."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import decord
import numpy as np
import pytest

import distill.data.readers as readers
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.data.readers.packets import NO_CONTAINER
from distill.errors import ConfigError, VideoError
from tests.helpers.video_files import assert_shown, ffmpeg, make_clip, read, shown

READERS = ("pyav", "decord")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")
    return lambda name: make_clip(folder, name)


def _broken(folder: Path, kind: str, plain: Path) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no video\n" * 500)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))
    elif kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)  # opening it would wait for a writer for ever
    elif kind == "sound":
        ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", path)
    elif kind == "headless":
        path.write_bytes(plain.read_bytes()[:2000])
    elif kind == "playlist":
        shutil.copy(plain, folder / "other.mp4")
        path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("empty", "the file is empty"),
        ("text", f"{NO_CONTAINER} (InvalidDataError: Invalid data"),
        ("noise", f"{NO_CONTAINER} (InvalidDataError: Invalid data"),
        ("directory", "not a regular file"),
        ("pipe", "not a regular file"),
        ("sound", "no video stream"),
        ("headless", "Invalid data"),
        ("playlist", "a playlist of other files"),
    ],
)
@pytest.mark.parametrize("reader_name", READERS)
def test_what_is_no_video_says_so(
    tmp_path: Path, clip: Callable[[str], Path], kind: str, reason: str, reader_name: str
) -> None:
    path, reader = _broken(tmp_path, kind, clip("plain.mp4")), make_reader(reader_name)
    for call in (reader.probe, lambda p: list(reader.read(p, [0]))):
        with pytest.raises(VideoError) as caught:
            call(path)
        assert reason in caught.value.reason
        assert str(caught.value).startswith(f"{path}: {reader_name}: ")


@pytest.fixture
def fast_start(clip: Callable[[str], Path], tmp_path: Path) -> Path:
    """plain.mp4 with its index at the start, so that its end can be cut or damaged."""
    path = tmp_path / "fast.mp4"
    ffmpeg("-i", clip("plain.mp4"), "-c", "copy", "-movflags", "+faststart", path)
    return path


def _until_error(
    reader: VideoReader, path: Path, indices: Any
) -> tuple[dict[int, np.ndarray], VideoError]:
    got: dict[int, np.ndarray] = {}
    with pytest.raises(VideoError) as caught:
        for index, frame in reader.read(path, indices):
            got[index] = frame
    return got, caught.value


@pytest.mark.parametrize("reader_name", READERS)
def test_truncated_file_gives_what_is_whole_and_names_the_first_that_is_not(
    fast_start: Path, reader_name: str
) -> None:
    reference = shown(fast_start, 128, 96)
    data = fast_start.read_bytes()
    reader = make_reader(reader_name)
    assert reader.probe(fast_start).missing == 0
    fast_start.write_bytes(data[: len(data) * 2 // 3])
    known = reader.probe(fast_start)
    assert known.num_frames == 30  # what its index promises
    for _ in range(2):
        got, error = _until_error(reader, fast_start, range(30))
        assert 5 < len(got) < 30
        assert_shown(got, range(len(got)), reference)
        assert f"frame {len(got)} cannot be decoded: the file is truncated" in error.reason
    # Known without decoding, so that also who asks for whole frames alone is told.
    assert 0 < known.missing <= 30 - len(got)  # some refer to those that are missing
    whole_ones = 30 - known.missing
    assert known.truncated == f"the file is truncated: {whole_ones} of 30 frames are whole"
    assert known.truncated in error.reason
    whole = range(0, len(got), 2)
    assert_shown(read(reader, fast_start, whole), whole, reference)
    got, error = _until_error(reader, fast_start, [0, 29])
    assert list(got) == [0] and "frame 29 cannot be decoded" in error.reason


@pytest.mark.parametrize("reader_name", READERS)
def test_damaged_file_never_gives_a_repaired_frame(fast_start: Path, reader_name: str) -> None:
    reference = shown(fast_start, 128, 96)
    data = bytearray(fast_start.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    fast_start.write_bytes(data)
    reader = make_reader(reader_name)
    for _ in range(2):
        got, error = _until_error(reader, fast_start, range(30))
        assert 5 < len(got) < 30
        assert_shown(got, range(len(got)), reference)
        assert f"frame {len(got)} cannot be decoded" in error.reason


def test_decord_that_numbers_differently_is_not_believed(
    clip: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reader = tmp_path / "a.mp4", make_reader("decord")
    shutil.copy(clip("plain.mp4"), path)
    reference = shown(path, 128, 96)
    read(reader, path, range(30))
    calls = []

    class OffByOne:
        def __init__(self, *_: Any, **__: Any) -> None:
            calls.append(1)

        def __len__(self) -> int:
            return 30

        def get_key_indices(self) -> list[int]:
            return [0, 9, 19]

        def get_batch(self, indices: list[int]) -> None:
            raise AssertionError("read past the guard")

    monkeypatch.setattr(decord, "VideoReader", OffByOne)
    for _ in range(2):
        assert_shown(read(reader, path, [5, 15]), [5, 15], reference)
    assert len(calls) == 1  # the verdict is remembered


def test_when_decord_fails_pyav_reads_and_if_both_fail_both_reasons_are_told(
    clip: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reader = tmp_path / "a.mp4", make_reader("decord")
    shutil.copy(clip("plain.mp4"), path)
    read(reader, path, range(30))

    calls = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise decord.DECORDError("decord is " + "very " * 100 + "unwell")

    def fail_too(self: Any, path: Path, *_: Any) -> Any:
        raise VideoError(path, "pyav", "frame 5 cannot be decoded")

    monkeypatch.setattr(decord, "VideoReader", fail)
    with monkeypatch.context() as patch, pytest.raises(VideoError) as caught:
        patch.setattr("distill.data.readers.pyav.PyAVReader.read", fail_too)
        read(reader, path, [5])
    assert "decord is very" in caught.value.reason
    assert "then pyav: frame 5 cannot be decoded" in caught.value.reason
    assert_shown(read(reader, path, [5]), [5], shown(path, 128, 96))
    assert len(calls) == 1  # the failure is remembered


def test_make_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [make_reader(name).name for name in ("auto", "decord", "pyav")] == [
        "pyav", "decord", "pyav",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"reader='pyva' is not a choice; did you mean pyav\?"):
        make_reader("pyva")

    readers._decord_problem.cache_clear()
    monkeypatch.setitem(sys.modules, "decord", None)  # as if it were not installed
    try:
        with pytest.raises(ConfigError, match="pip install decord2"):
            make_reader("decord")
    finally:
        readers._decord_problem.cache_clear()


def test_a_decord_that_cannot_decode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no codec")

    readers._decord_problem.cache_clear()
    monkeypatch.setattr(decord, "VideoReader", broken)
    try:
        with pytest.raises(ConfigError, match=r"fails on a small MPEG-4 video \(no codec\)"):
            make_reader("decord")
    finally:
        readers._decord_problem.cache_clear()
