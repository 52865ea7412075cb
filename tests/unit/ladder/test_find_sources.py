"""What becomes a source: tables of every kind, no ladder's own output, no HDR; one at a time."""

import dataclasses
import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.data.reader import VideoInfo
from distill.errors import VideoError
from distill.ladder.build import alone
from distill.ladder.sources import find_sources


class Readings:
    """A reader that only probes: ten seconds of 640x360, HDR where the name says so."""

    name = "readings"

    def probe(self, path: Path) -> VideoInfo:
        info = VideoInfo(250, 25.0, 640, 360, codec="h264", duration=10.0)
        return dataclasses.replace(info, transfer="smpte2084" if "hdr" in path.name else "bt709")

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        raise VideoError(path, self.name, "not asked for")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "hdr.mp4"):
        (folder / name).write_text(name)
    return folder


def _find(source: Path, out: Path) -> tuple[list[str], dict[str, str]]:
    sources, problems = find_sources(source, out, Readings(), 2.0, 1, False)
    return [s.video for s in sources], {p.video: p.reason for p in problems}


def test_an_hdr_source_is_left_out(videos: Path, tmp_path: Path) -> None:
    found, problems = _find(videos, tmp_path / "out")
    assert found == ["a.mp4", "b.mp4"]
    assert problems["hdr.mp4"].startswith("is HDR (smpte2084); VMAF's model")


def test_a_parquet_table_holds_its_groups_and_splits(videos: Path, tmp_path: Path) -> None:
    table = {
        "video": ["videos/a.mp4", "videos/b.mp4"],
        "group": ["g", "h"],
        "split": ["test", "val"],
    }
    pq.write_table(pa.table(table), tmp_path / "table.parquet")
    sources, _ = find_sources(
        tmp_path / "table.parquet", tmp_path / "out", Readings(), 2.0, 1, False
    )
    assert [(s.group, s.split) for s in sources] == [("g", "test"), ("h", "val")]


@pytest.mark.parametrize("through_a_link", [False, True])
def test_what_a_ladder_made_is_no_source(
    videos: Path, tmp_path: Path, through_a_link: bool
) -> None:
    for ladder in ("mine", "other"):
        (videos / ladder / ".ladder").mkdir(parents=True)
        (videos / ladder / "videos").mkdir()
        (videos / ladder / "videos" / "a-1_3.mp4").write_text(ladder)
    source = videos
    if through_a_link:
        source = tmp_path / "link"
        source.symlink_to(videos, target_is_directory=True)
    found, problems = _find(source, videos / "mine")
    assert found == ["a.mp4", "b.mp4"]
    assert "make_ladder.py made it" in problems.pop("other/videos/a-1_3.mp4")
    assert set(problems) == {"hdr.mp4"}


def _hold(folder: Path, order: "multiprocessing.Queue[str]") -> None:
    with alone(folder):
        order.put("second")


def test_one_at_a_time_and_again_within(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    order: multiprocessing.Queue[str] = context.Queue()
    with alone(tmp_path), alone(tmp_path):
        other = context.Process(target=_hold, args=(tmp_path, order))
        other.start()
        other.join(3)
        order.put("first")
    assert [order.get(timeout=60), order.get(timeout=60)] == ["first", "second"]
    other.join(60)
    assert other.exitcode == 0
