"""What is sent to the KVQ challenge: names, missing videos, the zip."""

import csv
import io
import math
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import ConfigError, ManifestError
from distill.kvq import __main__ as command
from distill.kvq.files import read_scores
from distill.kvq.submission import (
    expected_names,
    for_submission,
    off_scale,
    official_name,
    write_submission,
)
from tests.helpers.told_scores import LINE, told_bundle
from tests.helpers.video_files import make_clip

NAMES = expected_names("test")


def inside(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["prediction.csv"] and file.testzip() is None
        return list(csv.reader(io.StringIO(file.read("prediction.csv").decode())))


def write(path: Path, rows: list[str], header: str = "video,score,error") -> Path:
    path.write_text("\n".join([header, *rows]))
    return path


def test_the_names_are_those_of_the_challenge(shared_dir: Path) -> None:
    with (shared_dir / "labels" / "kvq" / "test_data.csv").open(newline="") as file:
        assert [row["filename"] for row in csv.DictReader(file)] == NAMES
    assert len(NAMES) == 854 and len(expected_names("val")) == 420


@pytest.mark.parametrize(
    ("video", "name"),
    [
        ("test/0001.mp4", "test/0001.mp4"),
        ("/data/KVQ/test/0001.mp4", "test/0001.mp4"),
        (r"C:\KVQ\test\0001.MP4", "test/0001.mp4"),
        ("test_video/0001", "test/0001.mp4"),
        ("0001.mp4", "test/0001.mp4"),
        ("/data/other/0001.mp4", "test/0001.mp4"),
        ("train/0001.mp4", None),
        ("test/10001.mp4", None),
        ("clip0001.mp4", None),
        ("test/0001.mkv", None),
    ],
)
def test_official_names(video: str, name: str | None) -> None:
    assert official_name(video, "test") == name


@given(st.text(max_size=20), st.sampled_from(NAMES))
def test_a_folder_in_front_changes_no_name(folder: str, name: str) -> None:
    assert official_name(f"{folder}/{name}", "test") == name


def test_a_submission_from_scores(tmp_path: Path, shared_dir: Path, capsys) -> None:
    rows = [f"/videos/{name},{1 + at / 300},\n" for at, name in enumerate(NAMES)][::-1]
    source = write(tmp_path / "scores.csv", [*rows, "train/0001.mp4,3,"])
    out = tmp_path / "submission.zip"
    names = shared_dir / "labels" / "kvq" / "test_data.csv"
    words = ["submit", str(source), "--out", str(out), "--names", str(names)]
    assert command.run(words) == 0
    table = inside(out)
    assert table[0] == ["filename", "score"] and len(table) == 855
    assert [row[0] for row in table[1:]] == NAMES
    assert [float(row[1]) for row in table[1:]] == [1 + at / 300 for at in range(854)]
    told = capsys.readouterr()
    assert "prediction.csv with 854 scores" in told.out
    assert "left out, 1 videos that are not of the test split" in told.err
    assert "warning" not in told.err
    before = out.read_bytes()
    assert command.run(words) == 0 and out.read_bytes() == before


def test_what_is_missing_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    rows = [f"{name},2.5," for name in NAMES if name not in ("test/0007.mp4", "test/0009.mp4")]
    source = write(tmp_path / "scores.csv", [*rows, "test/0007.mp4,,pyav: no picture"])
    words = ["submit", str(source), "--out", str(tmp_path / "s.zip")]
    with pytest.raises(ManifestError) as caught:
        command.run(words)
    text = str(caught.value)
    assert text.startswith("2 of 854 videos have no score")
    assert "test/0007.mp4: pyav: no picture" in text and "test/0009.mp4: no score" in text
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("test/0001.mp4,nan,", "line 2: the score of test/0001.mp4 is 'nan'"),
        ("test/0001.mp4,,", "line 2: the score of test/0001.mp4 is ''"),
    ],
)
def test_scores_must_be_numbers(tmp_path: Path, line: str, message: str) -> None:
    source = write(tmp_path / "scores.csv", [line, *(f"{name},2.5," for name in NAMES[1:])])
    with pytest.raises(ManifestError, match=message):
        command.run(["submit", str(source), "--out", str(tmp_path / "s.zip")])


def test_a_video_with_two_scores_is_refused(tmp_path: Path) -> None:
    rows = [*(f"{name},2.5," for name in NAMES), "test/0001.mp4,4,"]
    source = write(tmp_path / "scores.csv", rows)
    with pytest.raises(ManifestError, match=r"1 videos stand there more than once.*test/0001"):
        command.run(["submit", str(source), "--out", str(tmp_path / "s.zip")])


def test_scores_must_agree_and_be_finite() -> None:
    with pytest.raises(ManifestError, match=r"test/0001\.mp4 has two scores, 1 and 2"):
        for_submission({"a/0001.mp4": 1.0, "b/0001.mp4": 2.0}, {}, NAMES[:1], "test")
    with pytest.raises(ManifestError, match="the score is inf"):
        for_submission({"0001.mp4": math.inf}, {}, NAMES[:1], "test")
    same = {"a/0001.mp4": 1.0, "b/0001.mp4": 1.0, "9999.mp4": 3.0}
    assert for_submission(same, {}, NAMES[:1], "test") == ({NAMES[0]: 1.0}, ["9999.mp4"])


def test_options_are_checked(tmp_path: Path) -> None:
    source = write(tmp_path / "scores.csv", [f"{name},2.5," for name in NAMES])
    for words, error, message in (
        (["--out", "s.csv"], ConfigError, "takes a .zip"),
        (["--out", "s.zip", "--root", "x"], ConfigError, "--root is for a bundle"),
        (["--out", str(tmp_path / "no" / "s.zip")], ManifestError, "cannot be written"),
    ):
        with pytest.raises(error, match=message):
            command.run(["submit", str(source), *words])
    names = write(tmp_path / "names.csv", ["test/0001.mp4,"], "filename,score")
    with pytest.raises(ManifestError, match="1 names, where KVQ's test split has 854"):
        command.run(["submit", str(source), "--out", "s.zip", "--names", str(names)])


def test_scores_off_the_scale_are_told() -> None:
    assert off_scale([1.0, 4.4, 5.0]) == ""
    assert "between 23 and 81.5, the MOS between 1 and 5" in off_scale([23.0, 50, 81.5])


def test_a_bundle_scores_the_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "expected_names", lambda split: NAMES[:3])
    root = tmp_path / "KVQ"
    (root / "test").mkdir(parents=True)
    clip = make_clip(tmp_path, "tiny.mp4")
    for name in NAMES[:3]:
        shutil.copy(clip, root / name)
    bundle = told_bundle(tmp_path / "m", {"0001": 0.5, "0002": 1.0, "0003": 1.75})
    out = tmp_path / "s.zip"
    words = ["submit", str(bundle), "--out", str(out), "--root", str(root), "--workers", "0"]
    assert command.run(words) == 0
    assert [float(score) for _, score in inside(out)[1:]] == pytest.approx([2.0, 3.0, 4.5])
    with pytest.raises(ConfigError, match="--root FOLDER"):
        command.run(words[:4])

    (root / NAMES[1]).write_bytes(b"no video")
    out.unlink()
    with pytest.raises(ManifestError, match=r"1 of 3 videos have no score.*\n  test/0002.mp4: "):
        command.run(words)
    assert not out.exists()
    kept = read_scores(tmp_path / "s.scores.csv").scores
    assert kept == pytest.approx({"test/0001.mp4": 2.0, "test/0003.mp4": 4.5})
    assert "the 2 scores that there are" in capsys.readouterr().err
    (root / NAMES[1]).unlink()
    with pytest.raises(ManifestError, match="1 of 3 videos are not there, the first is test/0002"):
        command.run(words)


def test_equal_scores_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_submission(tmp_path / name, {"test/0001.mp4": 1 / 3})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert inside(tmp_path / "a.zip")[1] == ["test/0001.mp4", repr(1 / 3)]
    assert LINE(0.5) == 2.0
