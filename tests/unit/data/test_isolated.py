"""IsolatedReader: the frames of the reader inside, and whatever native code can do to a process."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from distill.data.readers import make_reader
from distill.errors import ConfigError, VideoError
from tests.helpers.isolation import LONG, greys, odd_reader, pid_of
from tests.helpers.odd_reader import Odd
from tests.helpers.video_files import make_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")
    return lambda name: make_clip(folder, name)


@pytest.fixture
def odd() -> Iterator[Odd]:
    with odd_reader() as reader:
        yield reader


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
    reader = Odd("odd", LONG)  # it starts with the standard error of now
    assert reader.probe(Path("prints")).num_frames == 100
    out, err = capfd.readouterr()
    assert (out, err) == ("", "{} native noise\n")


# ---------------------------------------------------------------- hangs and crashes


def test_native_code_that_hangs_is_stopped_and_the_next_video_is_read(odd: Odd) -> None:
    for call in (lambda: odd.probe(Path("hang")), lambda: greys(odd, "hang", [3])):
        child = pid_of(odd)
        odd.time_limit = 1
        with pytest.raises(VideoError) as caught:
            call()
        odd.time_limit = LONG
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


def test_a_child_that_takes_no_request_is_stopped(odd: Odd) -> None:
    """A long request fills the pipe to a process that does not read."""
    child = pid_of(odd)
    os.kill(child, signal.SIGSTOP)
    odd.time_limit = 0.3
    done: list[str] = []

    def ask() -> None:
        try:
            greys(odd, "plain", range(100_000))
        except VideoError as error:
            done.append(error.reason)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LONG)
    if thread.is_alive():
        os.kill(child, signal.SIGCONT)
    assert len(done) == 1 and done[0].startswith("stopped after 0.3 s")
    odd.time_limit = LONG
    assert greys(odd, "plain", range(100)) == list(range(100))


def test_errors_of_the_reader_keep_its_name_and_cost_no_new_child(odd: Odd) -> None:
    child = pid_of(odd)
    with pytest.raises(VideoError) as caught:
        odd.probe(Path("error"))
    assert (caught.value.reader, caught.value.reason) == ("inner", "broken \udcff name")
    with pytest.raises(VideoError, match=r"^bug: odd: RuntimeError: an oversight$"):
        greys(odd, "bug", range(100))
    assert pid_of(odd) == child


def test_only_waiting_counts_and_not_what_the_caller_does(
    odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, spent = time.monotonic, 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock() + spent)
    got = []
    for index, _ in odd.read(Path("plain"), range(20)):
        spent += 2 * LONG  # by the clock; the child gets no time to be ready meanwhile
        got.append(index)
    assert got == list(range(20))


def test_a_child_that_is_killed_while_idle_is_replaced_without_a_word(odd: Odd) -> None:
    os.kill(pid_of(odd), signal.SIGKILL)
    os.waitid(os.P_PID, pid_of(odd), os.WEXITED | os.WNOWAIT)
    assert greys(odd, "plain", [5]) == [5]


def test_a_reader_that_does_not_start_is_a_wrong_option() -> None:
    with pytest.raises(ConfigError, match=r"^reader 'refuse' does not work here: as it should$"):
        Odd("refuse", LONG)
    with pytest.raises(
        ConfigError, match=r"^reader 'exit': its process failed at the start: .* 3$"
    ):
        Odd("exit", LONG)


def test_a_lent_frame_is_right_until_the_next_is_asked_for(odd: Odd) -> None:
    lent = [(index, int(frame.max())) for index, frame in odd.lend(Path("plain"), range(60))]
    assert lent == [(index, index) for index in range(60)]
    assert greys(odd, "plain", [5]) == [5]
