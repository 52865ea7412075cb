"""Tables beside the main one, and bundles that a training starts from."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.bundle import save_bundle
from distill.config import TrainTeacherConfig
from distill.data.dataset import Example
from distill.data.manifest import Manifest, Row
from distill.data.readers import make_reader
from distill.errors import BundleError, ManifestError
from distill.optimiser import parameter_groups
from distill.options import DataConfig, TrainingConfig
from distill.stages import further
from distill.stages.further import Start, build, further_examples, tell_shares
from teachers.ensemble import TeacherEnsemble
from tests.helpers.video_files import X264, ffmpeg


def _video(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def _table(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    header = f"video,mos,mos_std,split{',group' * (lines[0].count(',') == 4)}"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def _further(
    folder: Path, *lines: str, held_out: list[Row], name: str = "also.csv",
    leak_check: str = "hash", dry_run: bool = False, **training: Any,
) -> tuple[list[Example], Manifest]:  # fmt: skip
    tables = [str(_table(folder, name, *lines))]
    config = TrainTeacherConfig(
        data=DataConfig(also=tables, num_workers=0), leak_check=leak_check, dry_run=dry_run,
        training=TrainingConfig(**{"batch_size": 8, **training}),
    )  # fmt: skip
    manifest = Manifest(folder / "main.csv", [])
    main = [Example(Row("m", folder / "m"), target) for target in (2.0, 4.0)]
    reader = make_reader("auto")
    return further_examples(config, main, held_out, manifest, reader), manifest


def test_labelled_train_rows_come_to_the_main_scale_with_their_errors(tmp_path: Path) -> None:
    for name in "abcd":
        _video(tmp_path / f"{name}.mp4", name)
    lines = "a.mp4,20,8,train", "b.mp4,60,8,train", "c.mp4,99,,test", "d.mp4,,,train"
    found, manifest = _further(tmp_path, *lines, held_out=[])
    assert [(e.row.video, e.target, e.dataset, e.weight) for e in found] == [
        ("a.mp4", 2.0, 1, 1.0),
        ("b.mp4", 4.0, 1, 1.0),
    ]
    assert manifest.problems == []
    noisy, _ = _further(tmp_path, *lines, held_out=[], label_noise=0.25)
    # Error 2 on a scale of deviation 20, so 0.1 on the main one of deviation 1.
    assert [e.error for e in noisy] == pytest.approx([0.1, 0.1])
    assert [e.weight for e in noisy] == pytest.approx([396 / 400, 396 / 400])


def test_held_out_videos_stay_out_by_path_link_and_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["val", "test", "copy", "good", "fine"]
    paths = {name: _video(tmp_path / f"{name}.mp4", f"{name:>6}") for name in names}
    shutil.copy(paths["test"], paths["copy"])
    (tmp_path / "link.mp4").symlink_to(paths["val"])
    _video(tmp_path / "longer.mp4", "longer than the others")
    held_out = [Row("v", paths["val"], 3.0, split="val"), Row("t", paths["test"], split="test")]
    read: list[str] = []
    hashed = further.content_hash
    monkeypatch.setattr(further, "content_hash", lambda p: (read.append(p.name), hashed(p))[1])
    rows = [f"{name}.mp4,{mos}" for mos, name in enumerate([*names, "link", "longer"])]
    found, manifest = _further(tmp_path, *(f"{row},,train" for row in rows), held_out=held_out)
    assert [e.row.video for e in found] == ["good.mp4", "fine.mp4", "longer.mp4"]
    assert "longer.mp4" not in read  # no video of its size is held out
    assert [problem.video for problem in manifest.problems] == [
        "val.mp4", "test.mp4", "copy.mp4", "link.mp4",
    ]  # fmt: skip
    assert "also.csv, line 4: 'copy.mp4': it is in val or test of the main table" in caplog.text


def test_versions_of_held_out_videos_stay_out_with_their_whole_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    for at, scene in enumerate(("testsrc2", "mandelbrot"), 1):
        source = ["-f", "lavfi", "-i", f"{scene}=size=320x240:rate=25", "-t", "1"]
        ffmpeg(*source, *X264, "-crf", "18", tmp_path / f"seen{at}.mp4")
        ffmpeg(*source, *X264, "-crf", "36", tmp_path / f"again{at}.mp4")
        ffmpeg(*source, "-vf", "scale=160:120", *X264, tmp_path / f"small{at}.mp4")
    held_out = [Row("held", tmp_path / "seen2.mp4", split="test")]
    lines = [f"{kind}{seed}.mp4,{mos},,train,{'xy'[seed - 1]}"
             for seed in (1, 2) for mos, kind in enumerate(("again", "small"), 2)]  # fmt: skip
    lines.append("seen1.mp4,5,,train,y")  # another scene, which the table calls the same
    found, manifest = _further(tmp_path, *lines, held_out=held_out, leak_check="perceptual")
    assert [e.row.video for e in found] == ["again1.mp4", "small1.mp4"]
    assert [problem.video for problem in manifest.problems] == [
        "again2.mp4", "small2.mp4", "seen1.mp4",
    ]  # fmt: skip
    assert "its content 'y' looks like held of the main table's test" in caplog.text
    caplog.set_level("INFO")
    for options in ({"leak_check": "hash"}, {"leak_check": "perceptual", "dry_run": True}):
        every, _ = _further(tmp_path, *lines, held_out=held_out, **options)
        assert len(every) == 5
    assert caplog.text.count("are not compared") == 1


@pytest.mark.parametrize("lines", [["a.mp4,3,,test"], ["a.mp4,3,,train", "b.mp4,3,,train"]])
def test_a_table_of_which_nothing_can_be_learned_is_refused(
    tmp_path: Path, lines: list[str]
) -> None:
    for name in "ab":
        _video(tmp_path / f"{name}.mp4", name)
    with pytest.raises(ManifestError, match=r"data.also: .*also.csv: \d labelled train videos"):
        _further(tmp_path, *lines, held_out=[])


def test_sets_of_which_a_batch_has_few_videos_are_told(caplog: pytest.LogCaptureFixture) -> None:
    row, tables = Row("a", Path("a")), ["main.csv", "also.csv"]
    main, also = [Example(row, 1.0)] * 2, [Example(row, 1.0, dataset=1)] * 6
    pseudo = [Example(row, 1.0, pseudo=True)] * 8
    training = TrainingConfig(batch_size=8)
    tell_shares([*main, *also], training, tables)
    assert "main.csv: 2.0 videos per batch" in caplog.text
    assert "also.csv: 6.0 videos" not in caplog.text
    caplog.clear()
    tell_shares([*main, *also, *pseudo], training, tables)  # which leave less room
    assert "main.csv" not in caplog.text and "also.csv: 3.0 videos per batch" in caplog.text
    caplog.clear()
    tell_shares([*also, *pseudo], TrainingConfig(batch_size=8, pseudo_share=0.75), tables)
    assert "main.csv" not in caplog.text and "also.csv: 2.0 videos per batch" in caplog.text
    caplog.clear()
    tell_shares([*main, *pseudo], training, tables)  # one set has nothing to be told of
    assert not caplog.text


# ---------------------------------------------------------------- init


TOY = {"backbone": "test_efficientnet", "trainable": True, "weights": "auto",
       "view": {"kind": "key_frames", "num_frames": 2, "size": 64}}  # fmt: skip


def _kwargs(**changes: Any) -> dict[str, Any]:
    return {"members": {"frames": TOY}, "hidden": 8, "score_mean": 3.0, "score_std": 0.7, **changes}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("bundle")
    kwargs = further.without_weights(_kwargs())
    save_bundle(
        folder, TeacherEnsemble(**kwargs), role="teacher",
        architecture={"_target_": "teachers.ensemble.TeacherEnsemble", **kwargs}, calibration=None,
        cost={"gmacs": 1.0, "params_m": 1.0}, provenance={"data": "lsvq.csv"},
        licenses=["lsvq: its terms"], metrics={},
    )  # fmt: skip
    return folder


def test_a_training_starts_from_a_bundle_with_its_own_scale(bundle: Path) -> None:
    torch.manual_seed(6)
    model, start = build(TeacherEnsemble, _kwargs(score_mean=50.0, score_std=9.0), str(bundle))
    torch.manual_seed(5)
    for key, value in TeacherEnsemble(**further.without_weights(_kwargs())).state_dict().items():
        assert torch.equal(model.state_dict()[key], value)
    assert (model.score_mean, model.score_std) == (50.0, 9.0)
    spec = json.loads((bundle / "spec.json").read_text())
    assert start == Start(
        spec["fingerprint"], ["lsvq: its terms"],
        {"init": {"fingerprint": spec["fingerprint"], "provenance": {"data": "lsvq.csv"}}},
    )  # fmt: skip
    assert model.random_backbones() == []
    assert model.licenses() == [f"bundle {spec['fingerprint']}: as its own README says"]
    tower = {id(p) for p in model.members["frames"].parameters()}
    for group in parameter_groups(model, TrainingConfig(lr=1e-3, backbone_lr=1e-5)):
        assert all((id(p) in tower) == (group["lr"] == 1e-5) for p in group["params"])


def test_without_a_bundle_the_options_decide() -> None:
    kwargs = further.without_weights(_kwargs())
    model, start = build(TeacherEnsemble, kwargs, None)
    assert start == Start() and model.random_backbones()


def test_another_architecture_is_refused_and_other_options_are_told(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BundleError) as wider:
        build(TeacherEnsemble, _kwargs(hidden=16), str(bundle))
    assert str(wider.value) == (
        f"init={bundle}: another architecture: 6 tensors differ, the first is head.0.bias ((8,)"
        " there, (16,) here); these options differ: hidden was 8, is 16"
    )
    two = {"frames": TOY, "other": TOY}
    with pytest.raises(BundleError, match=r"head\.0\.weight .*members\.other was None"):
        build(TeacherEnsemble, _kwargs(members=two), str(bundle))
    with pytest.raises(BundleError, match="not a bundle"):
        build(TeacherEnsemble, _kwargs(), str(tmp_path))

    class Other(TeacherEnsemble):
        pass

    with pytest.raises(BundleError, match="another architecture: _target_ was"):
        build(Other, _kwargs(), str(bundle))
    assert not caplog.records
    build(TeacherEnsemble, _kwargs(dropout=0.3), str(bundle))
    assert "its weights fit, but it was made with dropout was None, is 0.3" in caplog.text
