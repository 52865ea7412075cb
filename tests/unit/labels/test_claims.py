"""Claims and commits: a living claim is respected, a dead one taken over, a part published once."""

import errno
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import StoreFullError
from distill.labels import Chunk, Claims, Label, LabelStore, files, keys_of, plan
from distill.labels.owners import Owner

ROOT = Path(__file__).parents[3]
PATHS = [f"/v/{at:02}" for at in range(10)]


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore.open(tmp_path / "store", {"teacher": "t", "views": {}})


def planned(store: LabelStore, paths: list[str] = PATHS, retry: bool = False) -> list[Chunk]:
    return plan(keys_of(paths), store.index(), 4, retry)


def label_all(
    store: LabelStore, paths: list[str] = PATHS, retry: bool = False, fail: str = ""
) -> list[str]:
    """One process from start to end; the paths that it labelled."""
    done = []
    with Claims(store.folder, planned(store, paths, retry)) as claims:
        while (chunk := claims.claim_next()) is not None:
            todo = [paths[at] for at in chunk.todo]
            status = ["failed" if path == fail else "ok" for path in todo]
            assert claims.commit(
                chunk, [Label(p, p, status=s) for p, s in zip(todo, status, strict=True)]
            )
            done += todo
    return done


def statuses(store: LabelStore) -> dict[str, str]:
    rows = store.read()
    assert len({row.path for row in rows}) == len(rows)
    return {row.path: row.status for row in rows}


@given(
    pool=st.lists(st.text(min_size=1), max_size=30, unique=True),
    size=st.integers(1, 9),
    retry=st.booleans(),
    data=st.data(),
)
def test_a_plan_has_every_row_without_a_label_once(
    tmp_path_factory: pytest.TempPathFactory,
    pool: list[str],
    size: int,
    retry: bool,
    data: st.DataObject,
) -> None:
    store = LabelStore.open(tmp_path_factory.mktemp("s"), {"teacher": "t"})
    strange = st.sampled_from([*pool, "/elsewhere"])
    done = data.draw(st.lists(strange, unique=True, max_size=9))
    failed = data.draw(st.lists(st.sampled_from(done), unique=True) if done else st.just([]))
    rows = [Label(p, p, status="failed" if p in failed else "ok") for p in done]
    store.append(rows)
    chunks = plan(keys_of(pool), store.index(), size, retry)
    wanted = [p for p in pool if p not in done or (retry and p in failed)]
    assert [pool[at] for chunk in chunks for at in chunk.todo] == wanted
    fresh = LabelStore.open(tmp_path_factory.mktemp("s"), {"teacher": "t"})
    every = {chunk.start: chunk.id for chunk in plan(keys_of(pool), fresh.index(), size)}
    assert all(chunk.id == every[chunk.start] for chunk in chunks)  # whatever was done before
    assert all(len(chunk) <= size and chunk.todo for chunk in chunks)


def test_a_chunk_travels(store: LabelStore) -> None:
    (_, chunk, _) = planned(store)
    there = pickle.loads(pickle.dumps(chunk))
    assert there == chunk and there.id == chunk.id and there.todo == [4, 5, 6, 7]
    assert len(pickle.dumps(chunk)) < 400
    with Claims(store.folder, [there]) as claims:
        assert claims.claim_next() == chunk
        assert claims.commit(there, [Label(p, p) for p in PATHS[4:8]])
    assert sorted(statuses(store)) == PATHS[4:8]


def test_a_living_claim_is_respected_and_its_work_not_done_again(store: LabelStore) -> None:
    chunks = planned(store)
    with Claims(store.folder, chunks) as one, Claims(store.folder, chunks) as two:
        mine = one.claim_next()
        assert mine is not None and mine.todo == [0, 1, 2, 3]
        theirs = [two.claim_next(), two.claim_next()]
        assert [chunk.start for chunk in theirs if chunk] == [4, 8]
        assert two.claim_next() is None and two.waiting == 1
        assert f"process {os.getpid()} of " in two.holders()[0]
        one.commit(mine, [Label(p, p) for p in PATHS[:4]])
        assert two.claim_next() is None and (two.waiting, two.elsewhere) == (0, 4)


def test_what_is_given_back_can_be_had(store: LabelStore) -> None:
    chunks = planned(store)[:1]
    with Claims(store.folder, chunks) as one, Claims(store.folder, chunks) as two:
        mine = one.claim_next()
        assert mine and two.claim_next() is None
        one.release(mine)
        assert two.claim_next() == mine
    with Claims(store.folder, chunks) as three:  # the end of a process gives back too
        assert three.claim_next() == mine


def test_a_part_of_a_chunk_is_kept_and_the_rest_labelled_later(store: LabelStore) -> None:
    chunks = planned(store)
    with Claims(store.folder, chunks) as late, Claims(store.folder, chunks) as one:
        chunk = one.claim_next()
        assert chunk and one.commit(chunk, [Label(PATHS[1], PATHS[1])])
        found = late.claim_next()
        assert found and found.todo == [0, 2, 3] and found.id == chunk.id
    assert label_all(store) == [PATHS[0], *PATHS[2:]]
    assert set(statuses(store)) == set(PATHS)


def test_a_pool_that_grew_is_labelled_where_it_is_new(store: LabelStore) -> None:
    label_all(store)
    grown = sorted([*PATHS, "/a", "/v/03b", "/z"])  # every chunk has other rows now
    assert label_all(store, grown) == ["/a", "/v/03b", "/z"]
    assert label_all(store, grown) == [] and sorted(statuses(store)) == grown
    assert label_all(store, PATHS[3:]) == []


def test_failed_videos_are_tried_again_on_request_only(store: LabelStore) -> None:
    label_all(store, fail=PATHS[5])
    assert label_all(store) == [] and statuses(store)[PATHS[5]] == "failed"
    assert label_all(store, retry=True, fail=PATHS[5]) == [PATHS[5]]
    assert statuses(store)[PATHS[5]] == "failed"
    assert label_all(store, retry=True) == [PATHS[5]]
    assert statuses(store) == dict.fromkeys(PATHS, "ok") and label_all(store, retry=True) == []


def test_two_processes_that_try_again_do_it_once(store: LabelStore) -> None:
    label_all(store, fail=PATHS[5])
    again = planned(store, retry=True)
    with Claims(store.folder, again) as one, Claims(store.folder, again) as two:
        chunk = one.claim_next()
        assert chunk
        one.commit(chunk, [Label(PATHS[5], PATHS[5], status="failed", reason="still")])
        assert two.claim_next() is None and two.waiting == 0
    assert {row.reason for row in store.read()} == {"", "still"}


DIES = """
import os, sys
from pathlib import Path
from distill.labels import Claims, LabelStore, keys_of, plan
folder, paths = Path(sys.argv[1]), sys.argv[2:]
claims = Claims(folder, plan(keys_of(paths), LabelStore(folder).index(), 4)).__enter__()
claims.claim_next()
(folder / "parts" / f".x.{claims._owner.id}.tmp").touch()
print(claims._owner.id, flush=True)
os.kill(os.getpid(), 9)
"""


def dies(store: LabelStore) -> str:
    """A process that is killed while it holds the first chunk; its id."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, str(store.folder), *PATHS], cwd=ROOT, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    return done.stdout.strip()


def test_what_a_killed_process_of_this_machine_began_is_taken_over_at_once(
    store: LabelStore,
) -> None:
    dies(store)
    assert len(list(store.folder.glob("claims/*.claim"))) == 1
    assert label_all(store) == PATHS
    left = [path.name for path in store.folder.rglob("*") if path.is_file()]
    assert sorted(name for name in left if not name.endswith(".parquet")) == ["meta.json"]


def test_another_machines_process_is_waited_for_until_its_lease_ends(store: LabelStore) -> None:
    (file,) = store.folder.glob(f"claims/{dies(store)}.owner")
    owner = Owner.from_json(file.read_text())
    assert owner
    file.write_text(replace(owner, machine="another boot").to_json())
    with Claims(store.folder, planned(store), lease=600) as claims:
        assert [c.start for c in (claims.claim_next(), claims.claim_next()) if c] == [4, 8]
        assert claims.claim_next() is None and claims.waiting == 1
        now = file.stat().st_mtime
        os.utime(file, (now - 590, now - 590))
        assert claims.claim_next() is None
        os.utime(file, (now - 700, now - 700))
        found = claims.claim_next()
        assert found and found.start == 0


def test_who_comes_late_does_not_overwrite(store: LabelStore) -> None:
    chunks = planned(store)[:1]
    with Claims(store.folder, chunks) as sleeper:
        mine = sleeper.claim_next()
        (file,) = store.folder.glob("claims/*.owner")
        os.utime(file, (0, 0))
        with Claims(store.folder, chunks) as other:
            taken = other.claim_next()
            assert mine and taken
            assert other.commit(taken, [Label(p, p, score=1.0) for p in PATHS[:4]])
            assert not sleeper.commit(mine, [Label(p, p, score=2.0) for p in PATHS[:4]])
    assert {row.score for row in store.read()} == {1.0}


def test_heartbeats_renew_every_claim_of_a_process(store: LabelStore) -> None:
    with Claims(store.folder, planned(store), lease=600) as claims:
        claims.claim_next(), claims.claim_next()
        (file,) = store.folder.glob("claims/*.owner")
        os.utime(file, (0, 0))
        assert all(p.stat().st_mtime == 0 for p in store.folder.glob("claims/*.claim"))
        claims._now()
        assert all(p.stat().st_mtime > 1e9 for p in store.folder.glob("claims/*"))


def test_the_heart_beats_by_itself(store: LabelStore) -> None:
    with Claims(store.folder, [], lease=0.1):
        (file,) = store.folder.glob("claims/*.owner")
        os.utime(file, (0, 0))
        while file.stat().st_mtime == 0:  # the test's own time limit ends it
            pass


def test_every_write_fails_once_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = 0
    for at in range(1, 1000):
        folder, calls = tmp_path / str(at), 0

        def call(*args: Any, real: Any, at: int = at, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            broken = {
                name: partial(call, real=getattr(os, name))
                for name in ("open", "write", "fsync", "link", "replace", "utime")
            }
            patch.setattr(files, "os", SimpleNamespace(**{**vars(os), **broken}))
            try:
                store = LabelStore.open(folder, {"teacher": "t"})
                store.expect(len(PATHS))
                first = label_all(store)
            except StoreFullError:
                fails += 1
            else:
                assert first == PATHS
                if calls < at:
                    break
        kept = LabelStore(folder).read() if (folder / "meta.json").exists() else []
        store = LabelStore.open(folder, {"teacher": "t"})
        again = label_all(store)
        assert sorted([*(row.path for row in kept), *again]) == PATHS
        assert statuses(store) == dict.fromkeys(PATHS, "ok")
        assert not list(folder.rglob("*.claim")) and not list(folder.rglob(".*"))
    assert fails > 25


def test_owners() -> None:
    here = Owner.here()
    assert Owner.from_json(here.to_json()) == here and not here.is_dead()
    assert replace(here, pid=2**22 + 1).is_dead()
    assert replace(here, started="7").is_dead()  # the number belongs to another process now
    assert not replace(here, pid=2**22 + 1, machine="elsewhere").is_dead()
    assert Owner.from_json("") is None and Owner.from_json("[1]") is None
    assert Owner.from_json(json.dumps({"id": "x"})) is None
