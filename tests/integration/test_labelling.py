"""Labelling that is killed, runs out of space or is shared ends with the store of an unbroken run.

Every comparison is row by row, scores to 1e-5.
"""

import errno
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill.errors import StoreFullError
from distill.labels import LabelStore
from distill.labels import files as files_module
from tests.helpers.labelling import (
    OPTIONS,
    broken_pool,
    differences,
    labelling,
    rows_of,
    toy_teacher,
)
from tests.helpers.stages import run_stage

BROKEN = 9  # of 40: eight that are no video and one that is cut


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, demo_manifest: Path) -> Path:
    """A folder with ``bundle``, ``pool`` and the ``store`` of an unbroken run."""
    folder = tmp_path_factory.mktemp("labelling")
    (folder / "bundle").symlink_to(toy_teacher(folder / "outputs"))
    broken_pool(folder / "pool", demo_manifest)
    found = _here(folder, folder / "store", folder / "run")
    assert (found["labelled"], found["failed"]) == (40 - BROKEN, BROKEN)
    return folder


def _here(place: Path, store: Path, out: Path, *words: str) -> dict[str, Any]:
    """The command in this process."""
    return run_stage(
        "pseudo_label", out, f"teacher_bundle={place / 'bundle'}", f"pool={place / 'pool'}",
        f"store={store}", f"outputs={place / 'outputs'}", *OPTIONS, *words,
    )  # fmt: skip


def _start(place: Path, store: Path, *words: str) -> "subprocess.Popen[str]":
    return labelling(place / "bundle", place / "pool", store, *words)


def _leftovers(store: Path) -> list[str]:
    names = [p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file()]
    return [n for n in names if n != "meta.json" and not n.endswith(".parquet")]


@pytest.mark.slow
def test_killed_at_random_moments(place: Path, tmp_path: Path) -> None:
    store, moments = tmp_path / "store", random.Random(5)
    kills = 0
    while kills < 5:
        process = _start(place, store)
        parts = len(list(store.glob("parts/*.parquet")))
        while process.poll() is None and not store.exists():
            time.sleep(0.01)
        limit = time.monotonic() + moments.uniform(0, 0.5)
        while process.poll() is None and time.monotonic() < limit:
            time.sleep(0.002)
        if kills % 2 and process.poll() is None:  # every other one after it did something
            while process.poll() is None and len(list(store.glob("parts/*.parquet"))) == parts:
                time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        assert process.returncode in (0, -9), output
        if process.returncode == 0:
            break  # it was faster than its killer; the store is whole
        kills += 1
        if (store / "meta.json").exists():
            LabelStore(store).read()  # no torn file is ever read
    assert kills >= 3
    last = _start(place, store)
    output, _ = last.communicate()
    assert last.returncode == 0, output
    assert differences(rows_of(store), rows_of(place / "store")) == []
    assert _leftovers(store) == []


@pytest.mark.slow
def test_two_processes_and_one_of_them_killed(place: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    both = [_start(place, store), _start(place, store)]
    while len(list(store.glob("parts/*.parquet"))) < 2:
        assert all(process.poll() is None for process in both)
        time.sleep(0.01)
    both[0].send_signal(signal.SIGKILL)
    output, _ = both[1].communicate()
    both[0].communicate()
    assert both[1].returncode == 0, output
    assert differences(rows_of(store), rows_of(place / "store")) == []
    assert _leftovers(store) == []


@pytest.mark.slow
def test_two_processes_share_the_work(place: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    both = [_start(place, store), _start(place, store)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert differences(rows_of(store), rows_of(place / "store")) == []
    # Each part once and each video in one part: nobody labelled what the other had.
    index = LabelStore(store).index()
    assert len(index.parts) == 10 and index.counts.all()
    assert all("labelled 31 videos, 9 failed" in output for output in outputs)
    assert _leftovers(store) == []


@pytest.mark.slow
def test_no_space_again_and_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th write of a start finds no space; the next start goes on, and fails later."""
    store, calls, fails = tmp_path / "store", 0, 0

    def failing(name: str, at: int) -> Any:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            flush = name == "open" and not args[1] & os.O_WRONLY  # of a folder: may fail in silence
            calls += not flush
            if calls == at and not flush:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *args[:1])
            return real(*args, **kwargs)

        return call

    kept = 0
    for at in range(1, 200):
        calls = 0
        broken = {n: failing(n, at) for n in ("open", "write", "link", "replace")}
        with monkeypatch.context() as patch:
            patch.setattr(files_module, "os", SimpleNamespace(**{**vars(os), **broken}))
            try:
                _here(place, store, tmp_path / f"run{at}")
            except StoreFullError as error:
                assert error.exit_code == 4 and f"start again with store={store}" in str(error)
                fails += 1
            else:
                if calls < at:
                    break
        now = len(rows_of(store)) if (store / "meta.json").exists() else 0
        assert now >= kept, "something that was committed is lost"
        kept = now
    assert fails >= 10
    assert differences(rows_of(store), rows_of(place / "store")) == []
    assert _leftovers(store) == []


def test_no_space_anywhere_is_told(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("distill.runs.Run.finish", full)
    with pytest.raises(StoreFullError, match="No space left on device"):
        _here(place, tmp_path / "store", tmp_path / "run")
    assert differences(rows_of(tmp_path / "store"), rows_of(place / "store")) == []


def test_failed_videos_are_retried_on_request(place: Path, tmp_path: Path) -> None:
    pool, store = tmp_path / "pool", tmp_path / "store"
    pool.mkdir()
    for name in ("000.mp4", "001.mp4"):
        os.link(place / "pool" / name, pool / name)
    (pool / "002.mp4").write_bytes(b"not yet there")
    found = [_here(place, store, tmp_path / "a", f"pool={pool}")]
    (pool / "002.mp4").unlink()
    os.link(place / "pool" / "004.mp4", pool / "002.mp4")
    found.append(_here(place, store, tmp_path / "b", f"pool={pool}"))
    found.append(_here(place, store, tmp_path / "c", f"pool={pool}", "retry_failed=true"))
    assert [(f["labelled"], f["failed"]) for f in found] == [(2, 1), (2, 1), (3, 0)]
    os.link(place / "pool" / "005.mp4", pool / "000 new.mp4")
    assert _here(place, store, tmp_path / "d", f"pool={pool}")["labelled"] == 4
    assert LabelStore(store).meta["videos"] == 4
    expected = {row.content: row.score for row in rows_of(place / "store")}
    for row in rows_of(store):
        assert row.score == pytest.approx(expected[row.content], abs=1e-5)


def test_a_dry_run_says_what_it_will_take(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    found = _here(place, tmp_path / "store", tmp_path / "run", "dry_run=true", "sample=20")
    assert list(tmp_path.iterdir()) == []
    assert (found["videos"], found["sample"]) == (40, 20) and 0 < found["failed"] <= BROKEN
    assert found["hours"] == pytest.approx(40 / found["videos_per_second"] / 3600)
    written = sum(part.stat().st_size for part in LabelStore(place / "store").parts())
    assert found["bytes"] == pytest.approx(written, rel=0.1)
    kilobytes = found["bytes"] / 1000
    assert f" and {kilobytes:.0f} kB. Nothing was written" in caplog.text
    assert _here(place, place / "store", tmp_path / "run", "dry_run=true")["videos"] == 0
