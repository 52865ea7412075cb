"""Offline W&B runs hold what a dashboard needs, one lineage, and nothing that is private."""

import csv
import json
import re
from pathlib import Path

import pytest

from distill.bundle import load_bundle
from distill.labels import LabelStore
from distill.tracking import workspace
from tests.helpers.stages import STUDENT, TEACHER, TRAINING, run_stage
from tests.helpers.wandb_runs import OfflineRun, read_offline_run

STAGES = ("train_teacher", "pseudo_label", "train_student", "evaluate")
SYSTEM = ("system/gpu.0.gpu", "system/gpu.0.memoryAllocated")  # where there is a GPU


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every command once; the student alone may send frames."""
    outputs = tmp_path_factory.mktemp("tracked")
    words = [f"outputs={outputs}", "tracking=wandb", "tracking.mode=offline"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_MODE", raising=False)
        run_stage("train_teacher", outputs / "train_teacher" / "a", *TEACHER, *TRAINING, *words)
        run_stage("pseudo_label", outputs / "pseudo_label" / "a", *words)
        run_stage(
            "train_student", outputs / "train_student" / "a", *STUDENT, *TRAINING, *words,
            "+budget=120", "tracking.media=true",
        )  # fmt: skip
        run_stage("evaluate", outputs / "evaluate" / "a", "data.num_workers=0", *words)
    return outputs


@pytest.fixture(scope="module")
def found(runs: Path) -> dict[str, OfflineRun]:
    return {stage: read_offline_run(runs / stage / "a") for stage in STAGES}


def test_training_logs_parts_correlations_cost_and_plots(found: dict[str, OfflineRun]) -> None:
    run = found["train_teacher"]
    for key in ("train/loss", "train/plcc", "train/srcc", "train/mse", "train/member_frames"):
        assert run.history[key] == 12, key
    for key in ("val/srcc", "val/plcc"):
        assert run.history[key] >= 3, key
    assert {"plots/curves", "plots/val_scatter", "val/table", "val/worst"} <= run.history.keys()
    assert {"val/scatter", "val/residuals", "val/frame_scores"} <= run.charts
    assert {"teacher", "training", "data", "seed"} <= run.config


def test_summaries_have_the_same_names_in_every_command(
    runs: Path, found: dict[str, OfflineRun]
) -> None:
    cost = {"gmacs", "params_m"}
    trained = {"val/srcc", "val/plcc", "val/krcc", "val/rmse", "minutes", "data_wait", *cost}
    assert trained <= found["train_teacher"].summary
    tested = {"test/srcc", "test/plcc", "test/srcc_low", "test/srcc_high", "budget", "labels/kept"}
    assert trained | tested <= found["train_student"].summary
    labels = {"labels/labelled", "labels/failed", "labels/mean", "labels/spread"}
    assert labels | cost <= found["pseudo_label"].summary
    assert {"eval/srcc", "eval/low", "eval/high", *cost} <= found["evaluate"].summary
    result = json.loads((runs / "train_student" / "a" / "result.json").read_text())
    values = found["train_student"].values
    assert values["val/srcc"] == result["val"]["srcc"] and values["gmacs"] == result["gmacs"]
    assert values["budget"] == 120 and values["test/srcc"] == result["test"]["test srcc"]


def test_labelling_logs_the_distribution(found: dict[str, OfflineRun]) -> None:
    run = found["pseudo_label"]
    assert {"labels/score", "labels/member_spread", "labels/table"} <= run.history.keys()
    assert "labels/videos_per_second" in run.history


def test_all_runs_of_a_lineage_are_one_group(runs: Path, found: dict[str, OfflineRun]) -> None:
    (group,) = {run.group for run in found.values()}
    assert re.fullmatch(r"demo-[0-9a-f]{8}", group)
    assert [found[stage].job_type for stage in STAGES] == list(STAGES)
    for role in ("teacher", "student"):
        bundle = load_bundle(runs / f"train_{role}" / "a" / "bundle")
        assert bundle.spec["provenance"]["group"] == group
    assert LabelStore(runs / "pseudo_label" / "a" / "store").meta["group"] == group
    assert len({run.name for run in found.values()}) == 4
    assert found["train_student"].name == "student FramesStudent demo budget 120 seed 0 a"


def test_artifacts_lead_from_the_data_to_the_evaluation(
    runs: Path, found: dict[str, OfflineRun]
) -> None:
    teacher, labels, student, evaluated = (found[stage] for stage in STAGES)
    (data,) = teacher.cards(used=True)
    (taught,) = teacher.cards(used=False)
    (store,) = labels.cards(used=False)
    (light,) = student.cards(used=False)
    pool = labels.cards(used=True) - {taught}
    assert data.startswith("dataset-") and len(pool) == 1 and data not in pool
    assert labels.cards(used=True) == {taught, *pool}
    assert student.cards(used=True) == {data, store}
    assert evaluated.cards(used=True) == {data, light} and not evaluated.cards(used=False)
    fingerprint = load_bundle(runs / "train_student" / "a" / "bundle").fingerprint
    assert light == f"student-{fingerprint}"
    # What is equal on both sides is one thing for W&B.
    for name, one, other in (
        (taught, teacher, labels), (store, labels, student), (light, student, evaluated),
        (data, teacher, student), (data, teacher, evaluated),
    ):  # fmt: skip
        assert one.artifacts[name].digest == other.artifacts[name].digest, name
    splits = teacher.artifacts[data].metadata["splits"]
    assert splits["val"] == {"videos": 7, "labelled": 7, "contents": 1}
    for stage, run in found.items():
        for artifact in run.artifacts.values():
            for file in artifact.files:  # they wait in the run directory, not in the user's home
                assert file.is_file() and runs / stage / "a" in file.parents


def test_no_name_path_or_frame_is_sent_unless_the_user_says_so(
    runs: Path, found: dict[str, OfflineRun], demo_manifest: Path
) -> None:
    with demo_manifest.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    secrets = {cell for row in rows for cell in (row["video"], row["group"])}
    secrets |= {str(runs), str(demo_manifest.parent), str(Path.home())}
    for stage, run in found.items():
        (sent,) = (runs / stage / "a").glob("wandb/offline-run-*/files")
        files = [path for path in sent.glob("**/*") if path.is_file()]
        files += [file for artifact in run.artifacts.values() for file in artifact.files]
        texts = [run.sent, *(path.read_bytes() for path in files)]
        told = {secret for secret in secrets for text in texts if secret.encode() in text}
        if stage == "train_student":
            assert {row["video"] for row in rows if row["split"] == "val"} <= told
        else:
            assert not told, stage
            assert run.host == "not-sent" and "environment" not in run.kinds
            assert "output_raw" not in run.kinds  # the console, where broken videos are named
    kept = (runs / "train_teacher" / "a" / "tables" / "val_table.csv").read_text()
    assert all(row["video"] in kept for row in rows if row["split"] == "val")


def test_thumbnails_go_with_media_alone(runs: Path, found: dict[str, OfflineRun]) -> None:
    def frames(stage: str, table: str) -> list[bytes]:
        (artifact,) = (a for n, a in found[stage].artifacts.items() if f"-{table}-" in n)
        data = [file.read_bytes() for file in artifact.files]
        return [each for each in data if each.startswith(b"\x89PNG")]

    assert len(frames("train_student", "valtable")) == 7
    assert len(frames("train_student", "labelschoice")) == 14
    assert not frames("train_teacher", "valtable") and not frames("pseudo_label", "labelstable")
    for role, shown in (("teacher", False), ("student", True)):
        folder = runs / f"train_{role}" / "a"
        assert (folder / "plots" / "val_worst.png").is_file()
        assert ("plots/val_worst" in found[f"train_{role}"].history) == shown
        assert bool(list(folder.glob("wandb/**/*val_worst*"))) == shown


def test_every_panel_shows_what_some_command_logs(found: dict[str, OfflineRun]) -> None:
    logged = {key for run in found.values() for key in (*run.history, *run.summary)}
    logged |= {f"system/{key}" for run in found.values() for key in run.stats} | {*SYSTEM}
    spec = workspace.to_spec(workspace.build("somebody", "distill-vqa"))["spec"]["section"]
    sections = spec["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == [
        "Teacher", "Labelling", "Student", "Pareto", "Evaluation", "Health",
    ]  # fmt: skip
    panels = [panel for section in sections for panel in section["panels"]]
    for panel in panels:
        keys, patterns = _keys(panel)
        assert keys or patterns, panel["viewType"]
        assert keys <= logged, (panel["viewType"], keys - logged)
        for pattern in patterns:
            assert any(re.fullmatch(pattern, key) for key in logged), pattern
    validation = [pattern for panel in panels for pattern in _keys(panel)[1] if "val/" in pattern]
    for pattern in validation:  # of every fold and stage, and of no evaluation
        key = re.sub(r"^\^\(\.\*-\)\?|\$$", "", pattern)
        assert re.search(pattern, key) and re.search(pattern, f"fold_0-{key}")
        assert not re.search(pattern, f"e{key}") and not re.search(pattern, f"{key}_low")
    assert len(validation) == 3
    (run_set,) = spec["runSets"]
    assert [key["name"] for key in run_set["grouping"]] == ["group", "jobType"]
    columns = {c.removeprefix("summary:") for c in run_set["runFeed"]["columnPinned"]}
    assert {c for c in columns if not c.startswith("run:")} <= logged


def _keys(panel: dict[str, object]) -> tuple[set[str], set[str]]:
    """Keys that a panel of the specification shows, and patterns of keys."""
    text = json.dumps(panel)
    keys = set(re.findall(r'"summary:([^"]+)"', text))
    keys |= set(re.findall(r'"tableKey", "value": "([^"]+)"', text))
    config = panel["config"]
    assert isinstance(config, dict)
    keys |= {*config.get("metrics", []), *config.get("mediaKeys", [])}
    if panel["viewType"] == "Weave":
        keys |= set(
            re.findall(r'"key": \{"nodeType": "const", "type": "string", "val": "([^"]+)"', text)
        )
    return keys, {config["metricRegex"]} if config.get("metricRegex") else set()


def test_documented_keys_are_logged(found: dict[str, OfflineRun]) -> None:
    logged = {key for run in found.values() for key in (*run.history, *run.summary, *run.charts)}
    text = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]+) \|", text, flags=re.MULTILINE)
    keys = {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}
    assert len(keys) > 40
    assert {key for key in keys if "NAME" not in key} <= logged
    for key in keys - logged:
        pattern = re.escape(key).replace("NAME", ".+")
        assert any(re.fullmatch(pattern, known) for known in logged), key
