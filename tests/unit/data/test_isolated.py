"""IsolatedReader: the frames of the reader inside, and whatever native code can do to a process."""

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from torch.utils.data import DataLoader, Dataset

from distill.data.readers import make_reader
from distill.data.readers.isolated import IsolatedReader
from distill.errors import ConfigError, VideoError
from tests.helpers.odd_reader import Odd
from tests.helpers.video_files import make_clip

LINUX = sys.platform == "linux"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")
    return lambda name: make_clip(folder, name)


@pytest.fixture
def odd() -> Iterator[Odd]:
    """A reader with a second for each video, which leaves nothing behind."""
    gc.collect()
    files = psutil.Process().num_fds()
    reader = Odd("odd", 1.0)
    yield reader
    del reader._idle[:]
    gc.collect()
    commands = [" ".join(process.cmdline()) for process in psutil.Process().children()]
    assert not [command for command in commands if "odd_reader" in command or not command]
    assert psutil.Process().num_fds() <= files + 2 * any("tracker" in c for c in commands)


def pid_of(reader: IsolatedReader) -> int:
    """The child that the next call takes."""
    return reader._idle[-1]._process.pid


def greys(reader: Any, path: str | Path, indices: Any) -> list[int]:
    return [int(frame[0, 0, 0]) for _, frame in reader.read(Path(path), indices)]


def gone(pid: int, seconds: float = 20) -> bool:
    """Whether a process ends; the time is only a bound on the wait for it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


# ---------------------------------------------------------------- the same frames


@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_frames_metadata_and_errors_are_those_of_the_reader_inside(
    clip: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    bare, isolated = make_reader(name), make_reader(name, time_limit=100)
    assert isolated.name == name
    for file in ("plain.mp4", "turned90.mp4", "odd.mp4"):  # three sizes
        path = clip(file)
        assert isolated.probe(path) == bare.probe(path)
        for indices in (range(30), np.array([0, 7, 29]), []):
            want, got = list(bare.read(path, indices)), list(isolated.read(path, indices))
            assert [i for i, _ in got] == [i for i, _ in want]
            for (_, one), (_, other) in zip(want, got, strict=True):
                np.testing.assert_array_equal(one, other)
                assert other.flags.writeable and other.flags.c_contiguous
    for wrong in ([3, 1], [1, 1]):
        with pytest.raises(ValueError, match="sorted and unique"):
            list(isolated.read(path, wrong))
    for path in (tmp_path / "missing.mp4", tmp_path, clip("plain.mp4").with_name("a\0b")):
        with pytest.raises(VideoError) as want_error:
            bare.probe(path)
        with pytest.raises(VideoError) as got_error:
            isolated.probe(path)
        assert str(got_error.value) == str(want_error.value)


def test_names_that_are_no_text_and_relative_paths(
    clip: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_reader("pyav", time_limit=100)
    for name in (b"\xff\xfe.mp4", "é 中\n{}.mp4".encode()):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(clip("plain.mp4").read_bytes())
        assert reader.probe(path).num_frames == 30
    monkeypatch.chdir(tmp_path)  # after the child began elsewhere
    assert len(list(reader.read(Path(path.name), [4]))) == 1
    with pytest.raises(VideoError, match=r"^none\.mp4: pyav: no such file"):
        reader.probe(Path("none.mp4"))


def test_frames_are_fresh_and_may_change_size(odd: Odd) -> None:
    frames = [frame for _, frame in odd.read(Path("grows"), range(100))]
    assert [f.shape for f in frames] == [(4 + i, 8, 3) for i in range(100)]
    assert all((f == i).all() for i, f in enumerate(frames))  # no place was used again too early
    assert greys(odd, "plain", range(0, 100, 3)) == list(range(0, 100, 3))


def test_what_native_code_prints_is_not_in_the_way(
    odd: Odd, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = Odd("odd", 1.0)  # it starts with the standard error of now
    assert reader.probe(Path("prints")).num_frames == 100
    out, err = capfd.readouterr()
    assert (out, err) == ("", "{} native noise\n")


# ---------------------------------------------------------------- hangs and crashes


def test_native_code_that_hangs_is_stopped_and_the_next_video_is_read(odd: Odd) -> None:
    for call in (lambda: odd.probe(Path("hang")), lambda: greys(odd, "hang", [3])):
        child = pid_of(odd)
        with pytest.raises(VideoError) as caught:
            call()
        assert str(caught.value).startswith("hang: odd: stopped after 1 s of decoding; ")
        assert "reader.time_limit" in caught.value.reason
        assert not psutil.pid_exists(child)
        assert greys(odd, "plain", [5]) == [5]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("SIGSEGV", "died of SIGSEGV"),
        ("SIGABRT", "died of SIGABRT"),
        ("SIGKILL", "died of SIGKILL, perhaps for want of memory"),
        ("exit", "ended with exit code 3"),
    ],
)
def test_a_decoder_that_dies_is_named_and_the_next_video_is_read(
    odd: Odd, what: str, text: str
) -> None:
    got = []
    with pytest.raises(VideoError, match=f"^{what}: odd: its decoding process {text}"):
        for index, _ in odd.read(Path(what), range(100)):
            got.append(index)
    assert got == list(range(len(got))) and len(got) <= 3
    with pytest.raises(VideoError, match=text):
        odd.probe(Path(what))
    assert greys(odd, "plain", [0, 5]) == [0, 5]


def test_errors_of_the_reader_keep_its_name_and_cost_no_new_child(odd: Odd) -> None:
    child = pid_of(odd)
    with pytest.raises(VideoError) as caught:
        odd.probe(Path("error"))
    assert (caught.value.reader, caught.value.reason) == ("inner", "broken \udcff name")
    with pytest.raises(VideoError, match=r"^bug: odd: RuntimeError: an oversight$"):
        greys(odd, "bug", range(100))
    assert pid_of(odd) == child


def test_only_waiting_counts_and_not_what_the_caller_does(odd: Odd) -> None:
    got = []
    for index, _ in odd.read(Path("plain"), range(8)):
        time.sleep(0.2)  # 1.6 s in all, of a limit of 1 s
        got.append(index)
    assert got == list(range(8))


def test_a_child_that_is_killed_while_idle_is_replaced_without_a_word(odd: Odd) -> None:
    os.kill(pid_of(odd), signal.SIGKILL)
    os.waitid(os.P_PID, pid_of(odd), os.WEXITED | os.WNOWAIT)
    assert greys(odd, "plain", [5]) == [5]


def test_a_reader_that_does_not_start_is_a_wrong_option() -> None:
    with pytest.raises(ConfigError, match=r"^reader 'refuse' does not work here: as it should$"):
        Odd("refuse", 1.0)
    with pytest.raises(
        ConfigError, match=r"^reader 'exit': its process failed at the start: .* 3$"
    ):
        Odd("exit", 1.0)


# ---------------------------------------------------------------- several reads


def test_an_abandoned_read_stops_and_its_child_serves_the_next(odd: Odd, tmp_path: Path) -> None:
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


def test_an_abandoned_read_that_is_busy_costs_its_child(odd: Odd) -> None:
    child = pid_of(odd)
    read = odd.read(Path("slow"), range(100))
    next(read)
    time.sleep(0.3)  # into its third frame
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
    assert (copy.name, copy.time_limit, copy._idle) == ("odd", 1.0, [])
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
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        greys(odd, "hang", [3])
    timer.join()
    assert greys(odd, "plain", [5]) == [5]
