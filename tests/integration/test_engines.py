"""Whichever engine labels, and whoever is lost on the way: the store of a single process.

Every comparison is row by row, scores to 1e-5; the pool has broken files among it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from distill.errors import ConfigError, EngineError, LabelStoreError
from distill.labels import LabelStore
from tests.helpers.labelling import (
    OPTIONS,
    ROOT,
    broken_pool,
    differences,
    labelling,
    rows_of,
    toy_teacher,
)
from tests.helpers.stages import run_stage

VIDEOS, BROKEN = 15, 4  # three are no video and one is cut


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, demo_manifest: Path) -> Path:
    """A folder with ``bundle``, ``pool`` and the ``store`` of a single process."""
    folder = tmp_path_factory.mktemp("engines")
    (folder / "bundle").symlink_to(toy_teacher(folder / "outputs"))
    broken_pool(folder / "pool", demo_manifest, VIDEOS)
    found = _label(folder, folder / "store", folder / "run")
    assert (found["labelled"], found["failed"]) == (VIDEOS - BROKEN, BROKEN)
    return folder


def _words(place: Path, store: Path) -> list[str]:
    return [
        f"teacher_bundle={place / 'bundle'}", f"pool={place / 'pool'}", f"store={store}", *OPTIONS,
    ]  # fmt: skip


def _label(place: Path, store: Path, out: Path, *words: str) -> dict[str, Any]:
    """The command in this process."""
    outputs = f"outputs={place / 'outputs'}"
    return run_stage("pseudo_label", out, *_words(place, store), outputs, *words)


def _check(place: Path, store: Path, parts: int) -> None:
    assert differences(rows_of(store), rows_of(place / "store")) == []
    index = LabelStore(store).index()
    assert len(index.parts) == parts and index.counts.all()  # no video twice
    assert list(store.glob("claims/*")) == []


def _killer(store: Path, which: Callable[[psutil.Process], bool], killed: list[int]) -> None:
    """Once a part is there, SIGKILL one process below this one."""
    while not list(store.glob("parts/[!.]*")):
        time.sleep(0.02)
    for process in psutil.Process().children(recursive=True):
        try:
            if which(process):
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return
        except psutil.NoSuchProcess:
            continue


@pytest.fixture
def kill(place: Path) -> Callable[..., list[int]]:
    """Starts a thread that kills one of our processes in the middle of its work."""

    def start(store: Path, which: Callable[[psutil.Process], bool]) -> list[int]:
        killed: list[int] = []
        threading.Thread(target=_killer, args=(store, which, killed), daemon=True).start()
        return killed

    return start


def _below() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_of_one_machine(place: Path, tmp_path: Path) -> None:
    before = _below()
    found = _label(place, tmp_path / "store", tmp_path / "run", "devices=2", "commit_every=2")
    assert (found["labelled"], found["failed"]) == (VIDEOS - BROKEN, BROKEN)
    assert 0 <= found["data_wait"] <= 1
    _check(place, tmp_path / "store", parts=8)
    assert _below() <= before | _trackers()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_lost_process_of_one_machine(
    place: Path, tmp_path: Path, kill: Any, caplog: pytest.LogCaptureFixture
) -> None:
    killed = kill(tmp_path / "store", lambda p: "spawn_main" in " ".join(p.cmdline()))
    _label(place, tmp_path / "store", tmp_path / "run", "devices=2", "commit_every=1")
    assert len(killed) == 1
    assert "SIGKILL; what was committed is kept; all processes start" in caplog.text
    _check(place, tmp_path / "store", parts=VIDEOS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sigterm_keeps_what_two_processes_labelled(place: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = labelling(place / "bundle", place / "pool", store, "devices=2", "commit_every=1")
    while not list(store.glob("parts/[!.]*")):
        assert command.poll() is None
        time.sleep(0.02)
    command.send_signal(signal.SIGTERM)
    output, _ = command.communicate()
    assert command.returncode in (0, 128 + signal.SIGTERM), output  # 0: it was faster
    kept = len(rows_of(store))
    assert command.returncode == 0 or f"{kept} videos are in the store; continue with" in output
    assert list(store.glob("claims/*")) == []  # the processes ended by themselves
    _label(place, store, tmp_path / "run", "commit_every=1")
    _check(place, store, parts=VIDEOS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ray_with_a_lost_worker(place: Path, tmp_path: Path, kill: Any) -> None:
    before = _below()
    killed = kill(tmp_path / "store", lambda p: "_Worker" in " ".join(p.cmdline()))
    found = _label(
        place, tmp_path / "store", tmp_path / "run", "engine=ray", "ray.workers=2", "commit_every=1"
    )
    assert len(killed) == 1
    assert (found["labelled"], found["failed"]) == (VIDEOS - BROKEN, BROKEN)
    _check(place, tmp_path / "store", parts=VIDEOS)
    assert _below() <= before | _trackers()


def _trackers() -> set[int]:
    """Python's own, which live as long as this process."""
    return {
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "resource_tracker" in " ".join(process.cmdline())
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_jobs_of_hydras_launcher(place: Path, tmp_path: Path) -> None:
    done = _door(
        place, tmp_path, "-m", "shard=0,1", "hydra/launcher=submitit_local", "commit_every=1"
    )
    assert done.returncode == 0, done.stdout
    _check(place, tmp_path / "store", parts=VIDEOS)
    runs = list((tmp_path / "outputs" / "pseudo_label").glob("*/*/result.json"))
    assert len(runs) == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_error_in_a_launchers_process_is_the_commands(place: Path, tmp_path: Path) -> None:
    words = ("-m", "shard=0,1", "hydra/launcher=submitit_local", f"pool={tmp_path / 'nowhere'}")
    done = _door(place, tmp_path, *words)
    assert done.returncode == ConfigError.exit_code
    assert f"error: {tmp_path / 'nowhere'}: no such file or folder" in done.stdout
    assert "Traceback" not in done.stdout


def _door(place: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "pseudo_label.py", *_words(place, folder / "store"), *words],
        cwd=ROOT, env={**os.environ, "DISTILL_OUTPUTS": str(folder / "outputs")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_bfloat16_has_a_store_of_its_own_and_tells_its_difference(
    place: Path, tmp_path: Path
) -> None:
    with pytest.raises(LabelStoreError, match='precision: was "float32", is "bfloat16"'):
        _label(place, place / "store", tmp_path / "a", "precision=bfloat16")
    store = tmp_path / "store"
    found = _label(place, store, tmp_path / "b", "precision=bfloat16", "sample=7")
    assert LabelStore(store).meta["precision"] == "bfloat16"
    expected = {row.path: row.score for row in rows_of(place / "store")}
    first = sorted(rows_of(store), key=lambda row: row.path)[:7]  # the pool's order is by name
    away = [abs(row.score - expected[row.path]) for row in first if row.status == "ok"]
    assert 0 < len(away) < 7
    assert found["bfloat16_compared"] == len(away)
    assert found["bfloat16_largest"] == pytest.approx(max(away), abs=1e-5)
    assert found["bfloat16_mean"] == pytest.approx(sum(away) / len(away), abs=1e-5)
    assert found["bfloat16_largest"] > 1e-5, "bfloat16 changed nothing"
    assert not any("bfloat16" in name for name in _label(place, place / "store", tmp_path / "c"))


def test_a_cluster_that_is_not_there_is_told(place: Path, tmp_path: Path) -> None:
    words = ("engine=ray", "ray.address=127.0.0.1:1")
    with pytest.raises(
        EngineError, match=r"ray.address=127.0.0.1:1: no Ray cluster answers: .*refused"
    ):
        _label(place, tmp_path / "store", tmp_path / "run", *words)
