"""The ensemble: its views, its scores, its cached features and its refusals."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from distill.cost import profile
from distill.data.views import Fragments, KeyFrames
from distill.errors import ConfigError, WeightsError
from teachers.ensemble import FEATURES, TeacherEnsemble

FRAMES = {"kind": "key_frames", "num_frames": 2, "size": 64}
STILLS = {"kind": "fragments", "grid": 2, "patch": 32, "num_clips": 2, "clip_len": 1}
CLIPS = {"kind": "fragments", "grid": 2, "patch": 32, "num_clips": 1, "clip_len": 3}
NET = {"backbone": "test_efficientnet", "trainable": True, "weights": "none"}
LITE = {"backbone": "tf_efficientnet_lite0"}


def _batch(model: TeacherEnsemble, videos: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(0, 256, (videos, *v.shape), dtype=torch.uint8, generator=generator)
        for name, v in model.views.items()
    }


def _two(**options: Any) -> TeacherEnsemble:
    torch.manual_seed(0)
    members = {"whole": {**LITE, "view": FRAMES}, "detail": {**NET, "view": STILLS}}
    return TeacherEnsemble(members, hidden=8, **options)


def test_a_prediction_has_every_part() -> None:
    model = _two()
    assert model.views == {"whole": KeyFrames(2, 64), "detail": Fragments(2, 32, 2, 1)}
    says = model(_batch(model))
    assert says.score.shape == (3,)
    assert says.frame_scores is not None
    assert says.frame_scores.shape == (3, 2)
    assert {name: s.shape for name, s in says.member_scores.items()} == {
        "whole": (3,),
        "detail": (3,),
    }
    assert says.features["whole"].shape == (3, 640)
    assert says.features["detail"].shape == (3, 128)


def test_frame_scores_follow_the_first_member_and_take_the_mean_of_the_others() -> None:
    members = {"a": {**NET, "view": STILLS}, "b": {**NET, "view": CLIPS}}
    model = TeacherEnsemble(members, hidden=8).eval()
    batch = _batch(model)
    says = model(batch)
    assert says.frame_scores is not None
    assert says.frame_scores.shape == (3, 2)
    still = {**batch, "b": batch["b"][:, :, :1].expand(-1, -1, 3, -1, -1, -1)}
    first = model({**still, "b": still["b"][:, :, :1]})  # one frame is its own mean
    torch.testing.assert_close(model(still).frame_scores, first.frame_scores)


def test_scores_start_around_the_labels_mean() -> None:
    plain, scaled = _two().eval(), _two(score_mean=60.0, score_std=12.0).eval()
    batch = _batch(plain)
    with torch.no_grad():
        torch.testing.assert_close(scaled(batch).score, 60 + 12 * plain(batch).score)
        assert (scaled(batch).score - 60).abs().max() < 24


def test_gradients_reach_what_is_trained_and_nothing_else() -> None:
    model = _two().train()
    says = model(_batch(model))
    says.score.sum().backward(retain_graph=True)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"members", "norms", "head"}
    assert all(p.grad is None for p in model.members["whole"].parameters())
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    sum(score.sum() for score in says.member_scores.values()).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        if name.startswith("member_heads"):
            assert parameter.grad is not None
        elif name in grads:
            assert torch.equal(grads[name], parameter.grad)  # type: ignore[arg-type]


def test_cached_features_stand_for_a_frozen_member_s_view() -> None:
    model = _two().eval()
    assert {name: view for name, (view, _) in model.frozen_members().items()} == {"whole": "whole"}
    batch = _batch(model)
    with torch.no_grad():
        expected = model(batch).score
        cached = model.frozen_features(batch)
        assert {key: value.shape for key, value in cached.items()} == {
            FEATURES + "whole": (3, 2, 640)
        }
        del batch["whole"]
        torch.testing.assert_close(model({**batch, **cached}).score, expected)


def test_like_members_share_a_view_and_unlike_ones_do_not() -> None:
    members = {
        "a": {**NET, "view": FRAMES},
        "b": {**NET, "view": dict(FRAMES), "stages": [1, -1]},
        "c": {**LITE, "view": FRAMES},  # frozen: evaluation cuts, not the drawn ones
        "d": {**LITE, "view": STILLS},
    }
    model = TeacherEnsemble(members, hidden=8)
    assert list(model.views) == ["a", "c", "d"]
    assert model.view_of == {"a": "a", "b": "a", "c": "c", "d": "d"}


def test_a_bundle_rebuilds_it_from_json_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"whole": {**LITE, "view": FRAMES}, "detail": {**NET, "view": STILLS}}
    kwargs = {"members": members, "hidden": 8, "score_mean": 3.0}
    trained = TeacherEnsemble(**kwargs).eval()  # type: ignore[arg-type]

    def no_reading(*_: object) -> None:
        raise AssertionError("a weights file was looked for")

    monkeypatch.setattr("distill.weights._find", no_reading)
    spec = json.loads(json.dumps(kwargs))
    rebuilt = TeacherEnsemble(**spec, weights="none").eval()
    batch = _batch(trained)
    with pytest.raises(WeightsError, match="weights are random"):
        rebuilt(batch)
    rebuilt.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(rebuilt(batch).score, trained(batch).score)


def test_its_cost_is_the_sum_of_its_members() -> None:
    both = profile(_two())
    alone = [
        profile(TeacherEnsemble({"m": member}, hidden=8)).by_module["members"]
        for member in ({**LITE, "view": FRAMES}, {**NET, "view": STILLS})
    ]
    assert both.by_module["members"] == pytest.approx(sum(alone))
    assert both.by_module["member_heads"] > 0


@pytest.mark.parametrize(
    ("members", "options", "words"),
    [
        ({}, {}, "give at least one"),
        ({"a": {"view": FRAMES}}, {}, "members.a: backbone is missing"),
        ({"a": LITE}, {}, "members.a: view is missing"),
        (
            {"a": {**LITE, "view": FRAMES, "trainble": True}},
            {},
            "members.a.trainble.; did you mean members.a.trainable",
        ),
        ({"a": {**LITE, "view": {"kind": "keyframes"}}}, {}, "a.view.kind: 'keyframes'; known"),
        ({"a": {**LITE, "view": {**FRAMES, "num_frames": 0}}}, {}, "KeyFrames.num_frames"),
        ({"a": {**LITE, "view": {**FRAMES, "frames": 1}}}, {}, "'frames'"),
        ({"keys": {**LITE, "view": FRAMES}}, {}, "cannot name a member"),
        ({"a.b": {**LITE, "view": FRAMES}}, {}, "cannot name a member"),
        ({"a": {**NET, "view": FRAMES, "stages": [9]}}, {}, r"members.a: stages: \[9\]"),
        ({"a": {**NET, "view": FRAMES}}, {"hidden": 0}, "hidden 0"),
        ({"a": {**NET, "view": FRAMES}}, {"dropout": 1.0}, "dropout 1.0"),
        ({"a": {**NET, "view": FRAMES}}, {"score_std": 0.0}, "score_std 0.0"),
        ({"a": {**NET, "view": FRAMES}}, {"weights": "file.pth"}, "takes auto or none"),
    ],
)
def test_bad_options_are_named(members: dict, options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TeacherEnsemble(members, **options)


def test_a_frozen_member_without_weights_is_refused_before_any_training() -> None:
    model = TeacherEnsemble({"a": {**LITE, "view": FRAMES, "weights": "none"}})
    with pytest.raises(WeightsError, match="tf_efficientnet_lite0 is frozen and its weights are"):
        profile(model)
