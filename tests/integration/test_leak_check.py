"""A version of a validation content in the pool, under another name, re-encoded: kept out, told."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from distill.config import PseudoLabelConfig
from distill.data.manifest import read_manifest
from distill.data.readers import make_reader
from distill.labels import LabelStore
from distill.options import TrackingConfig
from distill.runs import Run
from distill.stages.label_report import report_labels
from distill.tracking import Tracker
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage
from tests.helpers.video_files import X264, ffmpeg

pytestmark = pytest.mark.slow


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
    run_stage("train_teacher", folder / "train_teacher" / "a", *TEACHER, *TRAINING, where[0],
              "training.epochs=1")  # fmt: skip
    run_stage("pseudo_label", folder / "pseudo_label" / "a", *where, f"pool='{pool}'")
    return folder


def test_it_is_kept_out_and_told_and_copies_go(
    smuggled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = smuggled / "train_student" / "a"
    words = ["doubt.rule=sigma", "doubt.action=weigh", "doubt.sigma=1", "training.epochs=1"]
    run_stage("train_student", out, *STUDENT, *TRAINING, f"outputs={smuggled}", *words)
    with (out / "pseudo_labels.csv").open(encoding="utf-8") as file:
        table = {row["video"]: row for row in csv.DictReader(file)}
    labels = LabelStore(smuggled / "pseudo_label" / "a" / "store").usable()
    assert set(table) == {label.video for label in labels}
    leak = table["holiday.mp4"]
    assert (leak["action"], leak["rule"]) == ("dropped", "leak")
    assert leak["reason"] == "it looks like a val video" and float(leak["distance"]) < 8
    assert "holiday.mp4: it looks like a val video (" in caplog.text
    assert "of 64 bits apart" in caplog.text
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


def test_what_the_teacher_is_at_odds_with_itself_about_is_shown(
    smuggled: Path, tmp_path: Path
) -> None:
    labels = LabelStore(smuggled / "pseudo_label" / "a" / "store").usable()
    config = PseudoLabelConfig(tracking=TrackingConfig(mode="off"))
    run = Run(tmp_path / "sound", config)
    tracker = Tracker(config.tracking, run.folder, "pseudo_label", config)
    report_labels(labels, run, tracker, make_reader("pyav"))
    found = json.loads((run.folder / "pseudo_labels.json").read_text())
    widest = max(labels, key=lambda label: label.std)
    assert len(found["disputed"]) == 12 and found["disputed"][0] == widest.video
    assert {row["kind"] for row in found["kinds"]} == {"size", "codec", "duration", "versions"}
    assert {path.name for path in run.plots.iterdir()} == {"disputed.png", "spreads.png"}
    without = Run(tmp_path / "one member", config)
    report_labels([replace(x, std=math.nan) for x in labels], without, tracker, make_reader("pyav"))
    assert not (without.folder / "plots").exists()


def test_without_the_look_it_gets_in(smuggled: Path, tmp_path: Path) -> None:
    words = ["leak_check=hash", "select.duplicates=bytes", "select.method=histogram"]
    words += ["select.count=16", "training.epochs=1"]
    run_stage("train_student", tmp_path, *STUDENT, *TRAINING, f"outputs={smuggled}", *words)
    with (tmp_path / "pseudo_labels.csv").open(encoding="utf-8") as file:
        actions = {row["video"]: row["action"] for row in csv.DictReader(file)}
    assert actions["holiday.mp4"] == actions["zz remuxed.mkv"] == "kept"
    assert actions["zz copy.mp4"] == "dropped"
