"""Breakdowns by columns and by what videos are, predictions on disk, the worst cases."""

import csv
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.reader import VideoInfo
from distill.errors import ConfigError
from distill.evaluation.breakdowns import (
    DERIVED,
    MAX_VALUES,
    MIN_VIDEOS,
    _bounded,
    break_down,
    check_columns,
    class_order,
    columns_of,
)
from distill.evaluation.predictions import HEADER, worst, write_predictions
from distill.metrics import plcc, rmse, srcc
from distill.scored import Scored
from tests.helpers.told_scores import LINE


def scored(folder: Path, number: int, size: tuple[int, int] = (640, 360), **extra: str) -> Scored:
    from distill.data.rows import Row

    path = folder / f"{number}.mp4"
    path.write_bytes(bytes(1000))
    row = Row(
        path.name, path, mos=1 + number % 4, split="test", group=f"g{number // 7}", extra=extra
    )
    info = VideoInfo(60, 29.97 if number % 2 else 60.0, *size, duration=2.0)
    return Scored(row, 1.0, {"a": 1.0, "b": 2.0}, [0.5, 1.5], info)


def test_parts_equal_the_rows_taken_alone(tmp_path: Path) -> None:
    results = [scored(tmp_path, k, kind="xyz"[k % 3] if k < 81 else "rare") for k in range(84)]
    mos = [s.row.mos for s in results]
    scores = [m + float(np.sin(k)) for k, m in enumerate(mos)]
    groups = [s.row.group for s in results]
    columns = columns_of(results, ["kind"])
    rows = break_down("m", "t", columns, scores, mos, groups)
    kinds = [row for row in rows if row["column"] == "kind"]
    assert [row["value"] for row in kinds] == ["rare", "x", "y", "z"]
    own = np.array([s.row.extra["kind"] == "y" for s in results])
    x, y = np.array(scores)[own], np.array(mos)[own]
    row = kinds[2]
    assert (row["n"], row["contents"]) == (27, 12)
    assert row["srcc"] == pytest.approx(srcc(x, y)) and row["plcc"] == pytest.approx(plcc(x, y))
    assert row["rmse_raw"] == pytest.approx(rmse(x, y)) and row["warning"] == ""
    assert row["bias"] == pytest.approx(np.mean(x - y)) and row["low"] < row["srcc"] < row["high"]
    few = kinds[0]
    assert (
        few["n"] == 3 < MIN_VIDEOS
        and math.isnan(few["srcc"])
        and "fewer than 10 videos" in few["warning"]
    )
    assert few["bias"] == pytest.approx(np.mean(np.array(scores)[81:] - np.array(mos)[81:]))
    # Half of the videos have 60 frames a second; all have one size, which tells nothing.
    assert {row["column"] for row in rows} == {"kind", "fps"}
    assert [r["value"] for r in rows if r["column"] == "fps"] == ["25 to 30 fps", "50 to 60 fps"]


def test_a_constant_part_says_so(tmp_path: Path) -> None:
    results = [scored(tmp_path, k, kind="ab"[k % 2]) for k in range(40)]
    mos = [float(k % 2) for k in range(40)]
    rows = break_down(
        "m",
        "t",
        columns_of(results, ["kind"]),
        np.arange(40.0),
        mos,
        [s.row.group for s in results],
    )
    assert {row["warning"] for row in rows if row["column"] == "kind"} == {
        "the scores or the MOS are constant"
    }


EDGES = st.lists(st.floats(-1e4, 1e4).map(lambda e: float(f"{e:g}")), min_size=2, unique=True)


@given(EDGES.map(sorted), st.sampled_from(["", " fps", "p"]), st.randoms())
def test_classes_of_numbers_are_in_their_order(edges: list[float], unit: str, random) -> None:
    inside = [(a + b) / 2 for a, b in pairwise(edges)]
    numbers = [edges[0] - 1, *inside, edges[-1] + 1]
    classes = list(dict.fromkeys(_bounded(number, edges, unit) for number in numbers))
    mixed = [*classes, ""]
    random.shuffle(mixed)
    assert sorted(mixed, key=class_order) == [*classes, ""]


def test_other_values_are_in_the_order_of_their_letters() -> None:
    values = ["1 to 1", "1 to 10", "2", "9 to 9", "9 to 10", "10", "3gp", "x264 crf=13", "x265", ""]
    assert sorted({*values}, key=class_order) == values


def test_columns_of_numbers_are_cut_into_quarters(tmp_path: Path) -> None:
    results = [scored(tmp_path, k, vmaf=str(k) if k else "", level=str(k % 3)) for k in range(41)]
    found = columns_of(results, ["vmaf", "level"])
    assert found["level"] == [str(k % 3) for k in range(41)]
    assert found["vmaf"][0] == ""
    assert found["vmaf"][1] == found["vmaf"][10] == "1 to 10.75"
    assert found["vmaf"][40] == "30.25 to 40"
    sizes = [found["vmaf"].count(value) for value in dict.fromkeys(found["vmaf"][1:])]
    assert sizes == [10, 10, 10, 10]


def test_columns_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"by=procesing: .* did you mean processing\? There"):
        check_columns({"processing", "detail"}, ["procesing"])
    with pytest.raises(ConfigError, match=r"did you mean resolution\?"):
        check_columns(set(), ["resolutoin"])
    told = r"by=foo: no table has such a column; there are codec, duration, file_size, fps, orient"
    with pytest.raises(ConfigError, match=told):
        check_columns({"codec"}, ["resolution", "foo"])
    check_columns({"processing"}, ["processing", *DERIVED])
    results = [scored(tmp_path, k, who=f"name {k}") for k in range(MAX_VALUES + 1)]
    with pytest.raises(ConfigError, match=f"by=who: {MAX_VALUES + 1} different values"):
        columns_of(results, ["who"])
    assert "other" not in columns_of(results, ["other"])  # another table's


def test_a_column_of_the_table_goes_before_a_derived_one(tmp_path: Path) -> None:
    results = [scored(tmp_path, k, (360, 640), fps="slow") for k in range(3)]
    assert columns_of(results, ["fps"])["fps"] == ["slow"] * 3
    assert columns_of(results, [])["fps"] == ["50 to 60 fps", "25 to 30 fps", "50 to 60 fps"]
    assert columns_of(results, [])["orientation"] == ["portrait"] * 3
    assert columns_of(results, [])["resolution"] == ["up to 360p"] * 3


@given(st.floats(0, 1e4, allow_nan=False), st.lists(st.integers(1, 999), min_size=1, unique=True))
def test_classes_hold_their_number(number: float, edges: list[int]) -> None:
    edges.sort()
    text = _bounded(number, edges, "")
    if text.startswith("over"):
        assert number > edges[-1] == float(text.removeprefix("over "))
    elif text.startswith("up to"):
        assert number <= edges[0] == float(text.removeprefix("up to "))
    else:
        low, high = map(float, text.split(" to "))
        assert low < number <= high and {low, high} <= set(edges)


def test_predictions_have_the_promised_columns(tmp_path: Path) -> None:
    results = [scored(tmp_path, k, kind="a, b", score="mine", fps="x") for k in range(3)]
    write_predictions(tmp_path / "p.csv", results, [3.0, 2.5, 1.25], LINE)
    with (tmp_path / "p.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [*HEADER, "kind", "table_score", "table_fps"]
    row = table[2]
    assert row["video"] == "2.mp4" and row["path"] == str(tmp_path / "2.mp4")
    assert (row["score"], row["raw"], row["mos_std"]) == ("1.25", "1.0", "")
    assert float(row["spread"]) == pytest.approx(math.sqrt(0.5))
    assert row["frame_scores"] == "2 4"  # through the calibration
    assert (row["width"], row["height"], row["duration"]) == ("640", "360", "2.0")
    assert (row["kind"], row["table_score"], row["table_fps"]) == ("a, b", "mine", "x")
    write_predictions(tmp_path / "q.csv", results, [3.0, 2.5, 1.25], None)
    assert ",0.5 1.5,640" in (tmp_path / "q.csv").read_text()


def test_the_worst_come_first(tmp_path: Path) -> None:
    results = [scored(tmp_path, k) for k in range(4)]  # MOS 1 2 3 4
    rows = worst("m", "t", results, [1.5, 0.0, 3.0, 4.5], 3)
    assert [row["video"] for row in rows] == ["1.mp4", "0.mp4", "3.mp4"]
    assert rows[0] == {"name": "m", "table_name": "t", "video": "1.mp4", "mos": 2, "score": 0.0,
                       "residual": -2.0, "group": "g0"}  # fmt: skip
    assert worst("m", "t", results, [1, 2, 3, 4], 0) == []
