"""Parquet where CSV is taken; tables whose columns have other names."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.data.manifest import read_manifest, write_manifest
from distill.data.pool_sources import read_pool
from distill.errors import ConfigError, DistillError
from tests.helpers.tables import ODD_NAMES, table


def parquet(path: Path, **columns: list[Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def videos(folder: Path, *names: str) -> Path:
    table(folder, "", *names)
    return folder


def test_parquet(tmp_path: Path) -> None:
    videos(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    path = parquet(
        tmp_path / "v.parquet",
        Video=["a.mp4", "b.mp4", "c.mp4", "gone.mp4"],
        MOS=[3.5, 4.0, None, 1.0],
        mos_std=[math.nan, 0.5, None, None],
        split=["test", "train", "train", "train"],
        group=[1, 2, 3, 4],
        codec=["h264", None, "vp9", ""],
    )
    manifest = read_manifest(path)
    a, b, c = manifest.rows
    assert (a.mos, a.split, a.group, a.extra, a.line) == (3.5, "test", "1", {"codec": "h264"}, 2)
    assert math.isnan(a.mos_std) and (b.mos, b.mos_std, b.extra) == (4.0, 0.5, {"codec": ""})
    assert c.split == "pool"
    assert [p.line for p in manifest.problems] == [5]
    assert [r.video for r in read_pool(path).rows] == ["a.mp4", "b.mp4", "c.mp4"]


def test_parquet_in_a_folder_that_looks_like_a_partition(tmp_path: Path) -> None:
    folder = tmp_path / "split=val"
    videos(folder, "a.mp4")
    (row,) = read_manifest(parquet(folder / "v.parquet", video=["a.mp4"], mos=[3.0])).rows
    assert "split" not in row.extra and row.mos == 3.0


def test_what_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    path.write_text("video,mos\n")
    with pytest.raises(DistillError, match=r"v\.parquet: not a Parquet file that can be read"):
        read_manifest(path)
    with pytest.raises(DistillError, match="a header and no rows"):
        read_manifest(parquet(path, video=pa.array([], pa.string())))
    with pytest.raises(
        DistillError, match=r"no column `video` in .*rename column 'vid' to `video`"
    ):
        read_manifest(parquet(path, vid=["a"]))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    videos(tmp_path, *ODD_NAMES)
    rows = [
        f'"{name.replace(chr(34), chr(34) * 2)}",{i / 7},{"" if i % 2 else 0.5},train,g{i},x{i}'
        for i, name in enumerate(ODD_NAMES)
    ]
    text = "video,mos,mos_std,split,group,codec\n" + "\n".join(rows) + "\n"
    first = read_manifest(table(tmp_path, text)).rows
    path = tmp_path / f"again.{suffix}"
    write_manifest(path, first)
    again = read_manifest(path).rows
    assert repr([(r.video, r.mos, r.mos_std, r.group, r.extra) for r in again]) == repr(
        [(r.video, r.mos, r.mos_std, r.group, r.extra) for r in first]
    )
    if suffix == "parquet":
        raw = pq.read_table(path)
        assert raw["mos"].to_pylist() == [r.mos for r in first]
        assert raw["mos_std"].to_pylist() == [None if i % 2 else 0.5 for i in range(len(first))]


# ---------------------------------------------------------------- columns of other names


TEXT = "vid,MOS,SD,part,mos,video\n7,3.5,0.2,val,99,x\n8,4.5,0.1,train,98,y\n"


def test_columns_are_named_by_the_user(tmp_path: Path) -> None:
    path = table(tmp_path, TEXT, "clips/7.mp4", "clips/8.mp4")
    columns = {
        "video": "clips/{vid}.mp4", "mos": "MOS", "mos_std": "SD", "split": "part", "group": "vid",
    }  # fmt: skip
    a, b = read_manifest(path, columns=columns).rows
    assert (a.video, a.mos, a.mos_std, a.split, a.group) == ("clips/7.mp4", 3.5, 0.2, "val", "7")
    assert (b.mos, b.split) == (4.5, "train")
    assert a.extra == {}  # the table's own mos and video are not what the user asked for


def test_other_columns_stay(tmp_path: Path) -> None:
    path = table(tmp_path, "name,SCORE,Codec\na.mp4,3,vp9\n", "a.mp4")
    (row,) = read_manifest(path, columns={"video": "name", "mos": "SCORE"}).rows
    assert (row.video, row.mos, row.extra) == ("a.mp4", 3.0, {"Codec": "vp9"})


def test_known_columns_are_still_found_in_any_case(tmp_path: Path) -> None:
    path = table(tmp_path, "name,Mos,SPLIT\na.mp4,3,test\n", "a.mp4")
    (row,) = read_manifest(path, columns={"video": "name"}).rows
    assert (row.mos, row.split) == (3.0, "test")


def test_two_columns_that_could_be_the_mos(tmp_path: Path) -> None:
    path = table(tmp_path, "name,MOS,mos\na.mp4,3,4\n", "a.mp4")
    with pytest.raises(DistillError, match="two columns are named"):
        read_manifest(path, columns={"video": "name"})
    (row,) = read_manifest(path, columns={"video": "name", "mos": "MOS"}).rows
    assert row.mos == 3.0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"mos": "MOZ"},
            r"csv: no column 'MOZ' \(data\.columns\.mos\); did you mean 'MOS'",
        ),
        ({"video": "{vod}.mp4"}, r"no column 'vod' \(data\.columns\.video\); did you mean 'vid'"),
        ({"score": "MOS"}, r"data\.columns\.score: columns are group, mos, mos_std, split, video"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(DistillError, match=message):
        read_manifest(table(tmp_path, TEXT), columns=columns)


def test_groups_by_a_regular_expression(tmp_path: Path) -> None:
    names = ["A0023_01.mp4", "A0023_02.mp4", "B0001_01.mp4"]
    path = table(tmp_path, "video,mos\n" + "".join(f"{n},3\n" for n in names), *names)
    found = [r.group for r in read_manifest(path, group_regex=r"^([A-Z]\d+)_").rows]
    assert found == ["A0023", "A0023", "B0001"]
    assert [r.group for r in read_manifest(path, group_regex=r"[A-Z]\d+").rows] == found


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        (r"^B", r"videos\.csv, line 2: data\.group_regex='\^B' finds nothing in 'A1\.mp4'"),
        (r"(", r"data\.group_regex='\('"),
        (r"(A)(\d)", r"one group at the most"),
    ],
)
def test_groups_that_are_not_found(tmp_path: Path, regex: str, message: str) -> None:
    path = table(tmp_path, "video,mos\nA1.mp4,3\nB1.mp4,3\n", "A1.mp4", "B1.mp4")
    with pytest.raises(DistillError, match=message):
        read_manifest(path, group_regex=regex)
    with pytest.raises(ConfigError, match="give one of them"):
        read_manifest(path, columns={"group": "mos"}, group_regex="A")
