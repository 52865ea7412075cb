"""A version of a validation content in the pool, under another name, re-encoded: kept out, told."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from distill.data.manifest import read_manifest
from distill.labels import LabelStore
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage
from tests.helpers.video_files import X264, ffmpeg


@pytest.fixture(scope="module")
def smuggled(tmp_path_factory: pytest.TempPathFactory, demo_manifest: Path) -> Path:
    """A teacher, and a store of a pool with a val video in disguise, a copy and a remux."""
    folder = tmp_path_factory.mktemp("smuggled")
    rows = read_manifest(demo_manifest).rows
    pool = folder / "pool"
    pool.mkdir()
    for row in rows:
        if row.split == "pool":
            shutil.copy(row.path, pool / f"{row.group} {row.path.name}")
    val = next(row for row in rows if row.split == "val")
    ffmpeg("-i", val.path, "-vf", "scale=160:120", *X264, "-crf", "33", pool / "holiday.mp4")
    some = sorted(pool.glob("*.mp4"))[0]
    shutil.copy(some, pool / "zz copy.mp4")
    ffmpeg("-i", some, "-c", "copy", pool / "zz remuxed.mkv")
    where = [f"outputs={folder}", "data.num_workers=0"]
    run_stage("train_teacher", folder / "train_teacher" / "a", *TEACHER, *TRAINING, where[0])
    run_stage("pseudo_label", folder / "pseudo_label" / "a", *where, f"pool='{pool}'")
    return folder


def test_it_is_kept_out_and_told_and_copies_go(
    smuggled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = smuggled / "train_student" / "a"
    words = ["doubt.rule=sigma", "doubt.action=weigh", "doubt.sigma=1"]
    run_stage("train_student", out, *STUDENT, *TRAINING, f"outputs={smuggled}", *words)
    with (out / "pseudo_labels.csv").open(encoding="utf-8") as file:
        table = {row["video"]: row for row in csv.DictReader(file)}
    labels = LabelStore(smuggled / "pseudo_label" / "a" / "store").usable()
    assert set(table) == {label.video for label in labels}
    leak = table["holiday.mp4"]
    assert (leak["action"], leak["rule"]) == ("dropped", "leak")
    assert leak["reason"] == "it looks like a val video" and float(leak["distance"]) < 8
    assert "holiday.mp4: it looks like a val video (" in caplog.text
    assert "bits of" not in caplog.text and "of 64 bits apart" in caplog.text
    assert {video for video, row in table.items() if row["rule"] == "duplicate"} == {
        "zz copy.mp4", "zz remuxed.mkv"
    }  # fmt: skip
    kept = [row for row in table.values() if row["action"] != "dropped"]
    assert len(kept) == len(table) - 3 == 14  # no version of a pool content was lost
    assert all(0 < float(row["weight"]) <= 1 for row in kept)
    found = json.loads((out / "pseudo_labels.json").read_text())
    assert found["actions"] == {"weighed": 14, "dropped": 3}
    assert found["before"]["weight"] == 17 > found["after"]["weight"]
    spec = json.loads((out / "bundle" / "spec.json").read_text())
    assert spec["provenance"]["pseudo_labelled"] == 14
    for name in ("before_and_after", "kinds", "disputed"):
        assert (out / "plots" / f"{name}.png").stat().st_size > 5000, name


def test_without_the_look_it_gets_in(smuggled: Path, tmp_path: Path) -> None:
    words = ["leak_check=hash", "select.duplicates=bytes", "select.method=histogram"]
    words += ["select.count=16", "training.epochs=1"]
    run_stage(
        "train_student", tmp_path, *STUDENT, *TRAINING, f"outputs={smuggled}", *words
    )  # fmt: skip
    with (tmp_path / "pseudo_labels.csv").open(encoding="utf-8") as file:
        actions = {row["video"]: row["action"] for row in csv.DictReader(file)}
    assert actions["holiday.mp4"] == actions["zz remuxed.mkv"] == "kept"
    assert actions["zz copy.mp4"] == "dropped"


def test_a_resumed_run_learns_from_the_same(smuggled: Path, tmp_path: Path) -> None:
    words = [*STUDENT, *TRAINING, f"outputs={smuggled}", "doubt.rule=rank_change"]
    run_stage("train_student", tmp_path, *words)
    before = json.loads((tmp_path / "inputs.json").read_text())["videos"]
    (tmp_path / "result.json").unlink()
    run_stage("train_student", tmp_path, *words, resumed=True)
    assert json.loads((tmp_path / "inputs.json").read_text())["videos"] == before
