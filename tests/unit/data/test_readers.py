"""Readers on small files made here, against the ffmpeg tool's own decode of each."""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import decord
import numpy as np
import psutil
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.data.readers.packets import facts
from distill.data.readers.pyav import PyAVReader
from distill.errors import VideoError
from tests.helpers.video_files import CLIPS, UNSAFE, assert_shown, ffmpeg, make_clip, read, shown

READERS = ("pyav", "decord")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")
    return lambda name: make_clip(folder, name)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that decord opens."""
    names: list[str] = []
    real = decord.VideoReader

    def spy(uri: str, **options: Any) -> Any:
        names.append(Path(uri).name)
        return real(uri, **options)

    monkeypatch.setattr(decord, "VideoReader", spy)
    return names


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("reader_name", READERS)
def test_frames_are_those_of_ffmpeg(
    clip: Callable[[str], Path], opened: list[str], name: str, reader_name: str
) -> None:
    path, reader = clip(name), make_reader(reader_name)
    info = reader.probe(path)
    reference = shown(path, info.width, info.height)
    assert info.num_frames == len(reference)
    every = range(info.num_frames)
    sparse = [1, *range(4, info.num_frames, 5)]

    opened.clear()
    assert_shown(read(reader, path, every), every, reference)
    assert_shown(read(reader, path, sparse), sparse, reference)  # decord from the second on
    assert_shown(read(reader, path, [info.num_frames - 1]), [info.num_frames - 1], reference)
    uses_decord = reader_name == "decord" and name not in UNSAFE
    assert bool(opened) == uses_decord


@pytest.mark.parametrize("name", CLIPS)
def test_guard_names_why_a_seek_is_unsafe(
    clip: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name  # a copy: a failure of decord elsewhere would be remembered
    shutil.copy(clip(name), path)
    unsafe = facts(path, "pyav").unsafe
    assert UNSAFE[name] in unsafe if name in UNSAFE else not unsafe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain.mp4", (128, 96, 0, "h264", "yuv420p", 25.0)),
        ("turned90.mp4", (96, 128, 270, "h264", "yuv420p", 25.0)),
        ("turned180.mp4", (128, 96, 180, "h264", "yuv420p", 25.0)),
        ("turned270.mp4", (96, 128, 90, "h264", "yuv420p", 25.0)),
        ("edit_list.mp4", (96, 128, 270, "h264", "yuv420p", 25.0)),
        ("odd.mp4", (131, 97, 0, "h264", "yuv444p", 25.0)),
        ("open265.mp4", (128, 96, 0, "hevc", "yuv420p", 25.0)),
        ("ten_bit.mp4", (128, 96, 0, "h264", "yuv420p10le", 25.0)),
    ],
)
@pytest.mark.parametrize("reader_name", READERS)
def test_probe(clip: Callable[[str], Path], name: str, expected: Any, reader_name: str) -> None:
    info = make_reader(reader_name).probe(clip(name))
    got = (info.width, info.height, info.rotation, info.codec, info.pix_fmt, info.fps)
    assert got == expected
    if name == "plain.mp4":
        assert (info.num_frames, info.duration) == (30, pytest.approx(1.2))


def test_vfr_has_its_average_rate(clip: Callable[[str], Path]) -> None:
    info = make_reader("pyav").probe(clip("vfr.mp4"))
    assert info.fps == pytest.approx(info.num_frames / info.duration, rel=0.02)
    assert info.fps < 23  # the source has 25


@pytest.mark.parametrize("reader_name", READERS)
def test_indices_are_checked(clip: Callable[[str], Path], reader_name: str) -> None:
    path, reader = clip("plain.mp4"), make_reader(reader_name)
    assert list(reader.read(path, [])) == []
    with pytest.raises(VideoError, match="frame 30 does not exist: it has 30 frames"):
        list(reader.read(path, [0, 30]))
    with pytest.raises(VideoError, match="frame -1 does not exist"):
        list(reader.read(path, [-1]))
    for wrong in ([3, 1], [2, 2]):
        with pytest.raises(ValueError, match="sorted and unique"):
            list(reader.read(path, wrong))


@pytest.mark.parametrize("reader_name", READERS)
def test_frames_are_fresh_and_files_closed(clip: Callable[[str], Path], reader_name: str) -> None:
    path, reader = clip("sound.mp4"), make_reader(reader_name)
    for _ in range(2):
        frames = [frame for _, frame in reader.read(path, np.array([0, 1, 2, 9]))]
        assert all(f.flags.c_contiguous and f.flags.writeable for f in frames)
        kept = frames[1].copy()
        frames[0][:] = 0
        np.testing.assert_array_equal(frames[1], kept)
        started: Iterator[Any] = reader.read(path, [0, 29])
        next(started)
        started.close()  # type: ignore[attr-defined]
        del started
    assert str(path) not in [file.path for file in psutil.Process().open_files()]


def test_tags_that_are_not_utf8_do_not_matter(clip: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "tagged.avi"
    ffmpeg("-i", clip("mpeg4_b.avi"), "-c", "copy", "-metadata", "title=AAAAAAAA", path)
    data = path.read_bytes()
    assert data.count(b"AAAAAAAA") == 1
    path.write_bytes(data.replace(b"AAAAAAAA", b"\xe9\xff\xfe\xe8AAAA"))
    for name in READERS:
        assert len(read(make_reader(name), path, range(30))) == 30


def test_facts_follow_a_change_of_the_file(clip: Callable[[str], Path], tmp_path: Path) -> None:
    path, reader = tmp_path / "a.mp4", make_reader("pyav")
    shutil.copy(clip("plain.mp4"), path)
    assert reader.probe(path).num_frames == 30
    shutil.copy(clip("edit_list_end.mp4"), path)
    assert reader.probe(path).num_frames < 15


@pytest.mark.parametrize("how", ["written over", "moved over", "linked anew"])
def test_facts_follow_a_change_that_keeps_size_and_time(tmp_path: Path, how: str) -> None:
    files = [tmp_path / f"{rate}.y4m" for rate in (25, 50)]
    for file in files:
        source = f"testsrc2=size=64x48:rate={file.stem}"
        ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "5", "-pix_fmt", "yuv420p", file)
        os.utime(file, ns=(1, 1))
    assert files[0].stat().st_size == files[1].stat().st_size
    path, reader = tmp_path / "a.y4m", make_reader("pyav")
    if how == "linked anew":
        path.symlink_to(files[0])
    else:
        shutil.copy2(files[0], path)
    assert reader.probe(path).fps == 25
    if how == "written over":
        shutil.copy2(files[1], path)
    elif how == "moved over":
        files[1].rename(path)
    else:
        path.unlink()
        path.symlink_to(files[1])
    assert reader.probe(path).fps == 50


class _Files(Dataset[torch.Tensor]):
    def __init__(self, reader: VideoReader, paths: list[Path]) -> None:
        self.reader, self.paths = reader, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        path, indices = self.paths[row], [2, 7, 8]
        return torch.stack([torch.from_numpy(f) for _, f in self.reader.read(path, indices)])


@pytest.mark.parametrize("reader_name", READERS)
def test_in_forked_workers_of_a_parent_that_decoded(
    clip: Callable[[str], Path], reader_name: str
) -> None:
    paths = [clip(name) for name in ("plain.mp4", "open265.mp4", "vfr.mp4", "ten_bit.mp4")] * 2
    files = _Files(make_reader(reader_name), paths)
    for path in paths:  # the parent decodes first, with decord too
        read(files.reader, path, [9])
    here = [files[row] for row in range(len(files))]
    loader = DataLoader(
        files, batch_size=1, num_workers=2, multiprocessing_context="fork", timeout=100
    )
    for want, got in zip(here, loader, strict=True):
        assert torch.equal(got[0], want)


@pytest.mark.parametrize("reader_name", READERS)
def test_six_threads_share_a_reader(clip: Callable[[str], Path], reader_name: str) -> None:
    paths = [clip(name) for name in ("plain.mp4", "open265.mp4", "turned180.mp4", "ten_bit.mp4")]
    files = _Files(make_reader(reader_name), paths)
    here = [files[row] for row in range(4)]
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda row: files[row % 4], range(24)))
    assert all(torch.equal(frames, here[row % 4]) for row, frames in enumerate(got))


def test_several_decoder_threads_change_nothing(clip: Callable[[str], Path]) -> None:
    path = clip("open265.mp4")
    assert_shown(read(PyAVReader(threads=3), path, range(30)), range(30), shown(path, 128, 96))
    with pytest.raises(ValueError, match="threads must be >= 1, got 0"):
        PyAVReader(threads=0)
