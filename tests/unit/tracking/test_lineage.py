"""Groups are inherited, cards are equal on both sides of an arrow, and names stay here."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.config import TrainStudentConfig, TrainTeacherConfig
from distill.data.rows import Row
from distill.labels import Label, LabelStore
from distill.labels.scores_csv import ScoresCsv
from distill.options import DataConfig, TrackingConfig
from distill.tracking import Tracker, resolve_mode
from distill.tracking.cards import Digest, dataset_card, labels_card, model_card
from distill.tracking.lineage import (
    choose_group,
    group_of_bundle,
    group_of_store,
    read_note,
    run_name,
)
from distill.tracking.privacy import HIDDEN, without_paths
from distill.tracking.tables import sent
from tests.helpers.wandb_runs import read_file

FINGERPRINT = "0123456789abcdef"
SPEC: dict[str, Any] = {
    "role": "teacher", "fingerprint": FINGERPRINT, "sha256": "00",
    "architecture": {"_target_": "teachers.ensemble.TeacherEnsemble", "weights": "/secret/w.pth"},
    "cost": {"gmacs": 3.0, "params_m": 6.4}, "metrics": {"val srcc": 0.7, "val plcc": math.nan},
    "provenance": {"data": "/secret/videos.csv", "run": "/secret/run", "labelled": 9},
}  # fmt: skip


def test_the_closest_origin_names_the_group_and_an_option_goes_before_it() -> None:
    assert choose_group("mine", ["a"], "kvq") == "mine"
    assert choose_group(None, [None, "a", "b"], "kvq") == "a"
    new = {choose_group(None, [None], "kvq") for _ in range(20)}
    assert len(new) == 20 and all(group.startswith("kvq-") for group in new)


def test_things_from_before_there_were_groups_have_one_all_the_same() -> None:
    named = {**SPEC, "provenance": {"group": "kvq-1"}}
    assert group_of_bundle(named) == "kvq-1"
    assert group_of_bundle(SPEC) == group_of_store({"teacher": FINGERPRINT})
    assert group_of_store({"teacher": FINGERPRINT, "group": "kvq-1"}) == "kvq-1"
    assert group_of_store({"teacher": "unknown (secret.csv)"}) is None


def test_names_of_runs_tell_them_apart() -> None:
    student = {"student": {"_target_": "students.compact.Compact"}, "budget": 2.5, "seed": 3,
               "data": {"name": "kvq"}}  # fmt: skip
    assert run_name("train_student", student, Path("o/2026")) == (
        "student Compact kvq budget 2.5 seed 3 2026"
    )
    assert run_name("evaluate", {"data": {"name": "kvq"}, "seed": 0}, Path("x")) == (
        "evaluate kvq seed 0 x"
    )


_RECORDS = st.lists(st.tuples(st.text(max_size=4), st.floats(allow_nan=False)), max_size=6)


@given(_RECORDS, st.randoms())
def test_a_digest_knows_no_order_and_every_record(records: list[Any], random: Any) -> None:
    def digest(rows: list[Any]) -> str:
        found = Digest()
        for row in rows:
            found.add(*row)
        return found.text

    mixed = random.sample(records, len(records))
    assert digest(records) == digest(mixed)
    assert digest([*records, ("more", 1.0)]) != digest(records)
    assert digest([("a", "b")]) != digest([("ab", "")])


def test_a_card_of_data_counts_and_names_nothing() -> None:
    rows = [
        Row("secret a.mp4", Path("/secret/a.mp4"), 3.5, split="train", group="secret 1"),
        Row("secret b.mp4", Path("/secret/b.mp4"), 2.5, split="train", group="secret 1"),
        Row("secret c.mp4", Path("/secret/c.mp4"), split="pool", group="secret 2"),
    ]
    card = dataset_card(rows, "kvq")
    assert "secret" not in card.text and card.content["videos"] == 3
    assert card.content["splits"]["train"] == {"videos": 2, "labelled": 2, "contents": 1}
    assert card.content["splits"]["pool"] == {"videos": 1, "labelled": 0, "contents": 1}
    assert card.text == dataset_card(rows[::-1], "kvq").text
    assert card.name != dataset_card(rows[1:], "kvq").name
    # The same table on another machine is the same data.
    moved = [Row(r.video, Path("/else") / r.path.name, r.mos, r.mos_std, r.split, r.group)
             for r in rows]  # fmt: skip
    assert dataset_card(moved, "kvq").text == card.text


def test_a_card_of_a_bundle_is_valid_json_without_paths() -> None:
    card = model_card(SPEC)
    assert "secret" not in card.text and card.name == f"teacher-{FINGERPRINT}"
    assert json.loads(card.text)["metrics"] == {"val srcc": 0.7, "val plcc": None}


def test_a_card_of_labels_follows_the_scores(tmp_path: Path) -> None:
    meta = {"teacher": FINGERPRINT, "bundle": "/secret", "id": "abc", "precision": "float32"}
    store = LabelStore.open(tmp_path / "store", meta)
    store.append([Label("a", "/secret/a", score=3.0), Label("b", "/secret/b", status="failed")])
    first = labels_card(store)
    assert first.name == "labels-abc" and first.content["labelled"] == 1
    store.append([Label("c", "/secret/c", score=2.0)])
    assert labels_card(store).name == first.name and labels_card(store).text != first.text
    table = tmp_path / "secret.csv"
    table.write_text("filename,score\na.mp4,3\nb.mp4,none\nc.mp4,nan\n")
    card = labels_card(ScoresCsv(table))
    assert card.content["labelled"] == 1 and "secret" not in card.text + card.name


def test_paths_are_left_out_of_the_options_and_nothing_else_is() -> None:
    options = {
        "data": {"name": "kvq", "manifest": "secret.csv", "root": None, "also": ["secret.csv"],
                 "columns": {"mos": "secret"}},
        "teacher": {"_target_": "teachers.ensemble.T", "members": {"a": {
            "weights": "none", "backbone": "swin_b", "table": "secret.csv"}}},
        "labels": "none", "other": "/secret", "home": "~secret", "win": "C:\\secret", "seed": 3,
        "loss": {"mse": 0.5}, "bundles": ["secret"], "by": ["secret"], "kvq": {"pairs": "secret"},
        "student": {"model": "secret"},
        "member": {"table": "secret.csv", "name": "secret", "columns": ["secret"]},
    }  # fmt: skip
    shown = without_paths(options)
    assert "secret" not in json.dumps(shown)
    assert shown["data"] == {"name": "kvq", "manifest": HIDDEN, "root": None, "also": [HIDDEN],
                             "columns": {"mos": HIDDEN}}  # fmt: skip
    assert shown["teacher"]["members"]["a"]["backbone"] == "swin_b"
    assert (shown["labels"], shown["seed"], shown["loss"]) == ("none", 3, {"mse": 0.5})


def test_rows_of_tables_are_numbers_without_names() -> None:
    rows = [
        {"video": "x", "group": "g", "mos": 1.0}, {"video": "y", "group": "h", "mos": math.nan},
        {"video": "z", "group": "g", "mos": 3.0},
    ]  # fmt: skip
    columns, cells = sent(rows, names=False)
    assert columns == ["row", "mos", "content"]
    assert cells == [[1, 1.0, 1], [2, None, 2], [3, 3.0, 1]]
    columns, cells = sent(rows, names=True)
    assert columns == ["row", "video", "group", "mos"] and cells[2] == [3, "z", "g", 3.0]


def test_a_resumed_run_goes_on_in_group_and_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    settings = TrackingConfig(mode="offline", upload_models=True)
    config = TrainTeacherConfig(tracking=settings, data=DataConfig(name="kvq"))
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.safetensors").write_bytes(b"weights")
    for resumed in (False, True):
        tracker = Tracker(settings, tmp_path, "train_teacher", config, resumed)
        tracker.progress({"val/srcc": 0.5}, 1 + resumed)
        if resumed:
            tracker.makes(model_card(SPEC), bundle)
        tracker.close()
    note = read_note(tmp_path)
    assert note["group"] == tracker.group and note["place"] == str(tmp_path)
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    parts = [read_file(path) for path in files]
    assert {part.run_id for part in parts} == {note["wandb_id"]}
    assert {part.group for part in parts} == {tracker.group}
    (weights,) = (a for part in parts for a in part.artifacts.values() if a.kind == "weights")
    assert [file.read_bytes() for file in weights.files] == [b"weights"]


def test_off_writes_nothing_but_the_group(tmp_path: Path) -> None:
    settings = TrackingConfig(mode="off", group="mine", media=True, upload_models=True)
    config = TrainStudentConfig(tracking=settings)
    tracker = Tracker(settings, tmp_path, "train_student", config, origins=["a"])
    assert tracker.group == "mine" and not tracker.active
    tracker.table("val/table", [{"video": "a", "mos": 1.0}])
    tracker.makes(model_card(SPEC), tmp_path)
    tracker.summary({"gmacs": 1.0})
    tracker.close()
    assert [path.name for path in tmp_path.iterdir()] == ["tracking.json"]
    assert read_note(tmp_path) == {"group": "mine"}


def test_mode_follows_key_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert resolve_mode("auto")[0] == "offline"
    assert resolve_mode("online")[0] == "online"
    # A key, but a server that does not answer: nothing listens on port 443 of this name.
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.invalid")
    mode, why = resolve_mode("auto")
    assert mode == "offline" and "does not answer" in why
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert resolve_mode("auto")[0] == "off"
