"""Remote pools: what there is, what comes, what is tried again, and what is told."""

import errno
import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from distill.config import place
from distill.data import remote
from distill.data.places import RemotePath
from distill.data.pool_sources import read_pool
from distill.errors import ConfigError, DistillError, ManifestError, SpoolError, VideoError
from tests.helpers.tables import table
from tests.helpers.web import Site, serving

NAMES = ["a.mp4", "sub/b c.mkv", "sub/deep/d.MP4"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_WAITS", (0.0, 0.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos, other files, and the same as two archives."""
    root = tmp_path / "site"
    for name in [*NAMES, "notes.txt", "sub/._b.mp4.part"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    _archive(root / "one.tar", {f"./{name}": name for name in NAMES})
    _archive(root / "shards" / "0.tar", {"k1.mp4": "k1", "k1.json": "{}", "k2.mp4": "k2"})
    _archive(root / "shards" / "1.tar", {"k1.mp4": "other"})
    return root


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with serving(folder) as up:
        yield up


def _archive(path: Path, members: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            file.addfile(info, io.BytesIO(text.encode()))


def _names(source: str) -> list[str]:
    return [row.video for row in read_pool(place(source), remote=True).rows]


def _got(url: str, folder: Path) -> str:
    remote.fetch(url, folder / "out")
    return (folder / "out").read_text()


@pytest.mark.parametrize("kind", ["http", "file", "memory"])
def test_folders_patterns_and_single_videos(
    kind: str, folder: Path, site: Site, tmp_path: Path
) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), f"/{tmp_path.name}", recursive=True)
    base = {"http": site.url, "file": f"file://{folder}", "memory": f"memory://{tmp_path.name}"}
    root = base[kind]
    pool = read_pool(place(root), remote=True)
    assert [row.video.replace("%20", " ") for row in pool.rows] == NAMES
    assert all(row.group == row.video for row in pool.rows) and pool.problems == []
    assert [_got(str(row.path), tmp_path) for row in pool.rows] == NAMES
    assert _names(f"{root}/*.mp4") == ["a.mp4"] == _names(f"{root}/a.mp4")
    assert _names(f"{root}/shards/*.tar") == ["0.tar/k1.mp4", "0.tar/k2.mp4", "1.tar/k1.mp4"]
    last = read_pool(place(f"{root}/shards/*.tar"), remote=True).rows[-1]
    assert _got(str(last.path), tmp_path) == "other"
    for gone in ("gone.mp4", "gone/", "gone.tar"):
        with pytest.raises(ManifestError, match="no such object"):
            _names(f"{root}/{gone}")


def test_archives_on_this_machine(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for source in ("one.tar", "tar://**::one.tar", f"tar://::{folder}/one.tar"):
        pool = read_pool(place(source), remote=True)
        assert [row.video for row in pool.rows] == NAMES
        urls = [f"tar://./{name}::file://{folder}/one.tar" for name in NAMES]
        assert [str(row.path) for row in pool.rows] == urls
        assert [_got(url, tmp_path) for url in urls] == NAMES
    assert _names("shards/*.tar") == ["0.tar/k1.mp4", "0.tar/k2.mp4", "1.tar/k1.mp4"]
    assert _names("s*/*.tar")[0] == "shards/0.tar/k1.mp4"
    assert _names("*.mp4") == ["a.mp4"] and _names("tar://k2*::shards/0.tar") == ["k2.mp4"]
    with pytest.raises(ManifestError, match=r"no video found .*with sub-folders: \*\*/\*\.mp4"):
        _names("tar://*.mp4::one.tar")  # its names begin with ./
    with pytest.raises(ManifestError, match="compressed archives cannot be read"):
        _names("tar://*.mp4::one.tar.gz")
    with pytest.raises(ManifestError, match="neither a list"):
        read_pool(folder / "one.tar")  # of a command that takes files only


def test_members_whose_names_are_not_utf8_are_problems(tmp_path: Path) -> None:
    _archive(tmp_path / "odd.tar", {"caf\udce9.mp4": "x", "b.mp4": "b"})
    for source in (tmp_path / "odd.tar", RemotePath(f"tar://::file://{tmp_path}/odd.tar")):
        pool = read_pool(source, remote=True)
        assert [row.video for row in pool.rows] == ["b.mp4"]
        assert "not UTF-8" in pool.problems[0].reason
        str(pool.problems[0]).encode("utf-8")


def test_an_index_is_read_once_and_by_no_fork(folder: Path, tmp_path: Path) -> None:
    url = f"tar://k1.mp4::file://{folder}/shards/0.tar"
    first, _ = remote._opened(url)
    assert remote._opened(url)[0] is first
    child = os.fork()
    if child == 0:
        os._exit(remote._opened(url)[0] is first)
    assert os.waitpid(child, 0)[1] == 0


def test_urls_in_lists_and_tables(folder: Path, site: Site, tmp_path: Path) -> None:
    text = f"{site.url}/a.mp4?key=1\nhere.mp4\nhttp://me:pw@h/b.mp4\n{site.url}/a.mp4?key=1\n"
    listed = table(tmp_path, text, "here.mp4", name="list.txt")
    pool = read_pool(listed, remote=True)
    assert [row.video for row in pool.rows] == [f"{site.url}/a.mp4", "here.mp4"]
    assert [str(row.path) for row in pool.rows] == [f"{site.url}/a.mp4?key=1",
                                                   str(tmp_path / "here.mp4")]  # fmt: skip
    assert "holds a password" in pool.problems[0].reason and "pw" not in str(pool.problems[0])
    assert pool.problems[1].repeated and len(pool.problems) == 2
    records = f"video,group,mos\n{site.url}/a.mp4,g,3\nhere.mp4,,\n{site.url}/sub/b%20c.mkv,,\n"
    made = table(tmp_path, records, "here.mp4")
    groups = [row.group for row in read_pool(made, remote=True).rows]
    assert groups == ["g", "here.mp4", f"{site.url}/sub/b%20c.mkv"]
    assert [row.video for row in read_pool(listed).rows] == ["here.mp4"]
    assert "only pools may be elsewhere" in read_pool(listed).problems[0].reason
    with pytest.raises(ManifestError, match="is read from this machine; copy it here"):
        _names(f"{site.url}/list.csv")


def test_what_passes_is_tried_again(site: Site, tmp_path: Path) -> None:
    url = f"{site.url}/a.mp4"
    for faults in ([503, 429], ["cut", "cut"], [500, "cut"]):
        site.faults["/a.mp4"] = list(faults)
        assert _got(url, tmp_path) == "a.mp4" and site.faults["/a.mp4"] == []
    site.faults["/a.mp4"] = [503, 503, 503, 503]
    with pytest.raises(VideoError, match="fetch: gave up after 3 tries: HTTP 503"):
        _got(url, tmp_path)
    site.faults["/one.tar"] = [503] * 2  # opened by a HEAD, then read
    assert _got(f"tar://./a.mp4::{site.url}/one.tar", tmp_path) == "a.mp4"


@pytest.mark.parametrize(("status", "reason"), [(404, "no such object"), (403, "HTTP 403")])
def test_what_stays_is_not_tried_again(
    status: int, reason: str, site: Site, tmp_path: Path
) -> None:
    site.faults["/a.mp4"] = [status] * 3
    with pytest.raises(VideoError, match=f"fetch: {reason}") as caught:
        _got(f"{site.url}/a.mp4?secret=1", tmp_path)
    assert site.asked["/a.mp4"] == 1 and "secret" not in caught.value.reason


def test_missing_members_folders_and_servers(folder: Path, tmp_path: Path) -> None:
    for url, reason in {
        f"tar://gone.mp4::file://{folder}/one.tar": "fetch: no such object",
        f"tar://a.mp4::file://{folder}/gone.tar": "gave up after 3 tries: no such object",
        f"tar://a.mp4::file://{folder}/a.mp4": "gave up after 3 tries: ReadError",
        "memory:///gone.mp4": "fetch: no such object",
        "http://127.0.0.1:1/a.mp4": "gave up after 3 tries: ClientConnectorError",
        "nosuch://a.mp4": "gave up after 3 tries: ValueError: Protocol not known",
    }.items():
        with pytest.raises(VideoError, match=reason):
            _got(url, tmp_path)


def test_half_an_object_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/half.mp4", b"0123456789")

    def half(self: Any, path: str, file: str) -> None:
        Path(file).write_bytes(b"01234")

    monkeypatch.setattr(type(memory), "get_file", half)
    with pytest.raises(VideoError, match="gave up after 3 tries: 5 of 10 bytes came"):
        _got("memory:///half.mp4", tmp_path)


def test_no_space_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/big.mp4", b"0123456789")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(memory), "get_file", full)
    with pytest.raises(SpoolError, match=r"no space for memory:///big\.mp4.*SPOOL") as error:
        _got("memory:///big.mp4", tmp_path)
    assert error.value.exit_code == 4


def test_packages_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not there
    listed = table(tmp_path, "s3://bucket/a.mp4\n", name="list.txt")
    for source in ("s3://bucket/folder", str(listed)):
        with pytest.raises(ConfigError, match=r"s3://bucket/.*pip install 'distill-vqa\[remote\]'"):
            _names(source)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"pip install 'distill-vqa\[remote\]'"):
        _names("https://host/folder")
    with pytest.raises(VideoError):  # on a machine of a cluster, say
        remote.fetch("https://host/a.mp4", tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("htps://host/a.mp4", "Protocol not known: htps"),
        ("https://me:secret@host/videos/", r"https://\.\.\.@host/videos/: it holds a password"),
        ("http://127.0.0.1:1/videos/", "cannot be listed .ClientConnectorError"),
    ],
)
def test_sources_that_cannot_be(source: str, message: str) -> None:
    with pytest.raises(DistillError, match=message):
        read_pool(RemotePath(source), remote=True)
