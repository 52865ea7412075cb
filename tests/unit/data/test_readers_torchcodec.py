"""TorchcodecReader: what holds without FFmpeg's libraries, and with them the same as the others."""

import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.data.readers.packets import facts
from distill.data.readers.torchcodec_reader import TorchcodecReader, why_unavailable
from tests.helpers.video_files import CLIPS, assert_shown, ffmpeg, make_clip, read, shown

# Where torchcodec must not be asked; all others it reads itself.
BY_PYAV = {
    "intra_refresh.mp4", "mpeg4_b.avi", "mirrored.mp4", "turned_mirrored.mp4", "edit_list.mp4",
    "edit_list_end.mp4", "orphans.mkv", "orphans.mp4",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def torchcodec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    video = tmp_path_factory.mktemp("probe") / "three.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=0.3", video)
    problem = why_unavailable(video)
    if problem:
        pytest.skip(f"no FFmpeg libraries: {problem}")
    yield


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that torchcodec opens."""
    from torchcodec import decoders

    names: list[str] = []
    real = decoders.VideoDecoder

    def spy(uri: str, **options: Any) -> Any:
        names.append(Path(uri).name)
        assert options["seek_mode"] == "exact"
        return real(uri, **options)

    monkeypatch.setattr(decoders, "VideoDecoder", spy)
    return names


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_ffmpeg(folder: Path, opened: list[str], name: str) -> None:
    path, reader = make_clip(folder, name), TorchcodecReader()
    info = reader.probe(path)
    reference = shown(path, info.width, info.height)
    every, rng = range(info.num_frames), random.Random(1)
    assert_shown(read(reader, path, every), every, reference)
    assert not opened  # PyAV looks first
    for _ in range(4):
        some = sorted(rng.sample(every, min(len(every), 7)))
        assert_shown(read(reader, path, some), some, reference)
    assert bool(opened) == (name not in BY_PYAV)
    assert not facts(path, "torchcodec").refused


class _Fake:
    """In place of VideoDecoder: 30 grey frames, or what a test makes of it."""

    count, side = 30, 128

    def __init__(self, *_: Any, **options: Any) -> None:
        assert (options["seek_mode"], options["num_ffmpeg_threads"]) == ("exact", 1)

    def __len__(self) -> int:
        return self.count

    def get_frames_at(self, indices: list[int]) -> Any:
        data = torch.zeros((len(indices), 96, self.side, 3), dtype=torch.uint8)
        return types.SimpleNamespace(data=data)


def _install(monkeypatch: pytest.MonkeyPatch, decoder: Any) -> None:
    """Put a torchcodec into place, whether there is one or not."""
    decoders = types.ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = decoder  # type: ignore[attr-defined]
    package = types.ModuleType("torchcodec")
    package.decoders = decoders  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)


def test_without_the_wheel_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    text = why_unavailable(make_clip(folder, "plain.mp4"))
    assert text.startswith("pip install torchcodec, and install the shared libraries of FFmpeg")


def test_without_libraries_only_making_a_decoder_fails_and_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unloadable(*_: Any, **__: Any) -> None:
        raise RuntimeError("Could not load libtorchcodec. Likely causes: " + "long " * 200)

    _install(monkeypatch, unloadable)
    text = why_unavailable(make_clip(folder, "plain.mp4"))
    assert "RuntimeError: Could not load libtorchcodec" in text and len(text) < 250


def test_a_decoder_that_miscounts_is_unavailable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Miscounts(_Fake):
        def __getitem__(self, part: slice) -> torch.Tensor:
            return torch.zeros(2)

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

    _install(monkeypatch, Miscounts)
    assert why_unavailable(folder) == "it finds 2 frames in a video of 3"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"count": 31}, "torchcodec counts 31 frames"),
        ({"side": 64}, "torchcodec gave shape (2, 96, 64, 3)"),
        ({"get_frames_at": None}, "TypeError"),
    ],
)
def test_where_it_is_wrong_pyav_reads_and_that_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str
) -> None:
    path, reader = make_clip(tmp_path, "plain.mp4"), TorchcodecReader()
    reference, calls = shown(path, 128, 96), []

    class Wrong(_Fake):
        def __init__(self, *args: Any, **options: Any) -> None:
            calls.append(1)
            super().__init__(*args, **options)

    for key, value in changes.items():
        setattr(Wrong, key, value)
    _install(monkeypatch, Wrong)
    read(reader, path, range(30))
    for _ in range(3):
        assert_shown(read(reader, path, [5, 15]), [5, 15], reference)
    assert len(calls) == 1
    assert reason in facts(path, "torchcodec").refused["torchcodec"]


def test_it_is_asked_for_what_is_proven_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(monkeypatch, _Fake)
    reader = TorchcodecReader()
    for name in ("plain.mp4", "open265.mp4", *sorted(BY_PYAV)):
        path = make_clip(tmp_path, name)
        monkeypatch.setattr(_Fake, "count", reader.probe(path).num_frames)
        first, second = (read(reader, path, [1, 3]) for _ in range(2))
        assert first[3].any()
        grey = not second[3].any()
        assert grey == (name not in BY_PYAV), name
        if not grey:
            np.testing.assert_array_equal(first[3], second[3])
