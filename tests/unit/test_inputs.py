"""What the commands take in: scales, digests, networks."""

import json
import os
from pathlib import Path

import pytest

from distill.config import EvaluateConfig
from distill.data.dataset import Example
from distill.data.identity import seed_of
from distill.data.manifest import Row, read_manifest
from distill.errors import BundleError, ConfigError, ManifestError
from distill.specification import find_bundle, read_spec
from distill.stages import evaluate
from distill.stages.inputs import digest, network, score_scale, training_rows


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


@pytest.mark.parametrize(
    ("sizes", "split", "counts", "what_to_do"),
    [
        ([4], [], "0 labelled train and 4 val", "of other contents"),
        ([1, 2, 29], [], "29 labelled train and 1 val", "or say in a column `split` which"),
        ([9, 1], ["train", "val"], "9 labelled train and 1 val", "or move whole contents between"),
    ],
)
def test_too_few_contents_are_told_as_such(
    tmp_path: Path, sizes: list[int], split: list[str], counts: str, what_to_do: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    # Of three contents the first by this order is validation, the second test.
    contents = sorted((f"g{at}" for at in range(len(sizes))), key=seed_of)
    lines = [f"video,mos,group{',split' if split else ''}"]
    for at, (content, size) in enumerate(zip(contents, sizes, strict=True)):
        for number in range(size):
            video = f"{content}_{number}.mp4"
            (tmp_path / video).touch()
            lines.append(f"{video},{number % 5},{content}{f',{split[at]}' if split else ''}")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(lines))
    with pytest.raises(ManifestError) as caught:
        training_rows(read_manifest(table), 0.2)
    told = str(caught.value)
    assert told.startswith(f"{table}: {counts} videos; training needs at least 4 and 3. ")
    assert f"show {len(sizes)} contents, and a content is never cut" in told
    assert what_to_do in told and ("column `split`" in told) == (len(sizes) > 1)
    assert "no val split" not in caplog.text  # which is no news beside the error


def test_the_folder_of_a_run_is_told_from_its_bundle(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BundleError, match=r"\(no spec\.json\); give the folder that holds it"):
            read_spec(folder)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "spec.json").touch()
    with pytest.raises(BundleError) as caught:
        read_spec(tmp_path)
    assert str(caught.value).endswith(f"(no spec.json); did you mean {tmp_path / 'bundle'}?")


def test_an_evaluation_of_nothing_names_both_that_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        evaluate._bundles(EvaluateConfig(outputs=str(tmp_path)))
    told = str(caught.value)
    assert told.startswith(f"no student and no teacher bundle below {tmp_path}; ")
    assert "train_student.py +budget=120` or `python train_teacher.py` first" in told
