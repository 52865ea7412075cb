"""The spool: a copy while it is needed, one more on its way, nothing once its process is dead."""

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from distill.data import remote, spool
from distill.data.dataset import Example, VideoDataset
from distill.data.loading import eval_loader
from distill.data.places import RemotePath
from distill.data.rows import Row
from distill.errors import SpoolError, VideoError
from tests.helpers.grey_videos import Grey


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own, and a spool that begins in it."""
    monkeypatch.setenv("DISTILL_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(spool, "_spool", None)
    monkeypatch.setattr(remote, "_WAITS", ())
    for level in range(6):
        fsspec.filesystem("memory").pipe(f"/grey/{level}.mp4", f"{level * 40}".encode())
    yield spool.spool_folder()


def _url(level: int) -> RemotePath:
    return RemotePath(f"memory:///grey/{level}.mp4")


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_copy_is_there_while_it_is_needed(root: Path, tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with spool.local(_url(3)) as file:
            assert file.read_text() == "120" and file.suffix == ".mp4"
            names.add(file)
            assert _files(root) == [file]
        assert _files(root) == []
    assert len(names) == 2  # readers keep facts by name
    assert root.stat().st_mode & 0o077 == 0  # videos are private
    here = tmp_path / "a.mp4"
    with spool.local(here) as file:
        assert file is here
    with pytest.raises(VideoError, match="fetch: no such object"), spool.local(_url(9)):
        pass
    with pytest.raises(RuntimeError), spool.local(_url(1)):
        raise RuntimeError("in the decoder")
    assert _files(root) == []


def test_one_is_decoded_while_the_next_one_comes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder waits for a file that only a fetch beside it can bring; never more than two."""
    came, most = [threading.Event() for _ in range(6)], 0
    real = remote.fetch

    def fetch(url: str, file: Path) -> None:
        real(url, file)
        came[int(Path(url).stem)].set()

    class Waits(Grey):
        def probe(self, path: Path) -> Any:
            nonlocal most
            level = int(path.read_text()) // 40
            assert level == 5 or came[level + 1].wait(60), "the next one did not come"
            most = max(most, len(_files(root)))
            return super().probe(path)

    monkeypatch.setattr(remote, "fetch", fetch)
    rows = [Example(Row(str(level), _url(level))) for level in range(6)]
    samples = VideoDataset(rows, {}, Waits(), train=False).__getitems__(list(range(6)))
    assert [sample.error for sample in samples] == [""] * 6
    assert [sample.info.path for sample in samples if sample.info] == [
        str(_url(k)) for k in range(6)
    ]
    assert most == 2 and _files(root) == []


def test_a_video_asked_for_twice_in_a_batch(root: Path) -> None:
    rows = [Example(Row("a", _url(2)))]
    samples = VideoDataset(rows, {}, Grey(), train=True).__getitems__([(0, 0), (0, 0), (1, 0)])
    assert [sample.error for sample in samples] == [""] * 3 and _files(root) == []


def test_workers_clean_up(root: Path) -> None:
    rows = [Example(Row(str(level), _url(level % 7))) for level in range(14)]
    loader = eval_loader(rows, {}, Grey(), batch_size=2, num_workers=2)
    failed = [reason for batch in loader for _, reason in batch.failed]
    assert failed == ["fetch: no such object"] * 2
    assert [path.name for path in root.iterdir()] == ["spool.lock"]


def test_what_the_dead_left_is_removed_and_nothing_else(root: Path, tmp_path: Path) -> None:
    program = (
        "import sys, time, fsspec\n"
        "from distill.data import spool\nfrom distill.data.places import RemotePath\n"
        "fsspec.filesystem('memory').pipe('/a.mp4', b'a')\n"
        "with spool.local(RemotePath('memory:///a.mp4')) as file:\n"
        "    print(file, flush=True)\n    time.sleep(600)\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    dead, living = (Path(process.stdout.readline().strip()) for process in both if process.stdout)
    (root / "mine").mkdir()
    (root / "mine" / "video.mp4").write_text("of somebody else")
    os.kill(both[0].pid, signal.SIGKILL)
    both[0].wait()
    assert dead.is_file() and living.is_file()
    spool.clean()
    assert not dead.parent.exists() and living.is_file() and (root / "mine" / "video.mp4").is_file()
    both[1].terminate()  # no handler: it ends as if it were killed
    both[1].wait()
    with spool.local(_url(1)):
        assert not living.exists()  # the next spool cleans as well


def test_no_space_and_no_folder_end_the_run_with_a_plain_text(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(url: str, file: Path) -> None:
        file.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote, "_get", full)
    rows = [Example(Row(str(level), _url(level))) for level in range(4)]
    for workers in (0, 1):
        told = _refusal(rows, workers)
        assert "no space for memory:///grey/0.mp4" in told
        assert "Traceback" not in told and told.startswith(str(root))
    gc.collect()  # the loader's processes end with the last trace of it
    assert _files(root) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("DISTILL_SPOOL", str(tmp_path / "file"))
    with pytest.raises(SpoolError, match=r"file/.*: cannot hold remote videos .*DISTILL_SPOOL=F"):
        spool.Spool(spool.spool_folder())


def _refusal(rows: list[Example], workers: int) -> str:
    try:
        list(eval_loader(rows, {}, Grey(), batch_size=2, num_workers=workers))
    except SpoolError as error:
        return str(error)
    return "nothing was refused"


def test_leaving_does_not_wait_for_a_silent_server() -> None:
    program = (
        "import time\nfrom distill.data import remote, spool\n"
        "from distill.data.places import RemotePath\n"
        "remote.fetch = lambda url, file: time.sleep(600)\n"
        "spool.fetch_ahead(RemotePath('memory:///a.mp4'))\ntime.sleep(0.2)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
