"""The label store: nothing is lost, torn, mixed up or blamed on the wrong teacher."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import astuple, replace
from pathlib import Path

import filelock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import LabelStoreError
from distill.labels import META, Label, LabelStore, find_store, member_std

ROOT = Path(__file__).parents[2]
TEACHER = {"teacher": "abc123", "views": {"frames": {"kind": "key_frames", "size": 224}}}

text = st.text(st.characters(codec="utf-8"), max_size=12)
number = st.floats(allow_nan=True, allow_infinity=True)
count = st.integers(0, 2**31 - 1)
label = st.builds(
    Label,
    video=text,
    path=text,
    content=text,
    group=text,
    status=st.sampled_from(["ok", "failed"]),
    score=number,
    raw=number,
    std=number,
    members=st.dictionaries(text, number, max_size=3),
    duration=number,
    width=count,
    height=count,
    fps=number,
    num_frames=count,
    codec=text,
    seconds=number,
    reason=text,
)


def plain(row: Label) -> str:
    """Every field, letter by letter; NaN equals NaN."""
    return repr(astuple(row))


def store(folder: Path) -> LabelStore:
    return LabelStore.open(folder, TEACHER)


@given(st.lists(st.lists(label, max_size=4), max_size=3))
@settings(max_examples=40)
def test_round_trip_where_the_later_row_wins(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Label]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store(folder)
    for part in parts:
        store(folder).append(part)
    expected = {row.path: row for part in parts for row in part}
    found = LabelStore(folder).read()
    assert [plain(row) for row in found] == [plain(row) for row in expected.values()]
    assert len(LabelStore(folder).parts()) == sum(bool(part) for part in parts)


@pytest.mark.parametrize("name", ["score=1", "group=x,path=y", "_hidden", ".dot", "ü b"])
def test_the_name_of_the_folder_means_nothing(tmp_path: Path, name: str) -> None:
    rows = [Label("v", "p", group="g", score=2.5, members={"a": 1.0})]
    store(tmp_path / name / "store").append(rows)
    assert [plain(row) for row in LabelStore(tmp_path / name / "store").read()] == [plain(rows[0])]


def test_what_is_done_failed_and_usable(tmp_path: Path) -> None:
    labels = store(tmp_path)
    assert labels.read() == [] and labels.done() == set()
    labels.append([Label("a", "/a", score=3.0), Label("b", "/b", status="failed", reason="torn")])
    assert labels.done() == {"/a", "/b"}
    assert labels.done(retry_failed=True) == {"/a"}
    assert [row.video for row in labels.usable()] == ["a"]
    labels.append([Label("b", "/b", score=2.0)])
    assert labels.done(retry_failed=True) == {"/a", "/b"}
    assert {row.video: row.score for row in labels.usable()} == {"a": 3.0, "b": 2.0}
    labels.append([Label("a", "/a", status="failed", reason="gone")])
    assert [row.video for row in labels.usable()] == ["b"]


def test_later_parts_win_by_number_even_if_one_was_removed(tmp_path: Path) -> None:
    for trial in range(8):  # the rest of a part's name is random, so one order could be luck
        labels = store(tmp_path / str(trial))
        for score in (1.0, 2.0, 3.0):
            labels.append([Label("a", "/a", score=score)])
        labels.parts()[0].unlink()
        labels.append([Label("a", "/a", score=4.0)])
        assert [row.score for row in labels.read()] == [4.0]


def test_torn_files_are_never_read(tmp_path: Path) -> None:
    labels = store(tmp_path)
    labels.append([Label("a", "/a", score=3.0)])
    whole = labels.parts()[0].read_bytes()
    (tmp_path / ".part-000001-0000.parquet.tmp").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "part-copy.parquet").write_bytes(whole[:9])
    assert [row.video for row in labels.read()] == ["a"]
    labels.append([Label("b", "/b")])
    assert [path.name[:11] for path in labels.parts()] == ["part-000000", "part-000001"]
    torn = tmp_path / "part-000002-deadbeef.parquet"
    torn.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabelStoreError, match=f"^{torn}: cannot be read"):
        labels.read()


def test_a_kill_in_the_middle_of_a_part_costs_that_part_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = store(tmp_path)
    labels.append([Label("a", "/a")])

    def half(table: object, where: Path) -> None:
        Path(where).write_bytes(b"PAR1 and then")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("distill.labels.pq.write_table", half)
        with pytest.raises(KeyboardInterrupt):
            labels.append([Label("b", "/b")])
    assert [row.video for row in labels.read()] == ["a"]
    labels.append([Label("c", "/c")])
    assert [row.video for row in LabelStore(tmp_path).read()] == ["a", "c"]


def test_a_store_goes_on_with_its_own_teacher_only(tmp_path: Path) -> None:
    store(tmp_path).append([Label("a", "/a")])
    assert len(LabelStore.open(tmp_path, TEACHER | {"pool": "elsewhere"}).read()) == 1
    with pytest.raises(LabelStoreError) as caught:
        LabelStore.open(tmp_path, TEACHER | {"teacher": "xyz789"})
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: belongs to another teacher")
    assert "'abc123'" in message and "'xyz789'" in message and "store=FOLDER" in message
    with pytest.raises(LabelStoreError, match=r"its views is .*224.*this one's .*384"):
        LabelStore.open(tmp_path, {"teacher": "abc123", "views": {"frames": {"size": 384}}})


def test_meta_survives_json(tmp_path: Path) -> None:
    meta = {"teacher": "ü", "views": {"v": {"shape": (1, 2)}}}
    LabelStore.open(tmp_path, meta)
    assert LabelStore.open(tmp_path, meta).meta["views"] == {"v": {"shape": [1, 2]}}
    assert json.loads((tmp_path / META).read_text(encoding="utf-8"))["format"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a label store"),
        ("{", "not readable as JSON"),
        ("[1]", "format None, not 1"),
        ('{"format": 2}', "format 2, not 1"),
    ],
)
def test_a_folder_that_is_no_store(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / META).write_text(content)
    with pytest.raises(LabelStoreError, match=message) as caught:
        LabelStore(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("x")
    for folder in (tmp_path / "labels", tmp_path / "labels" / "deeper"):
        with pytest.raises(LabelStoreError, match=r"cannot be made a label store .*store=FOLDER"):
            store(folder)


WORK = """
import sys
from pathlib import Path
from distill.labels import Label, LabelStore
store = LabelStore.open(Path(sys.argv[1]), {"teacher": "abc123", "views": {}})
store.append([Label("begun", "/begun/" + sys.argv[2])])
print("ready", flush=True)
with store.writer_lock():
    print("locked", flush=True)
    n = 0
    while n < int(sys.argv[3]):
        store.append([Label(f"{n}-{k}", f"/{sys.argv[2]}/{n}/{k}", score=n) for k in range(20)])
        n += 1
        print(n, flush=True)
    sys.stdin.read()
"""


def worker(folder: Path, name: str, parts: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(folder), name, str(parts)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_two_processes_open_one_store_and_one_of_them_may_write(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    first = worker(folder, "first", 1)
    assert first.stdout and first.stdin
    assert [first.stdout.readline() for _ in range(3)] == ["ready\n", "locked\n", "1\n"]
    with pytest.raises(filelock.Timeout):
        LabelStore(folder).writer_lock().acquire()
    assert len(LabelStore(folder).read()) == 21  # a reader needs no lock
    second = worker(folder, "second", 1)
    out, _ = second.communicate()
    assert out == "ready\n" and second.returncode != 0
    first.stdin.close()
    assert first.wait() == 0
    with LabelStore(folder).writer_lock():
        pass


def test_a_killed_writer_leaves_a_readable_store(tmp_path: Path) -> None:
    committed = 0
    for round_ in range(3):
        process = worker(tmp_path, str(round_), 10**6)
        assert process.stdout
        told = 0
        while told < 2:
            line = process.stdout.readline()
            told = int(line) if line.strip().isdigit() else told
        time.sleep(0.002 * round_)  # so that the kill falls into different parts of the loop
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        told = max([told, *(int(n) for n in rest.split("\n")[:-1])])
        committed += 1 + 20 * told
        found = LabelStore(tmp_path).read()
        # The part that was renamed but not yet told of may be there as well.
        assert len(found) - committed in (0, 20)
        committed = len(found)
    with LabelStore(tmp_path).writer_lock():  # a kill frees the lock
        LabelStore(tmp_path).append([replace(found[0], score=9.0)])
    assert LabelStore(tmp_path).read()[0].score == 9.0


def test_find_store_takes_the_newest_with_labels(tmp_path: Path) -> None:
    assert find_store(tmp_path) is None
    stores = [store(tmp_path / "pseudo_label" / name / "store") for name in ("b", "a", "c")]
    assert find_store(tmp_path) is None
    for age, labels in zip((2, 1), stores, strict=False):
        labels.append([Label("v", "p")])
        os.utime(labels.folder / META, (1000 - age, 1000 - age))
    assert find_store(tmp_path) == stores[1].folder
    store(tmp_path / "elsewhere").append([Label("v", "p")])
    assert find_store(tmp_path) == stores[1].folder


def test_spread_is_the_sample_standard_deviation() -> None:
    assert math.isnan(member_std([])) and math.isnan(member_std([3.0]))
    assert member_std([2.0, 4.0]) == pytest.approx(math.sqrt(2))
    assert member_std(iter([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1.2909944487358056)
    assert member_std([3.0, 3.0]) == 0
