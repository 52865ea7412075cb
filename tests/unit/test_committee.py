"""A committee: the mean of its teachers, frozen members once, folds that cut no content."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distill.bundle import load_bundle, save_bundle
from distill.committee import Committee
from distill.cost import profile
from distill.data.dataset import Example
from distill.data.identity import seed_of
from distill.data.manifest import Row
from distill.errors import BundleError, ConfigError
from distill.model import FEATURES
from distill.stages.folds import split_folds
from teachers.ensemble import TeacherEnsemble

FRAMES = {"kind": "key_frames", "num_frames": 2, "size": 64}
STILLS = {"kind": "fragments", "grid": 2, "patch": 32, "num_clips": 2, "clip_len": 1}
MEMBERS = {
    "whole": {"backbone": "tf_efficientnet_lite0", "view": FRAMES},
    "detail": {
        "backbone": "test_efficientnet", "trainable": True, "weights": "none", "view": STILLS,
    },
}  # fmt: skip


def _options(**more: Any) -> dict[str, Any]:
    return {"members": MEMBERS, "hidden": 8, **more}


@pytest.fixture(scope="module")
def teachers() -> list[TeacherEnsemble]:
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        found.append(TeacherEnsemble(**_options()).eval())
    return found


@pytest.fixture(scope="module")
def committee(teachers: list[TeacherEnsemble]) -> Committee:
    teacher = {"_target_": "teachers.ensemble.TeacherEnsemble", **_options()}
    made = Committee(teacher, folds=3)
    made.fill(teacher.state_dict() for teacher in teachers)
    return made


def _batch(model: Any) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(0, 256, (3, *v.shape), dtype=torch.uint8, generator=generator)
        for name, v in model.views.items()
    }


@torch.no_grad()
def test_it_says_the_mean_and_what_each_teacher_says(
    committee: Committee, teachers: list[TeacherEnsemble]
) -> None:
    batch = _batch(committee)
    says, each = committee(batch), [teacher(batch) for teacher in teachers]
    scores = torch.stack([one.score for one in each])
    torch.testing.assert_close(says.score, scores.mean(0))
    assert list(says.member_scores) == ["whole", "detail", "fold_1", "fold_2", "fold_3"]
    for k, score in enumerate(scores, start=1):
        torch.testing.assert_close(says.member_scores[f"fold_{k}"], score)
    detail = torch.stack([one.member_scores["detail"] for one in each]).mean(0)
    torch.testing.assert_close(says.member_scores["detail"], detail)
    frames = torch.stack([one.frame_scores for one in each if one.frame_scores is not None])
    torch.testing.assert_close(says.frame_scores, frames.mean(0))


@torch.no_grad()
def test_frozen_members_run_once_and_stand_in_the_weights_once(committee: Committee) -> None:
    state = committee.state_dict()
    assert any(key.startswith("teachers.0.members.whole.") for key in state)
    assert not any(key.startswith("teachers.1.members.whole.") for key in state)
    assert any(key.startswith("teachers.2.members.detail.") for key in state)

    calls = []
    whole = committee.frozen_members()["whole"][1]
    handle = whole.register_forward_hook(lambda *_: calls.append(1))
    batch = _batch(committee)
    expected = committee(batch).score
    assert calls == [1]
    cached = committee.frozen_features(batch)
    assert set(cached) == {FEATURES + "whole"}
    torch.testing.assert_close(committee({"detail": batch["detail"], **cached}).score, expected)
    assert calls == [1, 1]
    handle.remove()


def test_its_cost_has_every_trained_member_once_per_teacher(
    committee: Committee, teachers: list[TeacherEnsemble]
) -> None:
    one, all_ = profile(teachers[0]), profile(committee)
    assert all_.by_part["whole"] == pytest.approx(one.by_part["whole"])
    for name in ("detail", "detail fold_2", "detail fold_3"):
        assert all_.by_part[name] == pytest.approx(one.by_part["detail"])
    assert all_.gmacs < 3 * one.gmacs
    whole = sum(p.numel() for p in teachers[0].members["whole"].parameters()) / 1e6
    assert all_.params_m == pytest.approx(3 * one.params_m - 2 * whole)


@torch.no_grad()
def test_a_bundle_of_it_loads_and_scores_the_same(tmp_path: Path, committee: Committee) -> None:
    architecture = {
        "_target_": "distill.committee.Committee",
        "teacher": {"_target_": "teachers.ensemble.TeacherEnsemble", **_options(weights="none")},
        "folds": 3,
    }
    save_bundle(
        tmp_path, committee, role="teacher", architecture=architecture, calibration=None,
        cost={}, provenance={}, licenses=committee.licenses(), metrics={},
    )  # fmt: skip
    loaded = load_bundle(tmp_path).model
    batch = _batch(committee)
    assert torch.equal(loaded(batch).score, committee(batch).score)


@pytest.mark.parametrize("target", ["torch.hub.load", "torch.nn.Linear", "teachers.members.KINDS"])
def test_a_bundle_that_names_other_classes_is_refused(target: str, tmp_path: Path) -> None:
    architecture = {
        "_target_": "distill.committee.Committee",
        "teacher": {"_target_": target, "repo_or_dir": str(tmp_path)},
        "folds": 2,
    }
    save_bundle(
        tmp_path, TeacherEnsemble(**_options()), role="teacher", architecture=architecture,
        calibration=None, cost={}, provenance={}, licenses=[], metrics={},
    )  # fmt: skip
    with pytest.raises(BundleError, match="not one of this program's networks"):
        load_bundle(tmp_path)


def test_further_data_stay_out_of_the_fold_that_holds_the_same_file_out(tmp_path: Path) -> None:
    main, further = [], []
    for i in range(12):
        path = tmp_path / f"{i}.mp4"
        path.write_bytes(bytes([i]) * 100)
        main.append(Example(Row(path.name, path, mos=1.0, split="train", group=str(i // 3))))
        further.append(Example(Row(path.name, path, mos=1.0, split="train"), dataset=1))
    for train, held_out in split_folds([*main, *further], 2):
        videos = {row.video for row in held_out}
        assert len(held_out) == 6
        assert not videos & {example.row.video for example in train}
        assert sum(example.dataset for example in train) == 6


def test_one_teacher_is_no_committee() -> None:
    teacher = {"_target_": "teachers.ensemble.TeacherEnsemble", **_options()}
    with pytest.raises(ConfigError, match="folds: 1; a committee has at least 2"):
        Committee(teacher, folds=1)


@given(
    groups=st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=40),
    folds=st.integers(2, 6),
)
def test_folds_part_the_contents(groups: list[str], folds: int) -> None:
    examples = [
        Example(Row(f"{i}.mp4", Path(f"{i}.mp4"), mos=1.0, split="train", group=group))
        for i, group in enumerate(groups)
    ]
    # By hand: contents in the order of their seeds, dealt round.
    order = sorted(set(groups), key=lambda group: (seed_of(group), group))
    held_out = [sum(groups.count(g) for g in order[fold::folds]) for fold in range(folds)]
    if len(order) < folds or min(held_out) < 3 or len(groups) - max(held_out) < 4:
        with pytest.raises(ConfigError, match=f"folds={folds}"):
            split_folds(examples, folds)
        return
    parts = split_folds(examples, folds)
    assert [len(rows) for _, rows in parts] == held_out
    held = [row for _, rows in parts for row in rows]
    assert sorted(row.video for row in held) == sorted(e.row.video for e in examples)
    sizes = [len({row.group for row in rows}) for _, rows in parts]
    assert max(sizes) - min(sizes) <= 1
    for train, rows in parts:
        assert len(train) + len(rows) == len(examples)
        assert not {e.row.group for e in train} & {row.group for row in rows}
    backwards = split_folds(examples[::-1], folds)
    assert [{r.video for r in rows} for _, rows in backwards] == [
        {r.video for r in rows} for _, rows in parts
    ]
