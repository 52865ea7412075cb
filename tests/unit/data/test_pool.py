"""Unlabelled pools: folders, lists, tables and single videos."""

import errno
import math
import os
from pathlib import Path
from typing import Any

import pytest

from distill.data.manifest import read_manifest
from distill.data.pool_sources import read_pool
from tests.helpers.tables import ODD_NAMES, refused, summary, table


def test_pool_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.MP4", "sub/a b.mkv", "notes.txt", "c.mp4.part", "sub/d.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    pool = read_pool(tmp_path)
    assert [r.video for r in pool.rows] == ["b.MP4", "sub/a b.mkv", "sub/d.webm"]
    assert all(r.split == "pool" and math.isnan(r.mos) and r.path.is_file() for r in pool.rows)
    assert [r.group for r in pool.rows] == [r.video for r in pool.rows]
    assert pool.problems == []


def test_pool_of_a_list(tmp_path: Path) -> None:
    names = [name for name in ODD_NAMES if "\n" not in name]
    text = "\ufeff" + "\n".join(["", *names, "gone.mp4", "x" * 300, names[0], "d/../a=b.mp4"])
    path = table(tmp_path, text, *names, name="list.txt")
    pool = read_pool(path)
    assert [r.video for r in pool.rows] == names
    assert [r.line for r in pool.rows] == list(range(2, 2 + len(names)))
    assert [p.reason for p in pool.problems] == [
        f"no such file: {tmp_path}/gone.mp4",
        f"no such file: {tmp_path}/{'x' * 300}",
        "listed twice; used once",
        "listed twice; used once",
    ]


def test_pool_of_a_table_ignores_labels_and_splits(tmp_path: Path) -> None:
    text = (
        "video,mos,split,group,note\n"
        "a.mp4,,test,g,1\nb.mp4,bad,val,g,2\nc.mp4,3,nosuch,h,3\na.mp4,5,train,g,1\n"
    )
    pool = read_pool(table(tmp_path, text, "a.mp4", "b.mp4", "c.mp4"))
    assert summary(pool) == [(f"{v}.mp4", None, "pool") for v in "abc"]
    assert [(r.group, r.extra) for r in pool.rows][1] == ("g", {"note": "2"})
    assert [p.reason for p in pool.problems] == ["the same row as line 2; used once"]


def test_pool_of_one_video_and_of_nothing(tmp_path: Path) -> None:
    path = table(tmp_path, "x", name="a,b=ü.mp4")
    assert [(r.video, r.path) for r in read_pool(path).rows] == [("a,b=ü.mp4", path)]
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty", read_pool).startswith(
        f"{tmp_path}/empty: no video found (looked for .3gp .avi "
    )
    assert "no such file or folder" in refused(tmp_path / "gone", read_pool)
    empty = table(tmp_path, "\n", name="e.txt")
    assert f"{empty}: no video found" in refused(empty, read_pool)
    listed = table(tmp_path, "gone.mp4\n", name="l.txt")
    assert f"{listed}, line 1: 'gone.mp4': no such file" in refused(listed, read_pool)
    raw = table(tmp_path, b"\x00\xff\xfe\x9d" * 99, name="film.r3d")
    assert "neither a list of paths in UTF-8 nor a video by its name" in refused(raw, read_pool)


def test_pool_spells_paths_as_the_manifest_does(tmp_path: Path) -> None:
    path = table(tmp_path, "video,mos\nvideos/a.mp4,3\n", "videos/a.mp4")
    known = read_manifest(path).rows[0].path
    (tmp_path / "videos/deep").mkdir()
    listed = table(tmp_path, "videos/deep/../a.mp4\n", name="l.txt")
    for source in (tmp_path / "videos/deep/..", listed, tmp_path / "videos/deep/../a.mp4"):
        assert [row.path for row in read_pool(source).rows] == [known]


def test_a_file_name_that_is_not_utf8_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).touch()
    except OSError:
        return  # this file system takes no such name, so there is nothing to go wrong
    pool = read_pool(tmp_path)
    assert [r.video for r in pool.rows] == ["a.mp4"]
    (problem,) = pool.problems
    assert "not UTF-8" in problem.reason and str(problem).startswith(f"{tmp_path}: 'caf")
    str(problem).encode("utf-8")
    problem.video.encode("utf-8")


def test_folders_that_cannot_be_listed_are_told_links_followed_and_hidden_files_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pool/a.mp4", "pool/._a.mp4", "pool/locked/b.mp4", "elsewhere/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "pool" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pool" / "link" / "back").symlink_to(tmp_path / "pool")
    real = os.scandir

    def scandir(path: Any = ".") -> Any:  # root may list every folder, so none can be locked
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    pool = read_pool(tmp_path / "pool")
    assert [row.video for row in pool.rows] == ["a.mp4", "link/c.mp4"]
    (problem,) = pool.problems
    assert str(problem) == (
        f"{tmp_path}/pool: 'locked': its videos are left out: the folder cannot be listed"
        " (Permission denied)"
    )
