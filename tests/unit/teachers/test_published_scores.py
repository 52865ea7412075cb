"""Members with scores of their own: alone, averaged, weighted, calibrated by nobody, failing."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distill.data.views import KeyFrames
from distill.errors import ConfigError, MemberError, WeightsError
from distill.model import FEATURES
from teachers.ensemble import TeacherEnsemble
from teachers.members import make_member
from tests.helpers.published_member import KIND

FRAMES = {"kind": "key_frames", "num_frames": 3, "size": 32}
SMALL = {"kind": "key_frames", "num_frames": 2, "size": 16}
OWN = {"kind": "brightness", "view": FRAMES, "head": "own"}
NEW = {"kind": "brightness", "view": SMALL, "trainable": True}


@pytest.fixture(autouse=True)
def brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teachers.members.KINDS", KIND)


def _batch(model: TeacherEnsemble) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(0, 256, (4, *v.shape), dtype=torch.uint8, generator=generator)
        for name, v in model.views.items()
    }


def _teacher(fusion: str = "mean", **options: Any) -> TeacherEnsemble:
    torch.manual_seed(0)
    members = {"a": OWN, "b": NEW}
    return TeacherEnsemble(members, fusion=fusion, hidden=4, **options).eval()


def test_a_published_score_alone_is_the_teacher_s_as_it_was_published() -> None:
    model = TeacherEnsemble({"a": OWN}, fusion="mean")
    assert model.random_parts() == []
    assert not any(parameter.requires_grad for parameter in model.parameters())
    batch = _batch(model)
    levels = batch["a"].float().mean((2, 3, 4))
    says = model(batch)
    torch.testing.assert_close(says.score, levels.mean(1))
    torch.testing.assert_close(says.frame_scores, levels)
    torch.testing.assert_close(says.member_scores["a"], levels.mean(1))
    assert says.features["a"].shape == (4, 2)  # not the column of its own score


def test_labels_put_a_published_score_on_their_scale() -> None:
    model = TeacherEnsemble({"a": OWN}, fusion="mean", score_mean=3.0, score_std=0.5)
    batch = _batch(model)
    level = batch["a"].float().mean((1, 2, 3, 4))
    torch.testing.assert_close(model(batch).score, 3 + 0.5 * (level - 100) / 25)


def test_mean_and_weighted_average_the_members_scores() -> None:
    for fusion in ("mean", "weighted"):
        model = _teacher(fusion, score_mean=3.0, score_std=0.5)
        batch = _batch(model)
        says = model(batch)
        both = torch.stack([says.member_scores["a"], says.member_scores["b"]])
        torch.testing.assert_close(says.score, both.mean(0))
    assert model.shares is not None
    with torch.no_grad():
        model.shares.copy_(torch.tensor([3.0, 1.0]).log())
    torch.testing.assert_close(model(batch).score, 0.75 * both[0] + 0.25 * both[1])


def test_what_trains_under_each_fusion() -> None:
    for fusion in ("mean", "weighted"):
        model = _teacher(fusion).train()
        model(_batch(model)).score.sum().backward()
        moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
        trained = {"members", "member_heads", *(["shares"] if fusion == "weighted" else [])}
        assert moved == trained
        assert model.members["a"].gain.grad is None


def test_late_fusion_averages_members_that_train_for_themselves() -> None:
    model = TeacherEnsemble({"a": NEW, "b": {**NEW, "view": FRAMES}}, fusion="late", hidden=4)
    says = model.train()(_batch(model))
    torch.testing.assert_close(
        says.score, (says.member_scores["a"] + says.member_scores["b"]).detach() / 2
    )
    assert not says.score.requires_grad
    says.member_scores["a"].sum().backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved and all(".a." in name for name in moved)


def test_a_published_head_is_left_alone_beside_a_fused_one() -> None:
    """Its loss would move the features that the fused head looks at."""
    members = {"a": {**OWN, "trainable": True}, "b": NEW}
    model = TeacherEnsemble(members, hidden=4).train()
    assert not model(_batch(model)).member_scores["a"].requires_grad


def test_the_linear_regressor_of_rq_vqa_is_linear() -> None:
    members = {"b": {**NEW, "view": FRAMES}}
    model = TeacherEnsemble(members, hidden=4, linear=True, dropout=0.0).eval()
    keys = {name for name, _ in model.named_parameters() if name.startswith("head.")}
    assert keys == {"head.0.weight", "head.0.bias", "head.3.weight", "head.3.bias"}
    x = torch.full((1, 3, 3, 32, 32), 10, dtype=torch.uint8)
    with torch.no_grad():
        low, mid, high = (model({"b": x * k}).score for k in (1, 2, 3))
    torch.testing.assert_close(high - mid, mid - low)


def test_a_hollow_member_scores_cached_features_and_holds_nothing() -> None:
    model = TeacherEnsemble({"a": OWN}, fusion="mean")
    batch = _batch(model)
    expected, cached = model(batch).score, model.frozen_features(batch)
    assert cached[FEATURES + "a"].shape == (4, 3, 3)
    model.drop_frozen()
    assert model.state_dict() == {}
    torch.testing.assert_close(model(cached).score, expected)


def test_features_that_are_cached_are_not_computed_again() -> None:
    model = TeacherEnsemble({"a": OWN}, fusion="mean")
    given = torch.zeros(1, 3, 3)
    assert model.frozen_features({FEATURES + "a": given})[FEATURES + "a"] is given


def test_a_member_that_runs_out_of_memory_names_itself_and_the_remedy() -> None:
    big = TeacherEnsemble({"huge": {**OWN, "view": {**FRAMES, "size": 48}}}, fusion="mean")
    with pytest.raises(
        MemberError, match=r"members.huge: Brightness: out of memory: Tried to"
    ) as e:
        big(_batch(big))
    assert "fewer frames" in str(e.value)


def test_a_member_without_weights_names_itself() -> None:
    model = TeacherEnsemble({"a": {**OWN, "weights": "none"}}, fusion="mean")
    assert model.random_parts() == ["members.a"]
    with pytest.raises(WeightsError, match=r"members\.a: Brightness is frozen"):
        model(_batch(model))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"a": {**OWN, "head": "old"}}, "members.a.head='old'"),
        ({"a": {**OWN, "kind": "brightnes"}}, "members.a.kind='brightnes' is not a choice; did"),
        ({"a": {"kind": "brightness"}}, "members.a: view is missing"),
        ({"a": {**OWN, "gain": 2}}, "members.a.gain"),
        ({"a": None}, "members.a: None are no options; leave a member out with ~teacher.members.a"),
        ({"a": {**OWN, "trainable": "yes"}}, "members.a.trainable='yes': give true or false"),
    ],
)
def test_bad_options_are_named(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TeacherEnsemble(options, fusion="mean")


def test_a_network_without_a_published_score_cannot_give_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.helpers.published_member.Brightness.has_score", False)
    with pytest.raises(ConfigError, match=r"members\.a\.head=own: Brightness was"):
        TeacherEnsemble({"a": OWN})


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teachers.members.KINDS", {"odd": "no_such_package_here.Member"})
    with pytest.raises(ConfigError, match=r"needs the package no_such_package_here: pip install"):
        make_member("a", {"kind": "odd"})


def test_the_view_that_was_given_is_the_member_s() -> None:
    assert make_member("a", {"kind": "brightness", "view": FRAMES}).view == KeyFrames(3, 32)
