"""Committees and published scores through the training command, and on to the label store."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import pearsonr

from distill.bundle import load_bundle
from distill.errors import ConfigError, Interrupted
from distill.labels import LabelStore
from distill.runs import unfinished
from distill.stages import score
from distill.training import QualityModule
from tests.helpers.published_member import KIND
from tests.helpers.stages import TRAINING, run_stage

_VIEW = "{kind: key_frames, num_frames: 2, size: 64, short_side: 64}"
_BARE = ["~teacher.members.frames", "~teacher.members.fragments"]
FOLDS = [
    f"+teacher.members.still={{backbone: tf_efficientnet_lite0, stages: [4], view: {_VIEW}}}",
    "+teacher.members.moved={backbone: test_efficientnet, trainable: true, weights: none,"
    f" stages: [3], view: {_VIEW}}}",
    *_BARE, "teacher.hidden=16", *TRAINING, "training.epochs=2", "folds=2",
]  # fmt: skip
OWN = [
    f"+teacher.members.light={{kind: brightness, head: own, view: {_VIEW}}}",
    *_BARE, "teacher.fusion=mean", "training=none", "data.num_workers=0",
]  # fmt: skip


def test_a_committee_killed_in_its_second_fold_goes_on_there(
    demo_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_stage("train_teacher", tmp_path / "whole", *FOLDS)
    whole = load_file(tmp_path / "whole" / "bundle" / "model.safetensors")
    assert result["steps"] == 2 * 2 + 2 * 3  # 7 and 14 videos in batches of 6, 2 epochs
    assert (tmp_path / "whole" / "plots" / "curves_fold_2.png").is_file()

    start, seen = QualityModule.on_train_batch_start, []

    def hit(self: QualityModule, batch: object, batch_idx: int) -> None:
        seen.append(self.global_step)
        if len(seen) == 6:  # the second batch of the second fold
            os.kill(os.getpid(), signal.SIGTERM)
        start(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(QualityModule, "on_train_batch_start", hit)
    out = tmp_path / "train_teacher" / "broken"
    with pytest.raises(Interrupted, match="resume=true"):
        run_stage("train_teacher", out, *FOLDS)
    assert unfinished(tmp_path, "train_teacher") == out
    assert (out / "fold_1" / "done.json").is_file()
    assert not (out / "fold_2" / "done.json").exists()
    again = run_stage("train_teacher", out, *FOLDS, resumed=True)
    assert len(seen) == result["steps"]  # none was made twice
    assert again["steps"] == result["steps"]
    broken = load_file(out / "bundle" / "model.safetensors")
    assert whole.keys() == broken.keys()
    for key, value in whole.items():
        torch.testing.assert_close(broken[key], value, rtol=1e-5, atol=1e-6)

    # Killed between two folds: the next one starts as if nothing had happened.
    monkeypatch.setattr(QualityModule, "on_train_batch_start", start)
    shutil.rmtree(out / "fold_2")
    (out / "result.json").unlink()
    run_stage("train_teacher", out, *FOLDS, resumed=True)
    between = load_file(out / "bundle" / "model.safetensors")
    for key, value in whole.items():
        torch.testing.assert_close(between[key], value, rtol=1e-5, atol=1e-6)
    # An unreadable note of a finished fold costs that fold, not the run.
    (out / "result.json").unlink()
    (out / "fold_2" / "done.json").write_text("{")
    again = run_stage("train_teacher", out, *FOLDS, resumed=True)
    assert again["steps"] == result["steps"]
    first, second = (whole[f"teachers.{k}.head.0.weight"] for k in (0, 1))
    assert not torch.allclose(first, second, atol=0.05)  # each fold has a start of its own

    labelled = run_stage("pseudo_label", tmp_path / "labels", f"teacher_bundle={out / 'bundle'}")
    label = LabelStore(Path(labelled["store"])).read()[0]
    assert set(label.members) == {"still", "moved", "fold_1", "fold_2"}
    assert label.std > 0


def test_a_published_score_is_calibrated_without_training(
    demo_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teachers.members.KINDS", KIND)
    result = run_stage("train_teacher", tmp_path / "run", *OWN)
    assert result["steps"] == 0
    assert not (tmp_path / "run" / "checkpoints").exists()
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.calibration is not None
    assert bundle.spec["licenses"] == ["brightness.pth: MIT"]
    told = bundle.spec["provenance"]
    assert (told["labelled"], told["pseudo_labelled"], told["calibrated_on"]) == (0, 0, 21)
    line = [bundle.calibrated(raw) for raw in (2.0, 3.0, 4.0)]  # 21 videos get a line
    assert line[0] < line[1] < line[2]
    assert pearsonr((2.0, 3.0, 4.0), line).statistic == pytest.approx(1)


def test_without_labels_the_bundle_says_that_it_is_not_calibrated(
    demo_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("teachers.members.KINDS", KIND)
    with caplog.at_level("WARNING"):
        run_stage("train_teacher", tmp_path / "run", *OWN, "data=none")
    assert "UNCALIBRATED" in caplog.text
    spec = json.loads((tmp_path / "run" / "bundle" / "spec.json").read_text())
    assert spec["calibration"] is None
    caplog.clear()
    words = [f"teacher_bundle={tmp_path / 'run' / 'bundle'}", "data.num_workers=0"]
    result = run_stage("pseudo_label", tmp_path / "labels", *words)
    assert "UNCALIBRATED" in caplog.text
    assert 0 < result["low"] < result["high"] < 255  # levels, as published
    assert LabelStore(Path(result["store"])).meta["calibration"] is None

    capsys.readouterr()
    videos = sorted((demo_manifest.parent / "videos").glob("*"))[:2]
    told = ["--bundle", str(tmp_path / "run" / "bundle"), "--workers", "0"]
    assert score.run([*map(str, videos), *told]) == 0
    printed = capsys.readouterr()
    assert "UNCALIBRATED" in printed.err
    assert videos[0].name in printed.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training=none"], "these would stay random: the fused head, the head of"),
        ([*OWN, "training=teacher"], "nothing to train: its members are frozen"),
        ([*OWN, "folds=2"], "folds=2: a committee has to be trained"),
        (["data=none"], "data=none: there is nothing to learn from; training=none"),
        ([*OWN, "data.also=[x.csv]"], "learns from no further table"),
        ([*FOLDS[:-1], "folds=4"], "folds=4, but the training videos have 3 contents"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str],
    message: str,
    demo_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if OWN[0] in words:
        monkeypatch.setattr("teachers.members.KINDS", KIND)
    with pytest.raises(ConfigError, match=message):
        run_stage("train_teacher", tmp_path, *words)
    assert not (tmp_path / "bundle").exists()
