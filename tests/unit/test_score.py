"""What score.py takes in and writes: names that a user finds again, and a row for every video."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from distill.data.manifest import Row
from distill.data.reader import VideoInfo
from distill.data.views import KeyFrames
from distill.deploy.scorer import Scorer
from distill.errors import ConfigError, ManifestError
from distill.logistic import Logistic4
from distill.scored import Scored
from distill.stages import score


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scores go; the network is one that gives each video a 3."""

    def score_rows(rows: Sequence[Row], *args: Any, **kwargs: Any) -> Iterator[Any]:
        for row in rows:
            line = [1.0, 2.0]
            yield Scored(row, 3.0, frame_scores=line, info=VideoInfo(50, 25.0, 32, 16))

    plus_one = Logistic4(slope=1, intercept=1, fallback="a line")
    spec = {"provenance": {}}
    views = {"frames": KeyFrames(2, 8)}
    model = Scorer(spec, "f", "torch", plus_one, score_rows, None, views)  # type: ignore[arg-type]
    monkeypatch.setattr(score, "_model", lambda options: model)
    monkeypatch.chdir(tmp_path)
    for video in ("in/a.mp4", "in/deep/b.mkv"):
        Path(video).parent.mkdir(parents=True, exist_ok=True)
        Path(video).touch()
    return tmp_path / "scores.csv"


def run(table: Path, *words: str) -> tuple[int, dict[str, str]]:
    code = score.run([*words, "--csv", str(table)])
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all((row["score"] == "4.0") == (row["error"] == "") for row in rows)
    return code, {row["video"]: row["error"] for row in rows}


def test_videos_are_named_as_typed_and_those_of_a_folder_with_the_folder(table: Path) -> None:
    assert run(table, "in/a.mp4") == (0, {"in/a.mp4": ""})
    for typed in ("in", "in/", "./in"):
        prefix = typed.rstrip("/")
        assert run(table, typed) == (0, {f"{prefix}/a.mp4": "", f"{prefix}/deep/b.mkv": ""})
    assert run(table, "in/deep") == (0, {"in/deep/b.mkv": ""})
    assert run(table, f"{table.parent}/in/a.mp4", "in/a.mp4")[1] == {f"{table.parent}/in/a.mp4": ""}


@pytest.mark.parametrize("name", ["l.txt", "l.csv"])
@pytest.mark.parametrize("absolute", [False, True])
def test_videos_of_a_list_are_named_as_the_list_names_them(
    table: Path, name: str, absolute: bool
) -> None:
    base = f"{table.parent}/" if absolute else ""
    header = "video\n" if name.endswith("csv") else ""
    Path(name).write_text(f"{header}{base}in/a.mp4\n")
    assert run(table, name) == (0, {f"{base}in/a.mp4": ""})
    Path(name).write_text(f"{header}{base}in/a.mp4\n{base}in/deep/b.mkv\n")
    assert run(table, name) == (0, {f"{base}in/a.mp4": "", f"{base}in/deep/b.mkv": ""})


@pytest.mark.parametrize("name", ["l.txt", "l.csv"])
def test_a_listed_file_that_is_missing_is_a_row_with_a_reason(
    table: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "video,note\n" if name.endswith("csv") else ""
    end = "," if header else ""
    lines = [f"in/gone.mp4{end}", f"in/a.mp4{end}"]
    Path(name).write_text(header + "\n".join(lines) + "\n" + (",x\n" if header else ""))
    code, rows = run(table, name)
    assert code == score.FAILED
    assert rows.pop("in/a.mp4") == ""
    assert rows.pop("in/gone.mp4") == f"no such file: {table.parent}/in/gone.mp4"
    assert rows == ({f"{name}, line 4": "the cell `video` is empty"} if header else {})
    assert "in/gone.mp4: no such file" in capsys.readouterr().err


def test_what_is_listed_twice_is_scored_once_and_no_failure(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("l.txt").write_text("in/a.mp4\n./in/a.mp4\n")
    assert run(table, "l.txt") == (0, {"in/a.mp4": ""})
    assert "l.txt, line 2: './in/a.mp4': listed twice; used once" in capsys.readouterr().err
    Path("l.csv").write_text("video\nin/a.mp4\nin/a.mp4\n")
    assert run(table, "l.csv") == (0, {"in/a.mp4": ""})
    assert "the same row as line 2; used once" in capsys.readouterr().err


def test_a_name_that_is_not_utf_8_is_a_row_with_a_reason(table: Path) -> None:
    Path(os.fsdecode(b"in/\xff.mp4")).touch()
    code, rows = run(table, "in")
    assert code == score.FAILED and list(rows) == ["in/a.mp4", "in/deep/b.mkv", r"in/\udcff.mp4"]
    assert "not UTF-8" in rows[r"in/\udcff.mp4"]


def test_what_is_read_is_never_written_over(table: Path) -> None:
    Path("l.csv").write_text("video\nin/a.mp4\n")
    for option in ("--csv", "--json"):
        with pytest.raises(ConfigError, match="is one of the inputs; write the scores to another"):
            score.run(["l.csv", option, "./l.csv"])
    assert Path("l.csv").read_text() == "video\nin/a.mp4\n"


def test_home_is_expanded(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(table.parent / "in"))
    assert score.run(["~/a.mp4", "--csv", "~/scores.csv"]) == 0
    assert (table.parent / "in/scores.csv").is_file()


def test_a_list_of_nothing_but_missing_files_is_refused(table: Path) -> None:
    Path("l.txt").write_text("gone.mp4\n")
    with pytest.raises(ManifestError, match=r"no video found .*\n.*line 1: 'gone\.mp4'"):
        score.run(["l.txt"])


def test_scores_of_frames_are_calibrated_and_come_when_asked_for(table: Path) -> None:
    assert score.run(["in/a.mp4", "--csv", str(table), "--frames"]) == 0
    with table.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert [float(number) for number in row["frame_scores"].split()] == [2.0, 3.0]
    Path("l.txt").write_text("in/a.mp4\nin/gone.mp4\n")
    assert score.run(["l.txt", "--json", "s.json", "--frames"]) == score.FAILED
    assert [r["frame_scores"] for r in json.loads(Path("s.json").read_text())] == [[2, 3], []]
    score.run(["in/a.mp4", "--json", "s.json"])
    assert "frame_scores" not in json.loads(Path("s.json").read_text())[0]
