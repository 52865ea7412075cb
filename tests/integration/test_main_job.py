"""The whole job on the tiny demo with toy networks, and what each command leaves behind."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from distill.bundle import load_bundle
from distill.data.manifest import read_manifest
from distill.errors import BudgetError, BundleError, LabelStoreError, ManifestError, WeightsError
from distill.labels import LabelStore
from distill.stages import score
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with one run of each training command and of labelling."""
    outputs = tmp_path_factory.mktemp("outputs")
    where = f"outputs={outputs}"
    run_stage("train_teacher", outputs / "train_teacher" / "a", *TEACHER, *TRAINING, where)
    run_stage("pseudo_label", outputs / "pseudo_label" / "a", where, "data.num_workers=0")
    run_stage(
        "train_student", outputs / "train_student" / "a", *STUDENT, *TRAINING, where, "+budget=120"
    )
    return outputs


def test_every_run_says_what_it_was(runs: Path) -> None:
    for stage in ("train_teacher", "pseudo_label", "train_student"):
        run = runs / stage / "a"
        record = json.loads((run / "run.json").read_text())[0]
        assert record["command"] and record["packages"]["torch"], stage
        assert (run / "config.yaml").stat().st_size > 100, stage
        assert (run / "result.json").is_file(), stage
        assert list((run / "plots").glob("*.png")), stage
    names = {p.name for p in (runs / "train_student" / "a" / "plots").glob("*.png")}
    assert names == {
        "before_and_after.png", "curves.png", "disputed.png", "kinds.png", "targets.png",
        "test_scatter.png", "val_scatter.png", "val_worst.png",
    }  # fmt: skip


def test_losses_are_logged_by_part(runs: Path) -> None:
    with (runs / "train_teacher" / "a" / "metrics" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "plcc", "srcc", "mse", "member_frames", "member_fragments"):
        assert sum(bool(row[f"train/{name}"]) for row in rows) == 12, name  # 3 epochs of 4 batches
    assert sum(bool(row["val/srcc"]) for row in rows) == 3


def test_store_has_a_row_for_every_pool_video(runs: Path) -> None:
    manifest = read_manifest(_demo(runs))
    labels = LabelStore(runs / "pseudo_label" / "a" / "store").read()
    assert {label.path for label in labels} == {str(row.path) for row in manifest.split("pool")}
    teacher = load_bundle(runs / "train_teacher" / "a" / "bundle")
    for label in labels:
        assert label.status == "ok"
        assert label.score == pytest.approx(teacher.calibrated(label.raw))
        assert set(label.members) == {"frames", "fragments"}
        assert label.std == pytest.approx(np.std(list(label.members.values()), ddof=1))
        assert (label.codec, label.num_frames > 5, len(label.content)) == ("h264", True, 32)


def test_labelling_again_labels_nothing_twice(runs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(runs / "pseudo_label" / "a" / "store", store)
    before = {p.name: p.stat().st_mtime_ns for p in store.glob("parts/*")}
    run_stage("pseudo_label", tmp_path / "run", f"outputs={runs}", f"store={store}")
    assert {p.name: p.stat().st_mtime_ns for p in store.glob("parts/*")} == before


def test_store_of_another_teacher_is_refused(runs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(runs / "pseudo_label" / "a" / "store", store)
    meta = json.loads((store / "meta.json").read_text())
    (store / "meta.json").write_text(json.dumps(meta | {"teacher": "somebody"}))
    with pytest.raises(LabelStoreError, match=r'another teacher: teacher: was "somebody", is "'):
        run_stage("pseudo_label", tmp_path / "run", f"outputs={runs}", f"store={store}")


def test_student_bundle_tells_its_origin(runs: Path) -> None:
    bundle = load_bundle(runs / "train_student" / "a" / "bundle")
    teacher = load_bundle(runs / "train_teacher" / "a" / "bundle")
    assert bundle.role == "student"
    assert bundle.spec["provenance"]["teacher"] == teacher.fingerprint
    assert bundle.spec["provenance"]["labelled"] == 21
    assert bundle.spec["provenance"]["pseudo_labelled"] == 14
    assert bundle.spec["cost"]["budget"] == 120
    assert 0 < bundle.spec["cost"]["gmacs"] < 1
    assert not list(bundle.folder.glob("*.p*t*"))  # no pickle


def test_evaluation_equals_scipy_on_its_own_predictions(runs: Path, tmp_path: Path) -> None:
    teacher, student = (runs / f"train_{role}" / "a" / "bundle" for role in ("teacher", "student"))
    found = run_stage(
        "evaluate", tmp_path, f"outputs={runs}", f"bundles=[{student},{teacher}]", "draws=200",
        "data.num_workers=0",
    )  # fmt: skip
    assert [row["role"] for row in found["rows"]] == ["student", "teacher"]
    scores = []
    for number, row in enumerate(found["rows"], 1):
        with (tmp_path / f"predictions_{number}.csv").open() as file:
            table = list(csv.DictReader(file))
        score_, mos = (np.array([float(line[k]) for line in table]) for k in ("score", "mos"))
        assert row["srcc"] == pytest.approx(spearmanr(score_, mos)[0])
        assert row["plcc"] == pytest.approx(pearsonr(score_, mos)[0])
        assert row["rmse_raw"] == pytest.approx(np.sqrt(np.mean((score_ - mos) ** 2)))
        assert (row["n"], row["contents"]) == (14, 2)
        assert row["low"] <= row["srcc"] <= row["high"]
        assert Path(row["plot"]).is_file()
        scores.append(row["srcc"])
    assert found["pairs"][0]["difference"] == pytest.approx(scores[0] - scores[1])


def test_training_and_evaluation_agree_on_test(runs: Path, tmp_path: Path) -> None:
    found = run_stage("evaluate", tmp_path, f"outputs={runs}", "batch_size=1", "draws=200")
    told = json.loads((runs / "train_student" / "a" / "result.json").read_text())["test"]
    assert found["rows"][0]["srcc"] == pytest.approx(told["test srcc"], abs=1e-4)
    assert found["rows"][0]["plcc"] == pytest.approx(told["test plcc"], abs=1e-4)


def test_scoring_continues_past_broken_files(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "ein Ordner, mit = und 'ü'"
    videos.mkdir()
    good = read_manifest(_demo(runs)).split("test")[:3]
    for at, row in enumerate(good):
        shutil.copy(row.path, videos / f"clip {at}, a=b.mp4")
    (videos / "broken.mp4").write_bytes(b"no video at all")
    words = [str(videos), "--outputs", str(runs), "--workers", "0"]
    assert score.run([*words, "--json", str(tmp_path / "o.json"), "--csv", "-"]) == score.FAILED
    records = {Path(r["video"]).name: r for r in json.loads((tmp_path / "o.json").read_text())}
    assert len(records) == 4
    assert records["broken.mp4"]["score"] is None and records["broken.mp4"]["error"]
    out = capsys.readouterr()
    assert "1 of 4 videos could not be scored" in out.err
    bundle = load_bundle(runs / "train_student" / "a" / "bundle")
    alone = score.run([str(videos / "clip 1, a=b.mp4"), *words[1:], "--batch-size", "1"])
    assert alone == 0
    table = capsys.readouterr().out
    assert f"{records['clip 1, a=b.mp4']['score']:5.2f}" in table
    assert "demo data only" in table
    assert bundle.fingerprint == records["clip 1, a=b.mp4"]["model"]


def test_scores_depend_on_no_batch_size_worker_or_name(runs: Path, tmp_path: Path) -> None:
    from distill.data.readers import make_reader
    from distill.inference import score_rows

    bundle = load_bundle(runs / "train_teacher" / "a" / "bundle")
    rows = read_manifest(_demo(runs)).split("test")[:5]
    renamed = []
    for at, row in enumerate(rows):
        copy = tmp_path / f"{at}.mp4"
        shutil.copy(row.path, copy)
        renamed.append(type(row)(copy.name, copy))
    reader = make_reader("auto")
    one = [s.raw for s in score_rows(bundle.model, rows, reader, batch_size=1)]
    four = [s.raw for s in score_rows(bundle.model, rows, reader, batch_size=4)]
    workers = [s.raw for s in score_rows(bundle.model, rows, reader, batch_size=1, num_workers=2)]
    other = [s.raw for s in score_rows(bundle.model, renamed, reader, batch_size=1)]
    np.testing.assert_allclose(four, one, rtol=0, atol=1e-5)
    assert workers == one
    assert other == one


def test_broken_videos_are_rows_with_a_reason_and_never_a_crash(runs: Path, tmp_path: Path) -> None:
    rows = read_manifest(_demo(runs)).rows
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 2000)
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "mos", "split", "group"])
        for row in rows:
            mos = "" if row.split == "pool" else row.mos
            writer.writerow([row.path, mos, row.split, row.group])
        for split in ("train", "val", "test", "pool"):
            copy = tmp_path / f"broken_{split}.mp4"
            shutil.copy(broken, copy)
            writer.writerow([copy, "" if split == "pool" else 3, split, f"broken {split}"])
        writer.writerow(["gone.mp4", 3, "train", "gone"])
        writer.writerow([broken, "three", "train", "words"])
    data = ["data=manifest", f"data.manifest={table}"]
    out = tmp_path / "teacher"
    run_stage("train_teacher", out, *data, *TEACHER, *TRAINING)
    with (out / "problems.csv").open() as file:
        reasons = {Path(row["video"]).name: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"broken_train.mp4", "broken_val.mp4", "gone.mp4", "broken.mp4"}
    assert "no such file" in reasons["gone.mp4"]
    assert "'three' is not a number" in reasons["broken.mp4"]
    words = [f"teacher_bundle={out / 'bundle'}", f"store={tmp_path / 'store'}"]
    found = run_stage("pseudo_label", tmp_path / "labels", *data, *words)
    assert (found["labelled"], found["failed"]) == (14, 1)
    failed = [label for label in LabelStore(tmp_path / "store").read() if label.status != "ok"]
    assert failed[0].video.endswith("broken_pool.mp4") and failed[0].reason


def test_budget_stops_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(BudgetError, match=r"costs .* GMACs.*budget is 0\.001 GMACs"):
        run_stage("train_student", out, *STUDENT, "+budget=0.001", f"outputs={tmp_path}")
    assert not out.exists()


def test_what_is_missing_is_named(tmp_path: Path, runs: Path) -> None:
    nowhere = f"outputs={tmp_path}"
    with pytest.raises(BundleError, match=r"train_teacher\.py` first.*teacher_bundle=FOLDER"):
        run_stage("pseudo_label", tmp_path / "a", nowhere)
    with pytest.raises(LabelStoreError, match=r"pseudo_label\.py` first.*labels=none"):
        run_stage("train_student", tmp_path / "b", *STUDENT, nowhere)
    with pytest.raises(BundleError, match="not a bundle"):
        run_stage("evaluate", tmp_path / "c", f"bundles={tmp_path}")
    with pytest.raises(ManifestError, match="no such file"):
        run_stage("train_teacher", tmp_path / "d", "data=manifest", "data.manifest=/no/such.csv")
    member = "teacher.members.frames"
    frozen = [f"{member}.backbone=test_vit", f"{member}.trainable=false", f"{member}.stages=[-1]"]
    with pytest.raises(WeightsError, match="no pretrained weights for test_vit"):
        run_stage("train_teacher", tmp_path / "e", *frozen)
    with pytest.raises(WeightsError, match="test_vit is frozen and its weights are random"):
        run_stage("train_teacher", tmp_path / "f", *frozen, f"{member}.weights=none")


def test_dry_runs_train_and_write_nothing(runs: Path, tmp_path: Path) -> None:
    words = [f"outputs={runs}", "dry_run=true"]
    run_stage("train_teacher", tmp_path / "a", *TEACHER, *words)
    run_stage("pseudo_label", tmp_path / "b", *words)
    run_stage("train_student", tmp_path / "c", *STUDENT, *words, "+budget=120")
    assert list(tmp_path.iterdir()) == []


def test_damaged_bundles_are_refused(runs: Path, tmp_path: Path) -> None:
    good = runs / "train_student" / "a" / "bundle"
    for name, damage, text in (
        ("weights", lambda f: _flip(f / "model.safetensors"), "checksum differs"),
        ("class", lambda f: _edit(f, "architecture", {"_target_": "os.system"}), "not one of this"),
        ("format", lambda f: _edit(f, "format", 99), "format 99"),
        ("json", lambda f: (f / "spec.json").write_text("{"), "not readable"),
        ("gone", lambda f: (f / "model.safetensors").unlink(), "missing"),
    ):
        folder = tmp_path / name
        shutil.copytree(good, folder)
        damage(folder)
        with pytest.raises(BundleError, match=text):
            load_bundle(folder)


def test_a_damaged_student_is_an_error_and_never_the_teacher_instead(
    runs: Path, tmp_path: Path
) -> None:
    for role in ("teacher", "student"):
        bundle = tmp_path / f"train_{role}" / "a" / "bundle"
        shutil.copytree(runs / f"train_{role}" / "a" / "bundle", bundle)
    _flip(tmp_path / "train_student" / "a" / "bundle" / "model.safetensors")
    with pytest.raises(BundleError, match=r"train_student.*checksum differs"):
        run_stage("evaluate", tmp_path / "out", f"outputs={tmp_path}")


def _demo(runs: Path) -> Path:
    spec = json.loads((runs / "train_teacher" / "a" / "bundle" / "spec.json").read_text())
    return Path(spec["provenance"]["data"])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _edit(folder: Path, key: str, value: object) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {key: value}))
