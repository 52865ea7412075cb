"""Scores that an evaluation keeps as they come."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.data.reader import VideoInfo
from distill.data.rows import Row
from distill.errors import OutputError
from distill.evaluation.kept import KeptScores
from distill.scored import Scored

INFO = VideoInfo(50, 25.0, 320, 180, codec="h264", duration=2.0, path="/v")


def rows(folder: Path, count: int = 6) -> list[Row]:
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(count):
        (folder / f"{at}.mp4").write_bytes(b"x" * (at + 1))
    return [Row(f"{at}.mp4", folder / f"{at}.mp4", 1.0 + at, line=at + 2) for at in range(count)]


class Model:
    """Scores that are no round numbers; the third video is broken. Notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, some: Sequence[Row]) -> Iterator[Scored]:
        for row in some:
            self.asked.append(row.video)
            if row.video == "2.mp4":
                yield Scored(row, error="broken")
            else:
                value = 1 / (3 + len(row.video) + int(row.video[0]))
                yield Scored(row, value, {"m": value / 7}, [value, value / 3], INFO, "abc", "", 0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cut=st.integers(0, 2000), times=st.integers(1, 3))
def test_whatever_a_kill_left_the_rest_is_scored_once(folder: Path, cut: int, times: int) -> None:
    table = rows(folder / "videos")
    path = folder / "scored" / "1.jsonl"
    whole = list(KeptScores(path, False).complete(table, Model()))
    written = path.read_bytes()
    assert len(written.splitlines()) == 5  # all but the broken one
    for _ in range(times):  # killed again and again
        path.write_bytes(written[: min(cut, len(written))])
        model = Model()
        again = list(KeptScores(path, True).complete(table, model))
        assert again == whole
        kept = {Path(json.loads(line)["path"]).name for line in written[:cut].split(b"\n")[:-1]}
        # A line whose end of line alone is missing is whole too.
        assert len(set(model.asked)) == len(model.asked)
        assert {row.video for row in table} - kept >= set(model.asked) >= {"2.mp4"}
        assert len(kept) + len(model.asked) in (6, 5)
        assert path.read_bytes().count(b"\n") == 5


def test_a_file_that_changed_is_scored_again(tmp_path: Path) -> None:
    table, path = rows(tmp_path), tmp_path / "scored.jsonl"
    list(KeptScores(path, False).complete(table, Model()))
    table[1].path.write_bytes(b"another")
    os.utime(table[4].path, ns=(1, 1))
    table[5].path.unlink()
    model = Model()
    list(KeptScores(path, True).complete(table, model))
    assert model.asked == ["1.mp4", "2.mp4", "4.mp4", "5.mp4"]
    model = Model()  # a run that begins takes nothing over
    list(KeptScores(path, False).complete(table, model))
    assert len(model.asked) == 6


def test_nothing_is_asked_for_where_all_is_kept(tmp_path: Path) -> None:
    table, path = rows(tmp_path, 2), tmp_path / "scored.jsonl"
    whole = list(KeptScores(path, False).complete(table, Model()))

    def none(some: Sequence[Row]) -> Iterator[Scored]:
        raise AssertionError(some)

    assert list(KeptScores(path, True).complete(table, none)) == whole


def test_a_full_disk_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptScores(tmp_path / "scored.jsonl", False)

    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

    whole = Scored(rows(tmp_path, 1)[0], 1.0, info=INFO)
    with pytest.raises(OutputError, match=r"scored.jsonl: cannot be written \(No space") as caught:
        kept._write(Full(), whole)
    assert caught.value.exit_code == 4 and "resume=true" in str(caught.value)
