"""The label store: nothing is lost, torn, mixed up or blamed on the wrong teacher."""

import json
import math
import os
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import LabelStoreError, StoreFullError
from distill.labels import META, Chunk, Label, LabelStore, find_store, keys_of, member_std
from distill.labels.rows import SCHEMA

TEACHER = {
    "teacher": "abc123",
    "views": {"frames": {"kind": "key_frames", "size": 224}},
    "calibration": {"b1": 1.0, "b2": 5.0},
    "test_views": 1,
    "precision": "float32",
}

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


def chunk(*paths: str, round_: int = 0) -> Chunk:
    return Chunk(0, keys_of(paths).tobytes(), (), round_)


def test_keys_are_hashes_of_paths() -> None:
    keys = keys_of(["/a", "/b", "/a"])
    assert keys.dtype.itemsize == 16 and keys[0] == keys[2] != keys[1]
    assert keys[0].tobytes().hex() == "58213ce1d571d32b15ae8554b4e0a4dd"  # b2sum -l 128


@given(st.lists(st.lists(label, max_size=4, unique_by=lambda x: x.path), max_size=4))
@settings(max_examples=40)
def test_round_trip_each_video_once_and_scores_before_failures(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Label]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store(folder)
    for part in parts:
        store(folder).append(part)
    given_ = [row for part in parts for row in part]
    found = LabelStore(folder).read()
    assert [row.path for row in found] == sorted({row.path for row in given_})
    for row in found:
        rivals = [other for other in given_ if other.path == row.path]
        sound = [other for other in rivals if other.status == "ok"]
        assert plain(row) in {plain(other) for other in sound or rivals}
    streamed = pa.concat_tables([SCHEMA.empty_table(), *LabelStore(folder).tables()])
    assert sorted(streamed["path"].to_pylist()) == [row.path for row in found]
    index = LabelStore(folder).index()
    assert len(index) == len(found) == len(index.done())
    assert len(index.done(retry_failed=True)) == sum(row.status == "ok" for row in found)


def test_what_a_store_says_depends_on_no_order_of_its_parts(tmp_path: Path) -> None:
    first, second = Label("a", "/a", status="failed", reason="busy"), Label("a", "/a", score=2.0)
    for name, order in (("one", (first, second)), ("two", (second, first))):
        for row in order:
            store(tmp_path / name).append([row])
        assert [row.score for row in LabelStore(tmp_path / name).read()] == [2.0]


@pytest.mark.parametrize("name", ["score=1", "group=x,path=y", "_hidden", ".dot", "ü b"])
def test_the_name_of_the_folder_means_nothing(tmp_path: Path, name: str) -> None:
    rows = [Label("v", "p", group="g", score=2.5, members={"a": 1.0})]
    store(tmp_path / name / "store").append(rows)
    assert [plain(row) for row in LabelStore(tmp_path / name / "store").read()] == [plain(rows[0])]


def test_what_is_done_failed_and_usable(tmp_path: Path) -> None:
    labels = store(tmp_path)
    assert labels.read() == [] and len(labels.index()) == 0 and labels.usable() == []
    labels.append([Label("a", "/a", score=3.0), Label("b", "/b", status="failed", reason="torn")])
    assert labels.index().done().tolist() == keys_of(["/a", "/b"]).tolist()
    assert labels.index().done(retry_failed=True).tolist() == keys_of(["/a"]).tolist()
    assert [row.video for row in labels.usable()] == ["a"]
    labels.append([Label("b", "/b", score=2.0)])
    assert {row.video: row.score for row in labels.usable()} == {"a": 3.0, "b": 2.0}
    assert labels.index().union(keys_of(["/b", "/c"])) == 3


def test_the_latest_of_two_failures_of_a_chunk_tells_the_reason(tmp_path: Path) -> None:
    labels = store(tmp_path)
    for at in range(11):  # the tenth part sorts after the ninth
        again = Label("a", "/a", status="failed", reason=f"try {at}")
        assert labels.commit(chunk("/a", round_=at), [again])
    assert [row.reason for row in labels.read()] == ["try 10"]


def test_a_part_is_never_overwritten(tmp_path: Path) -> None:
    labels = store(tmp_path)
    assert labels.commit(chunk("/a", "/b"), [Label("a", "/a", score=1.0)])
    assert not labels.commit(chunk("/a", "/b"), [Label("a", "/a", score=2.0)])
    assert [row.score for row in labels.read()] == [1.0]
    assert len(os.listdir(tmp_path / "parts")) == 1  # no leftover of the second
    with pytest.raises(ValueError, match="has no row /c"):
        labels.commit(chunk("/a", "/b"), [Label("c", "/c")])


def test_torn_files_are_never_read(tmp_path: Path) -> None:
    labels = store(tmp_path)
    labels.append([Label("a", "/a", score=3.0)])
    (part,) = labels.parts()
    whole = part.read_bytes()
    part.with_name(f".{part.name}.0123.tmp").write_bytes(whole[: len(whole) // 2])
    part.with_name("copy.parquet").write_bytes(whole[:9])
    assert [row.video for row in labels.read()] == ["a"]
    torn = part.with_name(f"{'0' * 32}-0000.parquet")
    torn.write_bytes(whole[: len(whole) // 2])
    for read in (labels.read, labels.index):
        with pytest.raises(LabelStoreError, match=f"^{torn}: cannot be read.*labels its videos"):
            read()


def test_a_kill_in_the_middle_of_a_part_costs_that_part_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = store(tmp_path)
    labels.append([Label("a", "/a")])

    def killed(*_: object) -> None:
        raise SystemError("the process is gone here")

    for step in ("write", "fsync", "link"):
        with monkeypatch.context() as patch:
            patch.setattr(f"distill.labels.files.os.{step}", killed)
            patch.setattr("distill.labels.files.remove", lambda path: None)
            with pytest.raises(SystemError):
                labels.append([Label("b", "/b")])
        assert [row.video for row in labels.read()] == ["a"], step
    labels.append([Label("c", "/c")])
    assert [row.video for row in LabelStore(tmp_path).read()] == ["a", "c"]


def test_no_space_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = store(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("open", "write", "fsync", "link"):
        with monkeypatch.context() as patch:
            patch.setattr(f"distill.labels.files.os.{step}", full)
            with pytest.raises(
                StoreFullError, match=r"No space left.*start again with store="
            ) as e:
                labels.append([Label("b", "/b")])
        assert e.value.exit_code == 4
        assert os.listdir(tmp_path / "parts") == [], step


def test_a_file_system_without_hard_links_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("distill.labels.files.os.link", refuse)
    with pytest.raises(LabelStoreError, match=r"no hard links.*store=FOLDER"):
        store(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"teacher": "xyz789"}, 'teacher: was "abc123", is "xyz789"'),
        ({"views": {"frames": {"kind": "key_frames", "size": 384}}},
         "views.frames.size: was 224, is 384"),
        ({"views": {}}, 'views.frames: was {"kind": "key_frames", "size": 224}, is "absent"'),
        ({"calibration": {"b1": 1.0, "b2": 4.5}}, "calibration.b2: was 5.0, is 4.5"),
        ({"calibration": None}, 'calibration: was {"b1": 1.0, "b2": 5.0}, is null'),
        ({"test_views": 3, "precision": "bf16"},
         'test_views: was 1, is 3; precision: was "float32", is "bf16"'),
    ],
)  # fmt: skip
def test_another_teacher_is_refused_and_each_difference_named(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    store(tmp_path).append([Label("a", "/a")])
    assert len(LabelStore.open(tmp_path, TEACHER | {"pool": "elsewhere"}).read()) == 1
    with pytest.raises(LabelStoreError) as caught:
        LabelStore.open(tmp_path, TEACHER | change)
    whose = "belongs to another teacher" if "teacher" in change else "was begun with other settings"
    assert str(caught.value) == f"{tmp_path}: {whose}: {named}; give another store=FOLDER"


def test_meta_survives_json_and_a_second_writer(tmp_path: Path) -> None:
    meta = {"teacher": "ü", "views": {"v": {"shape": (1, 2)}}}
    first = LabelStore.open(tmp_path, meta)
    assert LabelStore.open(tmp_path, meta).meta["views"] == {"v": {"shape": [1, 2]}}
    first.expect(7)
    assert LabelStore.open(tmp_path, meta).meta["videos"] == 7
    assert json.loads((tmp_path / META).read_text(encoding="utf-8"))["format"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a label store"),
        ("{", "not readable as JSON"),
        ("[1]", "format None; this program reads 1 and 2"),
        ('{"format": 3}', "format 3; this program reads 1 and 2"),
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
        with pytest.raises(LabelStoreError, match=r"cannot be written .*store=FOLDER"):
            store(folder)


def test_a_store_of_the_first_format_is_read_and_goes_on(tmp_path: Path) -> None:
    old = {"format": 1, "teacher": "abc123", "views": TEACHER["views"], "videos": 3}
    (tmp_path / META).write_text(json.dumps(old))
    rows = {name: getattr(Label("a", "/a"), name) for name in SCHEMA.names} | {"members": []}
    for at, changes in enumerate(
        [{"status": "failed", "reason": "torn"}, {"path": "/b", "score": 2.0}, {"score": 1.0}]
    ):
        table = pa.Table.from_pylist([rows | changes], schema=SCHEMA)
        pq.write_table(table, tmp_path / f"part-00000{at}-deadbeef.parquet")
    assert [(x.path, x.score) for x in LabelStore(tmp_path).read()] == [("/a", 1.0), ("/b", 2.0)]
    assert find_store(tmp_path) is None
    labels = store(tmp_path)
    labels.append([Label("c", "/c", score=3.0)])
    assert [x.score for x in LabelStore(tmp_path).read()] == [1.0, 2.0, 3.0]
    assert LabelStore(tmp_path).meta["format"] == 2
    assert LabelStore(tmp_path).meta["precision"] == "float32"
    with pytest.raises(LabelStoreError, match="teacher: was"):
        LabelStore.open(tmp_path, TEACHER | {"teacher": "other"})


def test_find_store_takes_the_newest_with_labels(tmp_path: Path) -> None:
    assert find_store(tmp_path) is None
    stores = [store(tmp_path / "pseudo_label" / name / "store") for name in ("b", "a", "c")]
    assert find_store(tmp_path) is None
    for age, labels in zip((2, 1), stores, strict=False):
        labels.append([Label("v", "p")])
        os.utime(labels.parts()[0], (1000 - age, 1000 - age))
    assert find_store(tmp_path) == stores[1].folder
    store(tmp_path / "elsewhere").append([Label("v", "p")])
    assert find_store(tmp_path) == stores[1].folder


def test_spread_is_the_sample_standard_deviation() -> None:
    assert math.isnan(member_std([])) and math.isnan(member_std([3.0]))
    assert member_std([2.0, 4.0]) == pytest.approx(math.sqrt(2))
    assert member_std(iter([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1.2909944487358056)
    assert member_std([3.0, 3.0]) == 0


def test_reading_takes_the_memory_of_one_part(tmp_path: Path) -> None:
    labels = store(tmp_path)
    for at in range(30):
        labels.append([Label(f"{at}-{k}", f"/{at}/{k}", reason="x" * 1000) for k in range(20)])
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in labels.tables()]
    assert len(held) == 30
    assert np.max(held) < 3 * 20 * 2000  # 30 parts would be 600 kB
