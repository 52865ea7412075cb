"""Which videos are scored, under which names, in which order."""

import os
from pathlib import Path

import pytest

from distill.errors import ConfigError, ManifestError
from distill.scoring.inputs import gather


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.mp4", "in/b [1].mp4", "in/deep/c.mkv", "in/deep/er/d.mp4", "in/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("in/notes.txt").write_text("a.mp4\n")
    return tmp_path


def videos(*names: str, **options: object) -> list[str]:
    return [item.video for item in gather(names, **options)[0]]  # type: ignore[arg-type]


def test_patterns_name_videos_as_a_shell_would() -> None:
    assert videos("in/*.mp4") == ["in/a.mp4", "in/b [1].mp4"]
    assert videos("in/**/*.m*") == [
        "in/a.mp4", "in/b [1].mp4", "in/deep/c.mkv", "in/deep/er/d.mp4",
    ]  # fmt: skip
    assert videos("./in/deep/?.mkv") == ["./in/deep/c.mkv"]
    assert videos("**/?.mp4") == ["in/a.mp4", "in/deep/er/d.mp4"]
    assert videos("in/[a-b]*") == ["in/a.mp4", "in/b [1].mp4"]
    assert videos("in/b [1].mp4") == ["in/b [1].mp4"]  # a file of this name is no pattern
    with pytest.raises(ManifestError, match=r"in/x\*: no video found"):
        gather(["in/a.mp4", "in/x*"])


def test_the_order_is_that_of_the_arguments_and_each_video_comes_once() -> None:
    items, notes = gather(["in/deep/c.mkv", "in/gone.mp4", "in", "in/notes.txt"])
    assert [(item.video, item.reason) for item in items] == [
        ("in/deep/c.mkv", ""),
        ("in/gone.mp4", f"no such file: {Path.cwd()}/in/gone.mp4"),
        ("in/a.mp4", ""),
        ("in/b [1].mp4", ""),
        ("in/deep/er/d.mp4", ""),
    ]
    assert notes == ["2 videos are named by more than one argument; each is scored once"]


def test_a_missing_file_stands_where_the_list_has_it() -> None:
    Path("l.txt").write_text("in/gone.mp4\nin/a.mp4\nin/deep\nin/deep/c.mkv\nin/a.mp4\n")
    items, notes = gather(["l.txt"])
    assert [item.video for item in items] == ["in/gone.mp4", "in/a.mp4", "in/deep", "in/deep/c.mkv"]
    assert items[2].reason == f"a folder, no video: {Path.cwd()}/in/deep"
    (note,) = notes
    assert note.endswith("l.txt, line 5: 'in/a.mp4': listed twice; used once")


def test_a_typed_name_that_cannot_be_taken_stops_no_other() -> None:
    os.mkfifo("in/pipe.mp4")
    Path(os.fsdecode(b"in/\xff.mp4")).touch()
    items, _ = gather(["in/pipe.mp4", os.fsdecode(b"in/\xff.mp4"), "in/a.mp4"])
    assert [(item.video, item.reason) for item in items] == [
        ("in/pipe.mp4", f"a pipe or device, no file: {Path.cwd()}/in/pipe.mp4"),
        ("in/\\udcff.mp4", "its path is not UTF-8, which a label store cannot hold; rename it"),
        ("in/a.mp4", ""),
    ]  # fmt: skip
    with pytest.raises(ManifestError, match=r"nothing to score; .*\n  x\\x1bc\.mp4: no such file"):
        gather(["x\x1bc.mp4"])


def test_a_few_repeated_names_are_told_and_the_rest_are_counted() -> None:
    items, notes = gather(["-"], stdin=lambda: b"in/a.mp4\n" * 1000)
    assert len(items) == 1 and len(notes) == 6
    assert notes[0] == "standard input, line 2: 'in/a.mp4': listed twice; used once"
    assert notes[-1] == "standard input: 994 more are listed twice; used once"
    assert len(gather(["-"], stdin=lambda: b"in/a.mp4\n" * 6)[1]) == 5


def test_names_on_standard_input() -> None:
    lines = b"in/deep/c.mkv\r\n\nin/gone.mp4\nin/a.mp4"
    assert videos("-", stdin=lambda: lines) == ["in/deep/c.mkv", "in/gone.mp4", "in/a.mp4"]
    Path("in/new\nline.mp4").touch()
    names = b"in/new\nline.mp4\0in/a.mp4\0"
    assert videos("-", null=True, stdin=lambda: names) == ["in/new\nline.mp4", "in/a.mp4"]
    # Letters of a pattern are letters of a name there.
    assert videos("in/deep", "-", stdin=lambda: b"in/b [1].mp4\n") == [
        "in/deep/c.mkv", "in/deep/er/d.mp4", "in/b [1].mp4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "null", "text", "error", "message"),
    [
        (["-"], False, b"", ManifestError, "it has no names of videos"),
        (["-"], False, b"\n\n", ManifestError, "it has no names of videos"),
        (["-"], True, b"\0", ManifestError, "it has no names of videos"),
        (["-"], False, b"a.mp4\0b.mp4\0", ConfigError, "names of find -print0 need -0"),
        (["-"], False, b"gone.mp4\n", ManifestError, "standard input, line 1: 'gone.mp4': no such"),
        (["-", "-"], False, b"a", ConfigError, "can be read only once"),
        (["in"], True, b"", ConfigError, "give - in place of a video"),
        (
            ["gone.mp4", "gone.mkv"],
            False,
            b"",
            ManifestError,
            "nothing to score; none of the 2 names",
        ),
        (["in/notes"], False, b"", ManifestError, "in/notes: no such file or folder"),
        (["in/a.mp4", "empty"], False, b"", ManifestError, "empty: no video found"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    names: list[str], null: bool, text: bytes, error: type[Exception], message: str
) -> None:
    Path("empty").mkdir()
    with pytest.raises(error, match=message):
        gather(names, null, lambda: text)


@pytest.mark.parametrize("name", ["l.txt", "l.csv"])
def test_a_list_that_cannot_be_read_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(name).write_text("in/a.mp4\n")

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ManifestError, match=rf"{name}: cannot be read \(Permission denied\)"):
        gather([name])
