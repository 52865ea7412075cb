"""Tables whose columns have other names: what is there is told, and the option that names it."""

from pathlib import Path

import pytest

from distill.config import EvaluateConfig
from distill.data.manifest import read_manifest
from distill.data.misnamed import column_hint, likely, no_mos
from distill.data.pool_sources import read_pool
from distill.errors import ManifestError
from distill.options import DataConfig
from distill.scoring.inputs import gather
from distill.stages.evaluation_tables import take_tables
from distill.stages.inputs import load_manifest, training_rows
from tests.helpers.tables import refused, table

VIDEOS = "a.mp4", "b.mp4"


@pytest.mark.parametrize(
    ("header", "one", "two", "named"),
    [
        ("video,score,group", "a.mp4,3.5,1", "b.mp4,2,2", "score"),
        ("video,height,Mean Opinion", "a.mp4,720,3.5", "b.mp4,1080,2", "'\"Mean Opinion\"'"),
        ("video,codec,q", "a.mp4,h264,3.5", "b.mp4,vp9,2", "q"),
        ("video,score,height", "a.mp4,good,720", "b.mp4,poor,480", "height"),
        ("video,score,q", "a.mp4,3,1", "b.mp4,3,2", "q"),  # a score that says nothing
        ("video,q,height", "a.mp4,3,720", "b.mp4,2,480", "NAME"),
        ("video,codec", "a.mp4,h264", "b.mp4,vp9", "NAME"),
        ("video,score", "a.mp4,nan", "b.mp4,1", "NAME"),
    ],
)
def test_the_column_of_scores_is_told_where_labels_are_needed(
    tmp_path: Path, header: str, one: str, two: str, named: str
) -> None:
    path = table(tmp_path, f"{header}\n{one}\n{two}\n", *VIDEOS)
    word = f"data.columns.mos={named}"
    if named.startswith("'"):
        word = f"'data.columns.mos={named[1:]}"
    wanted = (
        f"{path}: no column `mos` in {header.split(',')}, so no video is labelled;"
        f" if another column is meant: {word}"
    )
    manifest = load_manifest(DataConfig(name="manifest", manifest=str(path)))
    assert len(manifest.split("pool")) == 2  # to label them needs no scores
    assert refused(path, lambda _: training_rows(manifest, 0.2)[0]) == wanted  # type: ignore[return-value,arg-type]
    for more in ({}, {"as_split": "test"}):
        data = DataConfig(name="manifest", manifest=str(path), **more)
        with pytest.raises(ManifestError) as caught:
            take_tables(EvaluateConfig(data=data))
        assert str(caught.value) == wanted


def test_a_table_with_labels_or_with_empty_ones_lacks_no_column(tmp_path: Path) -> None:
    assert no_mos(read_manifest(table(tmp_path, "video,mos\na.mp4,\n", *VIDEOS))) == ""
    renamed = table(tmp_path, "video,score\na.mp4,3\n", *VIDEOS)
    manifest = read_manifest(renamed, columns={"mos": "score"})
    assert no_mos(manifest) == "" and manifest.columns == ("video", "mos")


def test_commands_without_the_option_are_told_to_rename(tmp_path: Path) -> None:
    path = table(tmp_path, "video,score\na.mp4,3\nb.mp4,2\n", *VIDEOS)
    assert no_mos(read_manifest(path), option=False).endswith("; rename column 'score' to `mos`")


def test_a_split_that_needs_scores_tells_that_there_is_no_column(tmp_path: Path) -> None:
    path = table(tmp_path, "video,score,split\na.mp4,3,test\nb.mp4,2,val\n", *VIDEOS)
    told = refused(path)
    assert "'a.mp4': a test video needs a mos, and no column `mos` is there" in told


@pytest.mark.parametrize(
    ("header", "named"),
    [("Path,mos", "Path"), ("mos,file name", "file name"), ("vdeo,mos", "vdeo"), ("x,mos", "")],
)
def test_the_column_of_videos_is_told_with_what_the_command_has(
    tmp_path: Path, header: str, named: str
) -> None:
    path = table(tmp_path, f"{header}\na.mp4,3\n", *VIDEOS)
    first = f"{path}, line 1: no column `video` in {header.split(',')}"
    with pytest.raises(ManifestError) as caught:
        load_manifest(DataConfig(name="manifest", manifest=str(path)))
    word = f"data.columns.video={named or 'NAME'}"
    word = f"""'data.columns.video="{named}"'""" if " " in named else word
    assert str(caught.value) == f"{first}; if another column is meant: {word}"
    renamed = f"{first}; rename column {named!r} to `video`" if named else first
    assert refused(path, read_pool) == renamed
    with pytest.raises(ManifestError) as caught:  # score.py
        gather([str(path)], False)
    assert str(caught.value) == renamed


def test_hints_for_other_columns_go_by_letters_alone() -> None:
    assert likely("filename", ["video", "filenam"]) == "filenam"
    assert likely("filename", ["x"]) == "" and column_hint("filename", "", False) == ""
