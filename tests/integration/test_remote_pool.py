"""A pool on a web site is labelled, killed, shared and learned from as if it lay here."""

import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from distill.labels import Label, LabelStore
from tests.helpers.labelling import (
    OPTIONS,
    broken_pool,
    differences,
    labelling,
    rows_of,
    toy_teacher,
)
from tests.helpers.stages import STUDENT, TRAINING, run_stage
from tests.helpers.web import Site, serving

VIDEOS = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, demo_manifest: Path) -> Path:
    """A folder with ``bundle``, ``pool`` and the ``store`` of its files."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "bundle").symlink_to(toy_teacher(folder / "outputs"))
    broken_pool(folder / "pool", demo_manifest, VIDEOS)
    _here(folder, str(folder / "pool"), folder / "store")
    return folder


@pytest.fixture
def site(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("DISTILL_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr("distill.data.spool._spool", None)
    with serving(place / "pool") as up:
        yield up


def _here(place: Path, pool: str, store: Path, *words: str) -> None:
    run_stage(
        "pseudo_label", store.parent / f"run of {store.name}", f"teacher_bundle={place / 'bundle'}",
        f"pool='{pool}'", f"store={store}", f"outputs={place / 'outputs'}", *OPTIONS, *words,
    )  # fmt: skip


def _as_files(store: Path, site: Site, place: Path) -> list[Label]:
    return [
        replace(row, path=row.path.replace(site.url, str(place / "pool"))) for row in rows_of(store)
    ]


def _left(spool: Path) -> list[str]:
    return [path.name for path in spool.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.slow
def test_killed_and_shared_it_ends_with_the_same_store(
    place: Path, site: Site, tmp_path: Path
) -> None:
    store, spool = tmp_path / "store", tmp_path / "spool"
    first = labelling(place / "bundle", f"{site.url}/", store)
    while not list(store.glob("parts/*.parquet")):
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert len(_left(spool)) <= 2
    left = [path.parent for path in spool.rglob("alive.lock")]
    assert len(left) == 1
    both = [labelling(place / "bundle", f"{site.url}/", store) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert differences(_as_files(store, site, place), rows_of(place / "store")) == []
    assert all(row.path == f"{site.url}/{row.video}" for row in rows_of(store))
    assert [path.name for path in spool.glob("*/*")] == ["spool.lock"] and not left[0].exists()
    # Each video came once, but for what the kill cost, and the pictures of two reports.
    assert sum(n for path, n in site.asked.items() if path != "/") <= VIDEOS + 8 + 2 * 12


def test_what_is_missing_is_a_row_with_a_reason_until_it_is_there(
    place: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.data.remote._WAITS", (0.0,))
    listed, store = tmp_path / "list.txt", tmp_path / "store"
    lines = [f"{site.url}/{name}?key=secret" for name in ("000.mp4", "late.mp4", "001.mp4")]
    listed.write_text("\n".join([*lines, str(place / "pool" / "004.mp4")]))
    site.faults["/001.mp4"] = ["cut"]
    _here(place, str(listed), store)
    rows = rows_of(store)
    assert [row.path for row in rows] == sorted([*lines, str(place / "pool" / "004.mp4")])
    assert {row.video.rsplit("/", 1)[-1]: row.reason for row in rows} == {
        "000.mp4": "", "001.mp4": "", "004.mp4": "", "late.mp4": "fetch: no such object"
    }  # fmt: skip
    assert not any("secret" in row.video for row in rows)
    shutil.copy(place / "pool" / "005.mp4", place / "pool" / "late.mp4")
    try:
        _here(place, str(listed), store, "retry_failed=true")
    finally:
        (place / "pool" / "late.mp4").unlink()
    local = {row.content: row.score for row in rows_of(place / "store")}
    for row in rows_of(store):
        assert row.score == pytest.approx(local[row.content], abs=1e-5)


def test_a_student_learns_from_videos_that_are_elsewhere(
    place: Path, site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    _here(place, f"{site.url}/*.mp4", store)
    usable = len(LabelStore(store).usable())
    asked = sum(site.asked.values())
    options = ["leak_check=none", "select.duplicates=none", "+budget=120", f"labels={store}",
               f"outputs={tmp_path}"]  # fmt: skip
    run_stage("train_student", tmp_path / "run", *STUDENT, *TRAINING, *options)
    assert f"{usable} of {usable} pseudo-labelled videos are remote" in caplog.text
    epochs = 3
    assert sum(site.asked.values()) - asked >= epochs * usable
    assert _left(tmp_path / "spool") == [] and (tmp_path / "run" / "bundle").is_dir()


def test_a_tar_is_a_pool(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr("distill.data.spool._spool", None)
    archive = shutil.make_archive(str(tmp_path / "pool"), "tar", place / "pool")
    _here(place, archive, tmp_path / "store", "data.num_workers=1")
    prefix = f"tar://./{{}}::file://{archive}"
    rows = rows_of(tmp_path / "store")
    assert [row.path for row in rows] == [prefix.format(row.video) for row in rows]
    found = [replace(row, path=str(place / "pool" / row.video)) for row in rows]
    assert differences(found, rows_of(place / "store")) == []
    assert _left(tmp_path / "spool") == []
