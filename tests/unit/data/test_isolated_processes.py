"""IsolatedReader among threads, workers and forks; children that are left, shared and orphaned."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.utils.data import DataLoader, Dataset

from distill.data.readers import isolated, make_reader
from distill.data.readers.isolated import IsolatedReader
from tests.helpers.isolation import LONG, gone, greys, odd_reader, pid_of
from tests.helpers.odd_reader import Odd

LINUX = sys.platform == "linux"


@pytest.fixture
def odd() -> Iterator[Odd]:
    with odd_reader() as reader:
        yield reader


def test_an_abandoned_read_stops_and_its_child_serves_the_next(
    odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "_DROP", LONG)
    child, video = pid_of(odd), tmp_path / "plain"
    video.touch()
    for taken in (1, 2, 5):
        video.write_bytes(b"")
        read = odd.read(video, range(100))
        for _ in range(taken):
            next(read)
        time.sleep(0.3)
        assert video.stat().st_size <= taken + 8  # a few ahead and no more
        read.close()  # type: ignore[attr-defined]
        decoded = video.stat().st_size
        assert greys(odd, "plain", range(5)) == list(range(5))
        assert video.stat().st_size == decoded
        assert pid_of(odd) == child


def test_an_abandoned_read_that_is_busy_costs_its_child(odd: Odd, tmp_path: Path) -> None:
    child, video = pid_of(odd), tmp_path / "hang"
    video.touch()
    read = odd.read(video, range(100))
    next(read)
    while video.stat().st_size < 4:  # until it hangs in the fourth frame
        time.sleep(0.02)
    read.close()  # type: ignore[attr-defined]
    assert not psutil.pid_exists(child)
    assert greys(odd, "plain", [5]) == [5]


def test_interleaved_reads_do_not_mix(odd: Odd) -> None:
    one, other = odd.read(Path("a"), range(0, 40, 2)), odd.read(Path("b"), range(1, 41, 2))
    got = [
        (int(a[1][0, 0, 0]), int(b[1][0, 0, 0]), odd.probe(Path("c")).num_frames)
        for a, b in zip(one, other, strict=True)
    ]
    assert got == [(i, i + 1, 100) for i in range(0, 40, 2)]
    assert len(odd._idle) == 3


def test_of_many_children_few_stay(odd: Odd) -> None:
    reads = [odd.read(Path(str(n)), range(40)) for n in range(7)]
    frames = list(zip(*reads, strict=True))
    assert [int(frame[0, 0, 0]) for _, frame in frames[-1]] == [39] * 7
    commands = [" ".join(process.cmdline()) for process in psutil.Process().children()]
    assert len(odd._idle) == sum("odd_reader" in command for command in commands) == 4
    assert greys(odd, "plain", [5]) == [5]


def test_threads_share_a_reader(odd: Odd) -> None:
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: greys(odd, "plain", range(n, 100)), range(16)))
    assert got == [list(range(n, 100)) for n in range(16)]


class _Greys(Dataset[int]):
    def __init__(self, reader: IsolatedReader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return 6

    def __getitem__(self, row: int) -> tuple[int, int]:
        (grey,) = greys(self.reader, "plain", [row])
        return grey, pid_of(self.reader)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_workers_have_children_of_their_own(odd: Odd, method: str) -> None:
    started = odd.read(Path("plain"), range(50))
    next(started)
    assert greys(odd, "plain", [5]) == [5]
    own = pid_of(odd)
    loader = DataLoader(_Greys(odd), None, num_workers=2, multiprocessing_context=method)
    got = list(loader)
    assert [grey for grey, _ in got] == list(range(6))
    children = {pid for _, pid in got}
    assert len(children) == 2 and own not in children
    assert all(gone(pid) for pid in children)
    assert [index for index, _ in started] == list(range(1, 50))  # ours was not disturbed
    assert psutil.pid_exists(own)


def test_a_read_begun_before_a_fork_is_the_parents(odd: Odd) -> None:
    read = odd.read(Path("plain"), range(50))
    next(read)

    def child(results: Any) -> None:
        try:
            for _ in read:
                pass
        except RuntimeError as error:
            results.put(str(error))

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=child, args=(results,))
    process.start()
    process.join(60)
    assert "cannot be continued in a forked process" in results.get()
    assert [index for index, _ in read] == list(range(1, 50))


def test_equal_readers_share_their_children() -> None:
    one, same = (make_reader("pyav", time_limit=100) for _ in range(2))
    assert one is same
    assert make_reader("pyav", time_limit=99) is not one


def test_it_can_be_pickled(odd: Odd) -> None:
    copy = pickle.loads(pickle.dumps(odd))
    assert (copy.name, copy.time_limit, copy._idle) == ("odd", LONG, [])
    assert greys(copy, "plain", [5]) == [5]


# ---------------------------------------------------------------- the life of a child


PARENT = """
import signal, sys, threading
from pathlib import Path
from tests.helpers.odd_reader import Odd
odd = Odd("odd", float(sys.argv[2]))
print(odd._idle[0]._process.pid, flush=True)
if sys.argv[1] == "idle":
    signal.pause()
for _ in odd.read(Path(sys.argv[1]), range(100)):
    pass
"""


@pytest.mark.parametrize("state", ["idle", "hang", "slow"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_its_parent(state: str, how: signal.Signals) -> None:
    root = Path(__file__).parents[3]
    limit = "600" if LINUX else "2"  # elsewhere the child's own timer ends it
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, state, limit], cwd=root, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.2)  # into its third frame
        assert psutil.pid_exists(child)
        parent.send_signal(how)
    assert gone(child)


def test_signals_for_the_process_group_do_not_reach_it(odd: Odd) -> None:
    assert os.getsid(pid_of(odd)) == pid_of(odd) != os.getsid(0)


def test_a_child_imports_no_torch() -> None:
    code = "import sys, distill.data.readers.serve; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_ctrl_c_in_a_read_leaves_a_reader_that_works(odd: Odd) -> None:
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        greys(odd, "hang", [3])
    timer.join()
    assert greys(odd, "plain", [5]) == [5]
