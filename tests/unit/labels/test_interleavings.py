"""The protocol under every order of steps: workers that stop, die or sleep between any two of them.

Each worker is a thread that waits before every step on the file system; hypothesis says whose turn
it is, who dies there and who sleeps until its claims have run out.
"""

import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from distill.labels import Claims, Label, LabelStore, keys_of, plan
from distill.labels import files as files_module
from distill.labels.owners import Owner

POOL = [f"/v/{at}" for at in range(6)]
SIZE = 2
_STEPS = ("open", "write", "link", "unlink", "utime", "listdir")


class Killed(BaseException):
    """SIGKILL: nothing that the worker does after it reaches the disk."""


class Worker(threading.Thread):
    """One process, as far as the protocol can tell."""

    def __init__(self, folder: Path, videos: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.paths = folder, POOL[:videos]
        self.go, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        self.killed = self.ended = self.slept = False
        self.owner = ""
        self.holding: str | None = None
        self.labelled: list[str] = []
        self.error: BaseException | None = None

    def gate(self) -> None:
        if threading.current_thread() is not self:  # the last start, which runs alone
            return
        if self.killed:
            raise Killed
        self.paused.release()
        self.go.acquire()
        if self.killed:
            raise Killed

    def step(self) -> None:
        """Let it go to its next step, or to its end."""
        if not self.ended:
            self.go.release()
            self.paused.acquire()

    def run(self) -> None:
        try:
            self.gate()
            self.work()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.holding, self.ended = None, True
        self.paused.release()

    def work(self) -> None:
        store = LabelStore(self.folder)
        claims = Claims(self.folder, plan(keys_of(self.paths), store.index(), SIZE))
        self.owner = claims._owner.id
        with claims:
            while (chunk := claims.claim_next()) is not None:
                self.holding = chunk.id
                labels = [Label("", self.paths[at], score=float(at)) for at in chunk.todo]
                self.labelled += [label.path for label in labels]
                self.gate()  # the time that scoring takes
                claims.commit(chunk, labels)
                self.holding = None


def gated() -> SimpleNamespace:
    """``os`` whose steps wait for their turn; nothing is flushed, as nothing loses power here."""

    def wrap(name: str) -> Any:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            worker = threading.current_thread()
            if isinstance(worker, Worker):
                worker.gate()
            return real(*args, **kwargs)

        return call

    own = {name: wrap(name) for name in _STEPS}
    return SimpleNamespace(**{**vars(os), **own, "fsync": lambda handle: None})


class Workers(RuleBasedStateMachine):
    """Any number of workers on one store."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory(prefix="distill-store-")
        self.folder = Path(self.place.name) / "store"
        LabelStore.open(self.folder, {"teacher": "t", "views": {}})
        self.workers: list[Worker] = []
        self.largest = 0
        ids = itertools.count(1)
        self.patches = [
            mock.patch.object(files_module, "os", gated()),
            mock.patch.object(Owner, "is_dead", lambda owner: owner.id in self.dead()),
            # In place of random ones, so that a failure can be played again.
            mock.patch.object(Owner, "here", lambda: Owner(f"{next(ids):032x}", "h", "m", 1, "")),
        ]
        for patch in self.patches:
            patch.start()

    def dead(self) -> set[str]:
        return {w.owner for w in self.workers if w.killed or w.ended}

    def living(self) -> list[Worker]:
        return [w for w in self.workers if not w.ended]

    @precondition(lambda self: len(self.living()) < 4)
    @rule(videos=st.integers(3, len(POOL)))
    def start(self, videos: int) -> None:
        worker = Worker(self.folder, videos)
        self.workers.append(worker)
        self.largest = max(self.largest, videos)
        worker.start()
        worker.paused.acquire()

    @precondition(lambda self: self.living())
    @rule(data=st.data(), steps=st.integers(1, 12))
    def step(self, data: st.DataObject, steps: int) -> None:
        worker = data.draw(st.sampled_from(range(len(self.living()))), label="whose turn")
        chosen = self.living()[worker]
        for _ in range(steps):
            chosen.step()

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        chosen = self.living()[data.draw(st.sampled_from(range(len(self.living()))))]
        chosen.killed = True
        chosen.step()
        chosen.join()

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def sleep(self, data: st.DataObject) -> None:
        """Its machine is suspended for longer than a lease."""
        chosen = self.living()[data.draw(st.sampled_from(range(len(self.living()))))]
        file = self.folder / "claims" / f"{chosen.owner}.owner"
        if chosen.owner and file.exists():
            chosen.slept = True
            os.utime(file, (0, 0))

    @invariant()
    def nobody_failed(self) -> None:
        assert [worker.error for worker in self.workers if worker.error] == []

    @invariant()
    def a_chunk_has_one_living_holder(self) -> None:
        if not any(worker.slept for worker in self.workers):
            held = [worker.holding for worker in self.living() if worker.holding]
            assert len(held) == len(set(held))

    @invariant()
    def what_is_committed_can_be_read(self) -> None:
        read = [label.path for label in LabelStore(self.folder).read()]
        assert len(read) == len(set(read))
        assert set(read) <= {path for worker in self.workers for path in worker.labelled}

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            for worker in self.living():
                worker.killed = True
                worker.step()
            for patch in self.patches:
                patch.stop()
            self.place.cleanup()

    def _end(self) -> None:
        """Everybody runs to the end, and one more start finishes the pool."""
        for worker in _turns(self):
            worker.step()
        self.nobody_failed()
        if not self.largest:
            return
        calm = not any(worker.slept or worker.killed for worker in self.workers)
        if calm and len({len(worker.paths) for worker in self.workers}) == 1:
            done = [path for worker in self.workers for path in worker.labelled]
            assert len(done) == len(set(done)), "a video was labelled twice for nothing"
        for path in self.folder.rglob(".*.tmp"):  # of those whose names nobody knows: in time
            os.utime(path, (0, 0))
        last = Worker(self.folder, self.largest)
        last.work()  # in this thread, which waits for nobody
        found = [(x.path, x.score, x.status) for x in LabelStore(self.folder).read()]
        assert found == [(path, float(at), "ok") for at, path in enumerate(POOL[: self.largest])]
        left = [p.name for p in self.folder.rglob("*") if p.is_file() and ".parquet" not in p.name]
        assert left == ["meta.json"], "something of the dead is left"
        assert not list(self.folder.rglob(".*"))


def _turns(machine: Workers) -> Iterator[Worker]:
    for _ in range(10_000):
        living = machine.living()
        if not living:
            return
        yield from living
    raise AssertionError("the workers never end")


TestWorkers = Workers.TestCase
# Without Phase.shrink, which takes minutes; add it to understand a failure.
TestWorkers.settings = settings(max_examples=50, stateful_step_count=40, phases=(Phase.generate,))
