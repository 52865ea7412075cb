"""`dashboard.py`: what it sends to a server that keeps a list, and what it says without one."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from distill.config import PseudoLabelConfig, TrainTeacherConfig
from distill.data.rows import Row
from distill.errors import TrackingError
from distill.options import TrackingConfig
from distill.stages.dashboard import run
from distill.tracking import Tracker, workspace
from distill.tracking.cards import Card, dataset_card
from distill.tracking.lineage import read_note
from distill.tracking.sync import offline_runs
from tests.helpers.wandb_runs import read_file
from tests.helpers.wandb_server import KEY, StandIn, wandb_server

MODEL = Card("model", "teacher-1", {"fingerprint": "1"})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with wandb_server() as stand_in:
        monkeypatch.setenv("WANDB_BASE_URL", stand_in.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        monkeypatch.delenv("WANDB_MODE", raising=False)
        wandb.teardown()  # it would go on with the server that an earlier test named, or W&B's own
        yield stand_in
        wandb.teardown()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a key."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))


def lineage(outputs: Path) -> list[Path]:
    """A teacher that was resumed, and what labelled with it, nested as sweeps and rounds are."""
    settings = TrackingConfig(mode="offline")
    teacher, labels = outputs / "train_teacher" / "z, = odd", outputs / "a" / "round_2" / "labels"
    for folder in (teacher, labels):
        folder.mkdir(parents=True)
    trains = TrainTeacherConfig(tracking=settings)
    tracker = Tracker(settings, teacher, "train_teacher", trains)
    tracker.uses(dataset_card([Row("v.mp4", Path("v.mp4"), 3.0, split="train")], "kvq"))
    tracker.close()
    time.sleep(1.1)  # W&B's folders tell the second of a start
    tracker = Tracker(settings, teacher, "train_teacher", trains, resumed=True)
    tracker.makes(MODEL)
    tracker.close()
    time.sleep(1.1)
    config = PseudoLabelConfig(tracking=settings)
    tracker = Tracker(settings, labels, "pseudo_label", config, origins=[tracker.group])
    tracker.uses(MODEL)
    tracker.table("labels/table", [{"video": "v.mp4", "group": "", "score": 3.0}])
    tracker.close()
    for path in outputs.glob("**/wandb/offline-run-*/*.wandb"):
        read_file(path)  # waits until it is whole
    return [teacher, labels]


def test_runs_are_sent_in_order_of_their_lineage_and_once(
    server: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, labels = lineage(tmp_path)
    found = offline_runs(tmp_path)
    assert [each.pieces[0].parent.parent for each in found] == [teacher, labels]
    assert [len(each.pieces) for each in found] == [2, 1]
    assert run(["--sync", str(tmp_path), "--print"]) == 0
    assert not server.asked and capsys.readouterr().out.count("waits") == 3
    assert run(["--sync", str(tmp_path)]) == 0
    first = [asked["artifactID"] for name, asked in server.asked if name == "CommitArtifact"]
    assert first.index("id of teacher-1") < len(first) - 1  # made, then named again by its user
    uses = {(asked["artifactID"], asked["runName"]) for asked in server.of("UseArtifact")}
    (data,) = (artifact for artifact, _ in uses if "dataset" in artifact)
    ids = [each.run_id for each in found]
    assert uses == {(data, ids[0]), ("id of teacher-1", ids[1])}
    made = [each for each in server.of("CreateArtifact") if each["artifactTypeName"] == "model"]
    # The one that takes it in does not say that it made it, also where it is sent first.
    assert [each["runName"] for each in made] == [ids[0], None]
    assert made[0]["digest"] == made[1]["digest"]
    assert all(each["enableDigestDeduplication"] for each in made)
    assert MODEL.text.encode() in server.uploaded
    assert len({each["groupName"] for each in server.of("UpsertBucket") if each["groupName"]}) == 1
    asked = len(server.asked)
    assert run(["--sync", str(tmp_path)]) == 0
    assert len(server.asked) == asked and "sent before" in capsys.readouterr().out


def test_a_run_that_was_not_sent_is_named(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("20260101_000001-b", "20260101_000000-a"):
        piece = tmp_path / name[-1] / "wandb" / f"offline-run-{name}"
        piece.mkdir(parents=True)
        (piece / "run.wandb").touch()
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(TrackingError, match=r"a: `wandb sync` did not .* 0 runs .* and 2 wait"):
        run(["--sync", str(tmp_path)])


def test_online_arrows_are_sent_as_they_are_offline(server: StandIn, tmp_path: Path) -> None:
    settings = TrackingConfig(mode="online")
    config = TrainTeacherConfig(tracking=settings)
    tracker = Tracker(settings, tmp_path, "train_teacher", config)
    tracker.uses(MODEL)
    tracker.makes(Card("model", "teacher-2", {"fingerprint": "2"}))
    tracker.close()
    assert [each["artifactID"] for each in server.of("UseArtifact")] == ["id of teacher-1"]
    made = {each["artifactCollectionName"]: each["runName"] for each in server.of("CreateArtifact")}
    assert made == {"teacher-1": None, "teacher-2": read_note(tmp_path)["wandb_id"]}


def test_a_run_that_moved_is_not_sent_by_halves(server: StandIn, tmp_path: Path) -> None:
    lineage(tmp_path / "there")
    (tmp_path / "there").rename(tmp_path / "here")
    with pytest.raises(TrackingError, match=r"was written to .*there.*; move it back, or `ln -s "):
        run(["--sync", str(tmp_path / "here")])
    assert not server.asked


def test_a_workspace_is_saved_as_it_is_printed(
    server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--entity", "somebody", "--project", "p"]) == 0
    assert "/somebody/p?nw=" in capsys.readouterr().out
    (saved,) = server.of("UpsertView2")
    assert (saved["entityName"], saved["projectName"]) == ("somebody", "p")
    assert saved["displayName"] == workspace.NAME
    assert run(["--entity", "somebody", "--project", "p", "--print", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["spec"]["section"]
    sections = json.loads(saved["spec"])["section"]["panelBankConfig"]["sections"]
    titles = [
        [(section["name"], len(section["panels"])) for section in each]
        for each in (sections, printed["panelBankConfig"]["sections"])
    ]
    assert titles[0] == titles[1] and len(titles[0]) == 6


def test_one_command_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--print", "--json", "--job", "train_student"]) == 0
    spec = json.loads(capsys.readouterr().out)
    filters = json.dumps(spec["spec"]["section"]["runSets"][0]["filters"])
    assert "jobType" in filters and "train_student" in filters


def test_the_list_of_panels_is_short_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--print", "--entity", "somebody"]) == 0
    lines = capsys.readouterr().out.splitlines()
    made = workspace.build("somebody", "p")
    panels = [panel for section in made.sections for panel in section.panels]
    # A heading, and for each section a gap, its name and a line for each panel.
    assert len(lines) == 1 + 2 * len(made.sections) + len(panels) < 60
    assert lines[0] == "Distill-VQA, in somebody/distill-vqa"
    assert [line for line in lines[1:] if line and line[0] != " "] == [
        section.name for section in made.sections
    ]
    words = [" ".join(line.split()) for line in lines]
    for line in (
        "SRCC over GMACs points: eval/srcc over gmacs",
        "labelled, failed bars: labels/labelled, labels/failed",
        "test: MOS and prediction scatter: test/scatter_table",
        "eval/models table: eval/models",
        "pseudo-labels pictures: plots/pseudo_labels, plots/spreads",
        "videos a second lines: labels/videos_per_second",
        "validation SRCC lines: val/srcc",
    ):
        assert line in words
    for words_ in (["--json"], ["--sync", "x", "--print", "--json"]):
        with pytest.raises(SystemExit):
            run(words_)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)  # as if it were not there
    with pytest.raises(TrackingError, match=r"needs wandb_workspaces .*'distill-vqa\[dashboard\]'"):
        run(["--entity", "somebody"])


@pytest.mark.usefixtures("alone")
def test_without_a_key_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrackingError, match=r"no W&B key .*WANDB_API_KEY.*--print") as caught:
        run(["--entity", "somebody"])
    assert caught.value.exit_code == 2
    with pytest.raises(TrackingError, match="no offline run below it"):
        run(["--sync", str(tmp_path)])
    piece = tmp_path / "run" / "wandb" / "offline-run-20260101_000000-abc"
    piece.mkdir(parents=True)
    (piece / "run-abc.wandb").touch()
    with pytest.raises(TrackingError, match=r"no W&B key .*the runs wait where they are"):
        run(["--sync", str(tmp_path)])
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1 does not answer"):
        run(["--sync", str(tmp_path)])
