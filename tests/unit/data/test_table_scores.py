"""Scores from a table as a view: which row is a video's, and what is refused."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.data.dataset import Example, VideoDataset
from distill.data.looks import read_views
from distill.data.manifest import Row
from distill.data.readers import make_reader
from distill.data.tables import write_table
from distill.data.views import KeyFrames, TableScores, View, make_view
from distill.errors import ConfigError, VideoError
from tests.helpers.grey_videos import Grey
from tests.helpers.tables import ODD_NAMES


def _video(folder: Path, name: str, grey: str = "7") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(grey)
    return path


def _table(folder: Path, text: str, name: str = "scores.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def _seen(view: View, path: Path, train: bool = False, seed: int = 0) -> Tensor:
    found = read_views(path, Grey(), {"scores": view}, seed, train)[0]["scores"]
    return torch.from_numpy(found)


def test_the_bytes_are_the_number_s(tmp_path: Path) -> None:
    video = _video(tmp_path, "a.mp4")
    view = TableScores(_table(tmp_path, "filename,score,std\na.mp4,3.1,0.25\n"), ("score", "std"))
    out = _seen(view, video)
    assert out.shape == view.shape == (1, 16) and out.dtype == torch.uint8
    assert struct.unpack("=dd", out.numpy().tobytes()) == (3.1, 0.25)
    assert torch.equal(out.view(torch.float64), torch.tensor([[3.1, 0.25]], dtype=torch.float64))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_tables_of_every_format(tmp_path: Path, suffix: str) -> None:
    video, path = _video(tmp_path, "a.mp4"), tmp_path / f"table{suffix}"
    write_table(path, ["filename", "score"], [["b.mp4", 1.0], ["a.mp4", 2.5]])
    assert _seen(TableScores(str(path)), video).view(torch.float64).item() == 2.5


@pytest.mark.parametrize(
    "row", ["0001", "0001.mp4", "train/0001.mp4", "./train/0001", "KVQ/train/0001.mp4"]
)
def test_a_row_is_found_by_the_end_of_the_path(tmp_path: Path, row: str) -> None:
    video = _video(tmp_path, "KVQ/train/0001.mp4")
    text = f"FileName,Score\n10001.mp4,1\nval/0001.mp4,2\n0001.mp4.bak,3\n{row},4\n"
    assert _seen(TableScores(_table(tmp_path, text)), video).view(torch.float64).item() == 4


def test_a_whole_path_is_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = _video(tmp_path, "a b/0001.mp4")
    view = TableScores(_table(tmp_path, f"filename,score\n{video},4\n"))
    monkeypatch.chdir(tmp_path)
    assert _seen(view, Path("a b/0001.mp4")).view(torch.float64).item() == 4


def test_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    write_table(path, ["filename", "score"], [[n, float(i)] for i, n in enumerate(ODD_NAMES)])
    view = TableScores(str(path))
    for number, name in enumerate(ODD_NAMES):
        assert _seen(view, _video(tmp_path, name)).view(torch.float64).item() == number


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("b.mp4,1", "scores.csv has no row for a.mp4"),
        ("sub/a.mp4,1", "scores.csv has no row for a.mp4"),
        ("a.mp4,", "scores.csv, line 2: score '' is not a finite number"),
        ("a.mp4,nan", "line 2: score 'nan' is not a finite"),
        ("a.mp4,1_0", "line 2: score '1_0' is not a finite"),
        ("a.mp4,3\na,3.5", "scores.csv, lines 2 and 3 are both about a.mp4"),
    ],
)
def test_a_video_without_one_number_is_a_row_with_a_reason(
    tmp_path: Path, rows: str, reason: str
) -> None:
    _video(tmp_path, "a.mp4")
    folder = tmp_path / "t"
    folder.mkdir()
    view = TableScores(_table(folder, f"filename,score\n{rows}\nother,1\n"))
    with pytest.raises(VideoError) as error:
        _seen(view, tmp_path / "a.mp4")
    assert reason in str(error.value)
    example = Example(Row("a.mp4", tmp_path / "a.mp4"))
    sample = VideoDataset([example], {"scores": view}, Grey(), train=False)[0]
    assert reason in sample.error and sample.error.startswith("table_scores: ")


def test_the_same_number_twice_is_no_question(tmp_path: Path) -> None:
    view = TableScores(_table(tmp_path, "filename,score\na.mp4,3\na.mp4,3\nx/a.mp4,3\n"))
    assert _seen(view, _video(tmp_path, "x/a.mp4")).view(torch.float64).item() == 3


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (None, {}, "no such file; give a CSV"),
        ("video,score\na,1\n", {}, "no column `filename` in .'video', 'score'"),
        ("filename,mos\na,1\n", {}, "no column `score` .*name= and columns="),
        ("filename,score\n", {}, "a header and no rows"),
        ("filename,score\na,1\nb,1\n./a,2\n", {}, "line 4: 'a' has other numbers in line 2"),
        ("filename,score\na,1\n", {"columns": []}, "give columns of numbers"),
        ("filename,score\na,1\n", {"columns": ["filename"]}, "give columns of numbers"),
        ("filename,score\na,1\n", {"sha256": "0"}, "table_scores has no option 'sha256'"),
    ],
)
def test_bad_tables_are_refused_before_any_video(
    tmp_path: Path, text: str | None, options: dict, words: str
) -> None:
    table = _table(tmp_path, text) if text else str(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match=words):
        make_view({"kind": "table_scores", "table": table, **options})


def test_the_table_s_content_is_the_view_s_identity(tmp_path: Path) -> None:
    _video(tmp_path, "a.mp4")
    one = TableScores(_table(tmp_path, "filename,score\na,1\n"))
    assert one == TableScores(one.table) == replace(one)
    _table(tmp_path, "filename,score\na,2\n")
    two = TableScores(one.table)
    assert two != one and repr(two) != repr(one)
    assert _seen(two, tmp_path / "a.mp4").view(torch.float64).item() == 2


def test_a_table_that_changes_or_goes_while_running_is_told(tmp_path: Path) -> None:
    video = _video(tmp_path, "a.mp4")
    view = TableScores(_table(tmp_path, "filename,score\na,1\n"))
    changed = replace(view)
    object.__setattr__(changed, "sha256", "0" * 64)  # as a fresh process finds it
    with pytest.raises(VideoError, match="changed since the start"):
        _seen(changed, video)
    Path(view.table).unlink()
    dataset = VideoDataset([Example(Row("a", video))], {"s": changed}, Grey(), train=False)
    assert dataset[0].error == "No such file or directory"


def test_no_frame_is_decoded_and_nothing_is_random(tmp_path: Path) -> None:
    video, reader = _video(tmp_path, "a.mp4"), Grey()
    view = TableScores(_table(tmp_path, "filename,score\na,1\n"))
    read_views(video, reader, {"scores": view}, 0, False)
    assert reader.frames_read == 0
    alone = _seen(view, video)
    assert torch.equal(_seen(view, video, train=True, seed=5), alone)
    both, info = read_views(video, reader, {"scores": view, "frames": KeyFrames(2, 8)}, 0, False)
    assert (both["scores"] == alone.numpy()).all() and both["frames"].shape == (2, 3, 8, 8)
    assert info.path == str(video)
    with pytest.raises(VideoError, match="no picture"):
        _seen(view, _video(tmp_path, "a.mp4", "-"))
    collector = view.begin(replace(info, path=str(video)), 0, False)
    with pytest.raises(RuntimeError, match="frame 3"):
        collector.add(3, np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize("time_limit", [None, 60.0])
def test_real_readers_and_the_isolated_one(
    tmp_path: Path, demo_manifest: Path, time_limit: float | None
) -> None:
    video = next(demo_manifest.parent.rglob("*.mp4"))
    view = TableScores(_table(tmp_path, f"filename,score\n{video.name},4.5\n"))
    reader = make_reader(time_limit=time_limit)
    views, _ = read_views(video, reader, {"s": view, "f": KeyFrames(2, 16)}, 0, False)
    assert views["s"].view(np.float64).item() == 4.5
