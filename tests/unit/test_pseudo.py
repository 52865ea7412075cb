"""What a student may learn from: nothing of what it is tested on."""

import math
import shutil
from pathlib import Path

import pytest

from distill.config import TrainStudentConfig
from distill.data.dataset import Example
from distill.data.identity import content_hash
from distill.data.manifest import Row
from distill.errors import LabelStoreError
from distill.label_options import SelectConfig
from distill.labels import Label, LabelStore
from distill.options import DataConfig
from distill.stages.pseudo import choose_labels, examples_of
from tests.helpers.grey_videos import Grey

META = {"teacher": "t", "views": {}, "videos": 7}


def _config(**changes: object) -> TrainStudentConfig:
    values = {"leak_check": "hash", "select": SelectConfig(duplicates="bytes"), **changes}
    return TrainStudentConfig(data=DataConfig(num_workers=0), **values)  # type: ignore[arg-type]


def _examples(
    store: LabelStore, labelled: list[Row], held_out: list[Row], config: TrainStudentConfig,
    reader: Grey | None = None,
) -> list[Example]:  # fmt: skip
    decisions = choose_labels(store, labelled, held_out, config, reader or Grey())
    return examples_of(decisions, 0.5)


def _video(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def _label(path: Path, group: str, **changes: object) -> Label:
    values = {"content": content_hash(path), "group": group, "score": 3.0, **changes}
    return Label(path.name, str(path), **values)  # type: ignore[arg-type]


def test_held_out_contents_stay_out_by_path_group_and_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = Row("train", _video(tmp_path / "train.mp4", "train"), 3.0, group="a")
    test = Row("test", _video(tmp_path / "test.mp4", "test"), 4.0, split="test", group="b")
    copy = Path(shutil.copy(test.path, tmp_path / "another name.mp4"))
    copied = Path(shutil.copy(train.path, tmp_path / "train again.mp4"))
    version = _video(tmp_path / "test, second version.mp4", "test in a lower quality")
    link = tmp_path / "link.mp4"
    link.symlink_to(test.path)
    good = _video(tmp_path / "good.mp4", "good")
    store = LabelStore.open(tmp_path / "store", META)
    store.append(
        [
            _label(train.path, "a"),
            _label(copied, "train again.mp4"),
            _label(copy, "another name.mp4"),
            _label(link, "link.mp4"),
            _label(version, "b"),
            _label(good, "good", score=2.5),
            _label(_video(tmp_path / "failed.mp4", "f"), "f", status="failed", reason="broken"),
        ]
    )
    (example,) = _examples(store, [train], [test], _config())
    assert (example.row.path, example.target, example.weight, example.pseudo) == (
        good, 2.5, 0.5, True,
    )  # fmt: skip
    assert "2 pseudo-labelled videos are left out: they have a MOS" in caplog.text
    assert "3 pseudo-labelled videos are left out: their content is in val or test" in caplog.text
    assert "another name.mp4: the same file as a test video (test)" in caplog.text
    foreign = LabelStore.open(tmp_path / "foreign", META)
    foreign.append([_label(path, path.name, content="") for path in (copy, copied, good)])
    assert [e.row.path for e in _examples(foreign, [train], [test], _config())] == [good]
    names = [e.row.video for e in _examples(store, [train], [test], _config(leak_check="none"))]
    assert names == ["another name.mp4", "good.mp4", "train again.mp4"]  # the link is a copy


def test_videos_that_are_gone_and_stores_that_are_unfinished_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LabelStore.open(tmp_path / "store", META)
    kept, gone = (_video(tmp_path / name, name) for name in ("kept.mp4", "gone.mp4"))
    store.append([_label(kept, "k"), _label(gone, "g")])
    gone.unlink()
    assert len(_examples(store, [], [], _config())) == 1
    assert "1 pseudo-labelled videos are gone" in caplog.text and "gone.mp4: the" in caplog.text
    assert "2 of 7 videos are labelled" in caplog.text
    kept.unlink()
    with pytest.raises(LabelStoreError, match="no usable pseudo-label"):
        _examples(store, [], [], _config())


def test_what_cannot_be_compared_by_its_looks_is_told_and_dry_runs_decode_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    caplog.set_level("INFO")
    grey, broken = _video(tmp_path / "grey.mp4", "90"), _video(tmp_path / "broken.mp4", "-")
    store = LabelStore.open(tmp_path / "store", META)
    store.append([_label(grey, "g"), _label(broken, "b")])
    test = Row("t", _video(tmp_path / "t.mp4", "91"), 4.0, split="test", group="t")
    reader = Grey()
    config = _config(leak_check="perceptual", dry_run=True)
    assert len(_examples(store, [], [test], config, reader)) == 2 and not reader.read_paths
    assert "dry run: looks and decoded frames" in caplog.text
    config.dry_run = False
    assert len(_examples(store, [], [test], config, reader)) == 2
    assert sorted(reader.read_paths) == [grey, test.path]
    assert f"{broken}: cannot be compared by its looks: grey: no picture" in caplog.text
    assert "2 videos are too flat to be compared by their looks" in caplog.text


def test_the_spread_of_the_teacher_is_the_error_of_its_label(tmp_path: Path) -> None:
    first, second = (_video(tmp_path / f"{name}.mp4", name) for name in "ab")
    store = LabelStore.open(tmp_path / "store", META)
    store.append([_label(first, "a", std=0.25), _label(second, "b")])
    examples = _examples(store, [], [], _config())
    assert [e.row.group for e in examples] == ["a", "b"]
    assert examples[0].error == 0.25 and math.isnan(examples[1].error)
