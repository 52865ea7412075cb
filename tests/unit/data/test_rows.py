"""Rows that change their split."""

import math
from pathlib import Path

import pytest

from distill.data.manifest import read_manifest
from distill.data.rows import Manifest, Row, check_groups
from distill.errors import ManifestError


def rows(*cells: tuple[str, str, str]) -> list[Row]:
    return [
        Row(video, Path(video), float("nan") if split == "pool" else 3.0, split=split, group=group)
        for video, split, group in cells
    ]


MANIFEST = Manifest(
    Path("m.csv"),
    rows(
        ("a", "train", "g1"), ("b", "val", "g2"), ("c", "test", "g3"),
        ("d", "pool", "g1"), ("e", "pool", "g4"),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ([(4.988, "99.700"), (1.0, "0"), (math.nan, "")], "vmaf"),  # one is unlabelled
        ([(4.988, "99.700"), (3.0, "99.7")], "mos"),  # people disagree with it
        ([(4.988, "99.700"), (3.0, "")], "mos"),
        ([(4.988, "99.700"), (3.0, "none")], "mos"),
        ([(3.0, None)], "mos"),
        ([(math.nan, "50")], "mos"),
    ],
)
def test_labels_that_nobody_gave(cells: list[tuple[float, str | None]], labels: str) -> None:
    table = [
        Row("a", Path("a"), mos, extra={} if vmaf is None else {"vmaf": vmaf})
        for mos, vmaf in cells
    ]
    assert Manifest(Path("m.csv"), table).labels == labels


def test_the_real_ladder_has_computed_labels(shared_dir: Path) -> None:
    assert read_manifest(shared_dir / "realladder" / "manifest.csv").labels == "vmaf"


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_whole_set_as_a_test_keeps_its_contents_out_of_the_pool(split: str) -> None:
    whole = MANIFEST.as_split(split)
    assert [row.video for row in whole.split(split)] == ["a", "b", "c"]
    assert [row.video for row in whole.split("pool")] == ["e"]
    (problem,) = whole.problems
    assert problem.video == "d" and f"'g1' is held out for {split}" in problem.reason
    check_groups(whole.path, whole.rows)


def test_a_whole_set_as_train_keeps_its_pool() -> None:
    whole = MANIFEST.as_split("train")
    assert len(whole.split("train")) == 3 and len(whole.split("pool")) == 2
    assert whole.problems == []


def test_no_label_at_all() -> None:
    with pytest.raises(ManifestError, match=r"m\.csv: data\.as_split=test, but no video has a mos"):
        Manifest(Path("m.csv"), rows(("a", "pool", "g"))).as_split("test")
