"""Two rounds as a user types them: processes that train and label, and a student at their end."""

import json
from pathlib import Path

import pytest

from distill.labels import LabelStore
from distill.runs import RESULT, unfinished
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage

LABELLED = ["leak_check=none", "select.duplicates=none"]


@pytest.mark.slow
def test_a_second_round_trains_labels_and_teaches(tmp_path: Path, demo_manifest: Path) -> None:
    teacher = tmp_path / "train_teacher" / "a"
    run_stage("train_teacher", teacher, *TEACHER, *TRAINING, "training.epochs=1")
    store = tmp_path / "labels"
    first = run_stage(
        "pseudo_label", store, f"teacher_bundle={teacher / 'bundle'}", "data.num_workers=0"
    )
    spec = teacher / "bundle" / "spec.json"
    told = json.loads(spec.read_text())
    told["metrics"] |= {"val srcc": -1.0, "val plcc": -1.0}  # any other teacher is better
    spec.write_text(json.dumps(told))
    out = tmp_path / "train_student" / "a"
    words = [*STUDENT, *TRAINING, "training.epochs=1", f"labels={store / 'store'}", *LABELLED]
    result = run_stage("train_student", out, *words, "rounds=2")
    assert [each["number"] for each in result["rounds"]] == [1, 2]
    again = LabelStore(out / "round_2" / "labels" / "store")
    assert len(again.read()) == first["labelled"] + first["failed"]
    assert {x.path for x in again.read()} == {x.path for x in LabelStore(store / "store").read()}
    assert again.meta["teacher"] != LabelStore(store / "store").meta["teacher"]
    assert json.loads((out / "inputs.json").read_text())["labels"] == str(again.folder)
    provenance = json.loads((out / "round_2" / "teacher" / "bundle" / "spec.json").read_text())
    assert provenance["provenance"]["pseudo_labelled"] == first["labelled"]

    # Killed while the second teacher was trained: it is the student's run that goes on.
    (out / RESULT).unlink()
    (out / "round_2" / "teacher" / RESULT).unlink()
    assert unfinished(tmp_path, "train_student") == out


def test_a_teacher_learns_from_pseudo_labels(tmp_path: Path, demo_manifest: Path) -> None:
    teacher = tmp_path / "train_teacher" / "a"
    run_stage("train_teacher", teacher, *TEACHER, *TRAINING, "training.epochs=1")
    run_stage(
        "pseudo_label", tmp_path / "labels", f"teacher_bundle={teacher / 'bundle'}",
        "data.num_workers=0",
    )  # fmt: skip
    labels = [f"labels={tmp_path / 'labels' / 'store'}", *LABELLED]
    both = tmp_path / "both"
    run_stage("train_teacher", both, *TEACHER, *TRAINING, "training.epochs=1", "folds=2", *labels)
    spec = json.loads((both / "bundle" / "spec.json").read_text())
    assert spec["provenance"]["pseudo_labelled"] == 14
    assert spec["provenance"]["labelled"] == 21
    assert (both / "plots" / "targets.png").is_file()
