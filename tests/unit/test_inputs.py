"""What a student may learn from: nothing of what it is tested on."""

import shutil
from pathlib import Path

import pytest

from distill.data.dataset import Example
from distill.data.identity import content_hash
from distill.data.manifest import Row
from distill.errors import ConfigError, LabelStoreError
from distill.labels import Label, LabelStore
from distill.stages.inputs import digest, network, pseudo_examples, score_scale

META = {"teacher": "t", "views": {}, "videos": 6}


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
    version = _video(tmp_path / "test, second version.mp4", "test in a lower quality")
    link = tmp_path / "link.mp4"
    link.symlink_to(test.path)
    good = _video(tmp_path / "good.mp4", "good")
    store = LabelStore.open(tmp_path / "store", META)
    store.append(
        [
            _label(train.path, "a"),
            _label(copy, "another name.mp4"),
            _label(link, "link.mp4"),
            _label(version, "b"),
            _label(good, "good", score=2.5),
            _label(_video(tmp_path / "failed.mp4", "f"), "f", status="failed", reason="broken"),
        ]
    )
    (example,) = pseudo_examples(store, [train], [test], weight=0.5)
    assert (example.row.path, example.target, example.weight, example.pseudo) == (
        good,
        2.5,
        0.5,
        True,
    )
    assert "4 pseudo-labelled videos are left out" in caplog.text


def test_videos_that_are_gone_and_stores_that_are_unfinished_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LabelStore.open(tmp_path / "store", META)
    kept, gone = (_video(tmp_path / name, name) for name in ("kept.mp4", "gone.mp4"))
    store.append([_label(kept, "k"), _label(gone, "g")])
    gone.unlink()
    assert len(pseudo_examples(store, [], [], 1.0)) == 1
    assert f"1 pseudo-labelled videos are gone, for example {gone}" in caplog.text
    assert "2 of 6 videos are labelled" in caplog.text
    kept.unlink()
    with pytest.raises(LabelStoreError, match="no usable pseudo-label"):
        pseudo_examples(store, [], [], 1.0)


def test_digest_sees_every_change(tmp_path: Path) -> None:
    row, other = Row("a", tmp_path / "a", 3.0), Row("b", tmp_path / "b", 3.0)
    base = digest([Example(row, 3.0)], [other])
    assert base == digest([Example(row, 3.0)], [other])
    changed = [
        digest([Example(row, 3.1)], [other]),
        digest([Example(row, 3.0, weight=0.5)], [other]),
        digest([Example(other, 3.0)], [other]),
        digest([Example(row, 3.0)], [row]),
        digest([Example(row, 3.0), Example(row, 3.0)], [other]),
        digest([Example(row, 3.0, error=0.1)], [other]),
        digest([Example(row, 3.0, dataset=1)], [other]),
    ]
    assert len({base, *changed}) == 8


def test_score_scale_is_mean_and_population_deviation() -> None:
    row = Row("a", Path("a"))
    scale = score_scale([Example(row, target) for target in (1.0, 2.0, 6.0)])
    assert scale == {"score_mean": 3.0, "score_std": pytest.approx((14 / 3) ** 0.5, abs=1e-6)}
    assert score_scale([Example(row, 2.0)])["score_std"] == 1e-3


@pytest.mark.parametrize("target", ["torch.nn.Linear", "teachers.timm_frames.TimmFrames"])
def test_networks_whose_bundle_would_not_load_are_refused_before_training(target: str) -> None:
    with pytest.raises(ConfigError, match=f"student._target_={target}: must be a QualityModel"):
        network({"_target_": target}, "student")
