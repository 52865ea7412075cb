"""Tables of videos: what is used, what is left out with a reason, what is refused."""

import math
import string
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.manifest import Row, read_manifest, write_manifest
from distill.data.pool_sources import read_pool
from distill.errors import ManifestError
from tests.helpers.tables import ODD_NAMES, refused, summary, table

# ---------------------------------------------------------------- tables that are read


def test_every_column(tmp_path: Path) -> None:
    text = (
        "video,mos,mos_std,split,group,codec\n"
        "d/a.mp4,3.5,0.25,train,sea,h264\n"
        "b.mp4, 4 ,,TEST ,park,\n"
        "\n"
        "c.mp4,,,,sea,vp9\n"
        "e.mp4,2,,pool,lake,\n"
    )
    path = table(tmp_path, text, "d/a.mp4", "b.mp4", "c.mp4", "e.mp4")
    manifest = read_manifest(path)
    assert manifest.problems == [] and manifest.path == path
    a, b, c, e = manifest.rows
    assert (a.path, a.mos, a.mos_std, a.split, a.group, a.line) == (
        tmp_path / "d/a.mp4", 3.5, 0.25, "train", "sea", 2,
    )  # fmt: skip
    assert a.extra == {"codec": "h264"}
    assert (b.mos, b.split, b.line) == (4.0, "test", 3) and math.isnan(b.mos_std)
    assert (c.split, c.line) == ("pool", 5) and math.isnan(c.mos)
    assert e.split == "pool" and math.isnan(e.mos)  # a label that nobody may use
    assert manifest.split("pool") == [c, e]


@pytest.mark.parametrize(
    ("header", "regex", "known"),
    [("video,mos", None, False), ("video,mos,Group", None, True), ("video,mos", r"(\w)\d", True)],
)
def test_a_table_says_whether_it_names_contents(
    tmp_path: Path, header: str, regex: str | None, known: bool
) -> None:
    for at in range(4):
        (tmp_path / f"a{at}.mp4").touch()
    rows = [f"a{at}.mp4,{at}" + ",x" * header.count("Group") for at in range(4)]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]))
    manifest = read_manifest(tmp_path / "t.csv", group_regex=regex)
    for derived in (manifest, manifest.as_split("train"), manifest.as_split("test")):
        assert derived.contents_known is known
    assert len({row.group for row in manifest.rows}) == (1 if known else 4)


@pytest.mark.parametrize("given", [False, True])
def test_a_manifest_says_whether_its_split_was_made_up(tmp_path: Path, given: bool) -> None:
    for at in range(7):
        (tmp_path / f"a{at}.mp4").touch()
    rows = [f"a{at}.mp4,{at}" + ",test" * given for at in range(7)]
    (tmp_path / "t.csv").write_text("\n".join(["video,mos" + ",split" * given, *rows]))
    manifest = read_manifest(tmp_path / "t.csv")
    assert manifest.split_made_up is not given
    assert not manifest.as_split("test").split_made_up
    if not given:
        assert manifest.hide_labels(1).split_made_up


def test_columns_are_found_in_any_case_and_order(tmp_path: Path) -> None:
    path = table(tmp_path, "MOS , Video,Note\n3,a.mp4,hm\n", "a.mp4")
    (row,) = read_manifest(path).rows
    assert (row.video, row.mos, row.extra) == ("a.mp4", 3.0, {"Note": "hm"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.csv", "\ufeffvideo,mos\na.mp4,3\n"),
        ("v.csv", "video,mos\r\na.mp4,3\r\n"),
        ("v.csv", "video,mos\ra.mp4,3\r"),
        ("v.csv", "video,mos\na.mp4,3"),
        ("v.csv", '"video","mos"\n"a.mp4","3"\n'),
        ("v.tsv", "video\tmos\na.mp4\t3\n"),
        ("v.TSV", "video\tmos\na.mp4\t3\n"),
    ],
)
def test_dialects(tmp_path: Path, name: str, text: str) -> None:
    assert summary(read_manifest(table(tmp_path, text, "a.mp4", name=name))) == [
        ("a.mp4", 3.0, "train")
    ]


@pytest.mark.parametrize("video", ODD_NAMES)
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_odd_file_names(tmp_path: Path, video: str, suffix: str) -> None:
    delimiter = "," if suffix == "csv" else "\t"
    quoted = '"' + video.replace('"', '""') + '"'
    path = table(
        tmp_path, f"video{delimiter}mos\n{quoted}{delimiter}3\n", video, name=f"v.{suffix}"
    )
    (row,) = read_manifest(path).rows
    assert (row.video, row.path, row.group) == (video, tmp_path / video, video)
    assert [r.video for r in read_pool(path).rows] == [video]


def test_root(tmp_path: Path) -> None:
    path = table(tmp_path, "video,mos\na.mp4,3\n", "deep/videos/a.mp4")
    (row,) = read_manifest(path, root=tmp_path / "deep/x/../videos").rows
    assert row.path == tmp_path / "deep/videos/a.mp4"
    absolute = table(tmp_path, f"video,mos\n{row.path},3\n", name="b.csv")
    assert read_manifest(absolute).rows[0].path == row.path


# ---------------------------------------------------------------- rows that are left out


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("missing.mp4,3,,train", "no such file: {folder}/missing.mp4"),
        ("d,3,,train", "a folder, no video: {folder}/d"),
        (",3,,train", "the cell `video` is empty"),
        ("b.mp4,good,,train", "mos 'good' is not a number"),
        ('b.mp4,"3,5",,train', "mos '3,5' is not a number"),
        ("b.mp4,3_0,,train", "mos '3_0' is not a number"),
        ("b.mp4,nan,,train", "mos 'nan' is not a finite number"),
        ("b.mp4,-inf,,train", "mos '-inf' is not a finite number"),
        ("b.mp4,3,x,train", "mos_std 'x' is not a number"),
        ("b.mp4,3,-1,train", "mos_std -1 is negative"),
        ("b.mp4,,,test", "a test video needs a mos; the cell is empty"),
        ("b.mp4,,,val", "a val video needs a mos; the cell is empty"),
        ("a.mp4,1,,train", "the same row as line 2; used once"),
        ("./d/../a.mp4,1,,train", "the same row as line 2; used once"),
        ("x" * 300 + ",3,,train", "no such file: {folder}/" + "x" * 300),
    ],
)
def test_a_bad_row_is_left_out_with_file_line_and_reason(
    tmp_path: Path, row: str, reason: str
) -> None:
    text = f"video,mos,mos_std,split\na.mp4,1,,train\n{row}\nc.mp4,2,,val\n"
    path = table(tmp_path, text, "a.mp4", "b.mp4", "c.mp4", "d/e.mp4")
    manifest = read_manifest(path)
    assert [r.video for r in manifest.rows] == ["a.mp4", "c.mp4"]
    (problem,) = manifest.problems
    assert (problem.file, problem.line) == (str(path), 3)
    assert problem.reason == reason.format(folder=tmp_path)
    assert str(problem) == f"{path}, line 3: {problem.video!r}: {problem.reason}"


# ---------------------------------------------------------------- tables that are refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{path}, line 1: no column `video` in []"),
        ("video,mos\n", "{path}: the table has a header and no rows"),
        ("video,mos\n\n,\n", "{path}: the table has a header and no rows"),
        ("file,mos\na.mp4,3\n", "{path}, line 1: no column `video` in ['file', 'mos']"),
        ("videos,mos\na.mp4,3\n", "['videos', 'mos']; rename column 'videos' to `video`"),
        ("video;mos\na.mp4;3\n", "'video;mos'; separate cells with commas, or with tabs"),
        ("video;mos\na.mp4;3,5\n", "line 1: one column, 'video;mos'; separate cells with commas"),
        ("video,mos,mos\na.mp4,3,4\n", "{path}, line 1: two columns are named 'mos'; rename one"),
        ("video,mos\na.mp4,3\nb,c.mp4,3\n", "{path}, line 3: 3 cells for 2 columns; put values"),
        ('video,mos\n"a.mp4,3\nb.mp4,4\n', "{path}, line 3: 1 cells for 2 columns"),
        (
            'video,mos\n"' + "x" * 140_000,
            "line 2: field larger than field limit (131072); a missing quote?",
        ),
        ("video,mos\ngone.mp4,3\n", "{path}: no usable row in 1\n  {path}, line 2: 'gone.mp4': no"),
        ("video,mos,split\na.mp4,3,trian\n", "{path}, line 2: unknown split 'trian'; did you mean"
         " 'train'?"),
        ("video,mos,split\na.mp4,3,zzz\n", "split 'zzz'; use one of train, val, test, pool"),
        (b"video,mos\n\xff.mp4,3\n", "{path}: not UTF-8 text"),
        ("video,mos\na.mp4,3\n".encode("utf-16"), "{path}: not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = table(tmp_path, text, "a.mp4", "b.mp4")
    assert message.format(path=path) in refused(path)


def test_no_table(tmp_path: Path) -> None:
    message = f"{tmp_path / 'v.csv'}: no such file; a manifest is a CSV with a column `video`"
    assert refused(tmp_path / "v.csv") == message
    assert refused(tmp_path).startswith(f"{tmp_path}: no such file")


@pytest.mark.parametrize(
    "second",
    [
        "a.mp4,4,,train,g",
        "a.mp4,3,1,train,g",
        "a.mp4,3,,test,g",
        "./a.mp4,3,,train,h",
        "a.mp4,,,,g",
    ],
)
def test_one_video_with_two_labels(tmp_path: Path, second: str) -> None:
    text = f"video,mos,mos_std,split,group\na.mp4,3,,train,g\n{second}\n"
    message = refused(table(tmp_path, text, "a.mp4"))
    assert "is listed twice with different values, line 2 (mos 3, train, group 'g')" in message
    assert "and line 3 (mos " in message and message.endswith("keep one of them")


@pytest.mark.parametrize(
    ("a", "b", "cut"),
    [
        ("3,train", "3,test", True),
        ("3,val", "3,test", True),
        (",pool", "3,test", True),
        (",pool", "3,val", True),
        (",train", "3,test", True),  # an unlabelled train video is the pool
        ("3,train", ",pool", False),
        ("3,train", "3,train", False),
    ],
)
def test_a_group_in_two_splits(tmp_path: Path, a: str, b: str, cut: bool) -> None:
    text = f"video,group,mos,split\na.mp4,sea,{a}\nb.mp4,sea,{b}\nc.mp4,park,3,train\n"
    path = table(tmp_path, text, "a.mp4", "b.mp4", "c.mp4")
    if not cut:
        assert len(read_manifest(path).rows) == 3
        return
    message = refused(path)
    assert f"{path}: group 'sea' is in more than one split: " in message
    assert "(line 2)" in message and "(line 3)" in message


# ---------------------------------------------------------------- splitting by group


def grouped(folder: Path, groups: int, name: str = "v.csv", reverse: bool = False) -> Path:
    rows = [(f"{g}_{k}.mp4", f"content {g}", str(g % 5)) for g in range(groups) for k in (0, 1)]
    lines = [",".join(row) for row in (reversed(rows) if reverse else rows)]
    return table(folder, "\n".join(["video,group,mos", *lines]), *(r[0] for r in rows), name=name)


@pytest.mark.parametrize(
    ("groups", "held_out"), [(1, 0), (2, 0), (3, 1), (4, 1), (10, 2), (20, 3), (40, 6)]
)
def test_groups_are_split_70_15_15(tmp_path: Path, groups: int, held_out: int) -> None:
    manifest = read_manifest(grouped(tmp_path, groups))
    split_of = {row.group: row.split for row in manifest.rows}
    assert all(row.split == split_of[row.group] for row in manifest.rows)
    counts = {name: list(split_of.values()).count(name) for name in ("train", "val", "test")}
    assert counts == {"train": groups - 2 * held_out, "val": held_out, "test": held_out}


def test_the_split_is_a_function_of_the_names_alone(tmp_path: Path) -> None:
    first = {r.video: r.split for r in read_manifest(grouped(tmp_path, 12)).rows}
    turned = read_manifest(grouped(tmp_path, 12, "other.csv", reverse=True)).rows
    assert {r.video: r.split for r in turned} == first
    # The same on every machine and in every version: the first two by hash are val, then test.
    groups = {f"content {g}": g for g in range(12)}

    def seed(group: str) -> int:
        return int.from_bytes(blake2b(group.encode(), digest_size=8).digest(), "little") >> 1

    ranked = sorted(groups, key=seed)
    for at, split in ((0, "val"), (2, "test")):
        held = {f"{groups[g]}_{k}.mp4" for g in ranked[at : at + 2] for k in (0, 1)}
        assert {video for video, found in first.items() if found == split} == held


def test_a_file_that_is_missing_moves_no_other_video(tmp_path: Path) -> None:
    path = grouped(tmp_path, 40)
    whole = {row.video: row.split for row in read_manifest(path).rows}
    for video in list(whole)[:41]:
        (tmp_path / video).unlink()
    manifest = read_manifest(path)
    assert {row.video: row.split for row in manifest.rows} == dict(list(whole.items())[41:])
    assert len(manifest.problems) == 41
    assert all(problem.reason.startswith("no such file") for problem in manifest.problems)


def test_unlabelled_videos_of_held_out_contents_are_left_out(tmp_path: Path) -> None:
    path = grouped(tmp_path, 6)
    extra = "".join(f"\nx{g}.mp4,content {g}," for g in range(6)) + "\nfree.mp4,elsewhere,\n"
    table(
        tmp_path,
        path.read_text() + extra,
        *(f"x{g}.mp4" for g in range(6)),
        "free.mp4",
        name="v.csv",
    )
    manifest = read_manifest(path)
    split_of = {row.group: row.split for row in manifest.rows if row.split != "pool"}
    pool = {row.group for row in manifest.split("pool")}
    assert pool == {g for g, split in split_of.items() if split == "train"} | {"elsewhere"}
    assert sorted(p.video for p in manifest.problems) == sorted(
        f"x{g.split()[1]}.mp4" for g, split in split_of.items() if split != "train"
    )
    group = next(g for g, split in split_of.items() if split == "test")
    reason = f"it has no mos, and its group {group!r} is held out for test"
    assert reason in {p.reason for p in manifest.problems}


# ---------------------------------------------------------------- hiding labels


def test_hide_labels(tmp_path: Path) -> None:
    text = "video,group,mos,split\n" + "".join(
        f"{g}{k}.mp4,{g},{k},{'test' if g == 'd' else 'train'}\n" for g in "bacd" for k in (1, 2)
    )
    path = table(tmp_path, text, *(f"{g}{k}.mp4" for g in "abcd" for k in (1, 2)))
    manifest = read_manifest(path)
    hidden = manifest.hide_labels(2)
    assert [r.video for r in hidden.split("train")] == ["b1.mp4", "b2.mp4", "a1.mp4", "a2.mp4"]
    assert [r.video for r in hidden.split("pool")] == ["c1.mp4", "c2.mp4"]
    assert all(math.isnan(r.mos) and math.isnan(r.mos_std) for r in hidden.split("pool"))
    assert hidden.split("test") == manifest.split("test")
    assert hidden.split("train") == [r for r in manifest.split("train") if r.group != "c"]
    assert manifest.hide_labels(3).rows == manifest.rows
    for keep in (0, 4, -1):
        with pytest.raises(ManifestError, match=f"labelled_groups={keep}, but the train split has"
                           " 3 contents; give a number from 1 to 3"):  # fmt: skip
            manifest.hide_labels(keep)


# ---------------------------------------------------------------- round trip

name_letters = st.characters(codec="utf-8", exclude_characters="/\\\0\x85\u2028", min_codepoint=33)
cell = st.text(name_letters, min_size=1, max_size=12).map(str.strip).filter(bool)
score = st.one_of(st.just(math.nan), st.floats(-1e6, 1e6))
sound = st.tuples(st.floats(-1e6, 1e6), score.map(abs), st.sampled_from(["train", "val", "test"]))
unlabelled = st.just((math.nan, math.nan, "pool"))


@given(st.lists(st.tuples(st.one_of(sound, unlabelled), cell, st.text(name_letters, max_size=9)),
                min_size=1, max_size=6, unique_by=lambda r: r[1]))  # fmt: skip
def test_write_and_read_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[tuple[float, float, str], str, str]],
) -> None:
    folder = tmp_path_factory.mktemp("table")
    rows = []
    for number, ((mos, std, split), group, note) in enumerate(drawn):
        video = f"{number}{ODD_NAMES[number]}"
        (folder / video).touch()
        extra = {"note": note, "Other, column": string.punctuation}
        rows.append(Row(video, folder / video, mos, std, split, f"{split} {group}", extra=extra))
    write_manifest(folder / "v.csv", rows)
    manifest = read_manifest(folder / "v.csv")
    assert manifest.problems == []

    def plain(row: Row) -> tuple[object, ...]:
        numbers = [None if math.isnan(v) else v for v in (row.mos, row.mos_std)]
        return (row.video, row.path, *numbers, row.split, row.group, row.extra)

    assert [plain(r) for r in manifest.rows] == [plain(r) for r in rows]


def test_numpy_scores_are_written_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    write_manifest(
        tmp_path / "v.csv", [Row("a.mp4", tmp_path / "a.mp4", np.float64(3.25), split="train")]
    )
    assert summary(read_manifest(tmp_path / "v.csv")) == [("a.mp4", 3.25, "train")]
