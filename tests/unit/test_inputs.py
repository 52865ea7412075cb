"""What the commands take in: scales, digests, networks."""

import json
import os
from pathlib import Path

import pytest

from distill.data.dataset import Example
from distill.data.manifest import Row
from distill.errors import ConfigError
from distill.specification import find_bundle
from distill.stages.inputs import digest, network, score_scale


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


def test_the_newest_bundle_of_a_role_is_no_other_ones(tmp_path: Path) -> None:
    run = tmp_path / "train_student" / "a"
    for at, (folder, role) in enumerate(
        [(run, "student"), (run / "round_2" / "teacher", "teacher")]
    ):
        path = folder / "bundle" / "spec.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"role": role}))
        os.utime(path, (at, at))
    assert find_bundle(tmp_path, "student") == run / "bundle"
    (run / "bundle" / "spec.json").unlink()
    assert find_bundle(tmp_path, "student") is None
    (run / "bundle" / "spec.json").write_text("torn")  # who opens it says what is wrong
    assert find_bundle(tmp_path, "student") == run / "bundle"
