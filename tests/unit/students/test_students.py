"""Both students: parts of the prediction, starting scale, gradients, bundles, refusals."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from distill.budget import check_budget
from distill.cost import profile
from distill.data.views import Fragments, KeyFrames, MixedFrames
from distill.errors import BudgetError, ConfigError, WeightsError
from distill.model import QualityModel
from students.evqa import EVQAStudent
from students.frames import FramesStudent
from students.mixed_view import MixedViewStudent
from students.swin_t import SwinTStudent

SMALL = {"backbone": "test_efficientnet", "size": 64, "short_side": 64, "grid": 2, "hidden": 8}
MIXED = {"backbone": "test_efficientnet", "size": 96, "whole": 64, "hidden": 8}
STUDENTS: list[tuple[type[QualityModel], dict[str, Any]]] = [
    (FramesStudent, {**SMALL, "num_frames": 2}),
    (FramesStudent, {**SMALL, "num_frames": 2, "fragments": False}),
    (FramesStudent, {**SMALL, "num_frames": 2, "key_frames": False}),
    (FramesStudent, {**SMALL, "num_frames": 2, "fragments": False, "temporal": "attention"}),
    (MixedViewStudent, {**MIXED, "num_frames": 2}),
    (SwinTStudent, {"num_frames": 2, "size": 64}),
    (EVQAStudent, {"num_frames": 2, "size": 64}),
]
IDS = ["both", "whole", "fragments", "attention", "mixed", "swin", "evqa"]


def _batch(model: QualityModel, videos: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(0, 256, (videos, *v.shape), dtype=torch.uint8, generator=generator)
        for name, v in model.views.items()
    }


def _build(student: type[QualityModel], **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return student(**{"weights": "none", **kwargs})


@pytest.mark.parametrize(("student", "kwargs"), STUDENTS, ids=IDS)
def test_scores_gradients_and_starting_scale(
    student: type[QualityModel], kwargs: dict[str, Any]
) -> None:
    model = _build(student, **kwargs, score_mean=3.5, score_std=0.5).eval()
    batch = _batch(model)
    says = model(batch)
    assert says.score.shape == (3,)
    assert says.score.dtype == torch.float32
    assert says.frame_scores.shape == (3, 2)
    torch.testing.assert_close(says.score, says.frame_scores.mean(1))
    assert (says.score - 3.5).abs().max() < 1
    plain = _build(student, **kwargs).eval()
    torch.testing.assert_close(says.score, 3.5 + 0.5 * plain(batch).score)
    # A video's score does not depend on its company.
    alone = model({name: view[1:2] for name, view in batch.items()}).score
    torch.testing.assert_close(alone, says.score[1:2], rtol=1e-4, atol=1e-4)

    model.train()
    model(batch).score.sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@pytest.mark.parametrize(("student", "kwargs"), STUDENTS, ids=IDS)
def test_a_bundle_rebuilds_it_from_json(
    student: type[QualityModel], kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_reading(*_: object) -> None:
        raise AssertionError("a weights file was looked for")

    monkeypatch.setattr("distill.weights._find", no_reading)
    trained = _build(student, **kwargs).eval()
    torch.manual_seed(1)
    rebuilt = student(**json.loads(json.dumps({**kwargs, "weights": "none"}))).eval()
    batch = _batch(trained, 1)
    assert not torch.equal(rebuilt(batch).score, trained(batch).score)
    rebuilt.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(rebuilt(batch).score, trained(batch).score)
    assert all(t.is_contiguous() for t in trained.state_dict().values())  # safetensors need it


def test_views_follow_the_options() -> None:
    model = _build(FramesStudent, **SMALL, num_frames=3)
    assert model.views == {
        "frames": KeyFrames(3, 64, 64),
        "fragments": Fragments(2, 32, num_clips=3, clip_len=1),
    }
    swin = _build(SwinTStudent, num_frames=1, size=64, short_side=96)
    assert swin.views == {"frames": KeyFrames(1, 64, 96)}
    evqa = _build(EVQAStudent, num_frames=3, train_frames=2, size=64)
    second = {"sampling": "second_middle", "seconds": 2}
    assert evqa.views == {
        "frames": KeyFrames(3, 64, 64, 2, **second),  # type: ignore[arg-type]
        "fragments": Fragments(2, 32, 3, clip_len=1, train_clips=2, **second),  # type: ignore[arg-type]
    }
    mixed = _build(MixedViewStudent, **MIXED, num_frames=3, train_frames=2)
    assert mixed.views == {"mixed": MixedFrames(3, 96, 64, 32, 2)}


@pytest.mark.parametrize(("student", "kwargs"), STUDENTS[:-1], ids=IDS[:-1])
def test_a_guide_finds_the_maps_of_every_tower(
    student: type[QualityModel], kwargs: dict[str, Any]
) -> None:
    """But for E-VQA's, which give out none."""
    model = _build(student, **kwargs).eval()
    seen: list[Tensor] = []
    views = {view for view, _ in model.viewers().values()}
    assert views == set(model.views)
    for tower in {tower for _, tower in model.viewers().values()}:
        tower.taps.append(lambda frames, maps: seen.append(frames))
    model(_batch(model, 1))
    assert len(seen) == len(views)


def test_the_whole_frame_and_the_patches_are_pooled_apart() -> None:
    model = _build(MixedViewStudent, **MIXED, num_frames=1).eval()
    maps = torch.randn(2, 5, 12, 12)
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[:8, :8] = True
    expected = [
        statistic
        for region in (mask, ~mask)
        for statistic in (
            maps[..., region].mean(-1),
            maps[..., region].std(-1, unbiased=False),
        )
    ]
    torch.testing.assert_close(model._pooled(maps), torch.cat(expected, 1), rtol=1e-4, atol=1e-4)
    # The first stage sees a few pixels around each position, so only the patches' half moves.
    model = _build(MixedViewStudent, **MIXED, num_frames=1, stages=[0]).eval()
    plain = torch.full((1, 1, 3, 96, 96), 128, dtype=torch.uint8)
    dotted = plain.clone()
    dotted[..., 80:, 80:] = 255
    whole, patches = (
        model({"mixed": dotted}).features["frames"] - model({"mixed": plain}).features["frames"]
    ).chunk(2, dim=1)
    assert whole.abs().max() < 1e-5
    assert patches.abs().max() > 1e-2


def test_the_order_of_frames_decides_only_the_frame_scores() -> None:
    model = _build(FramesStudent, **SMALL, num_frames=2).eval()
    batch = _batch(model, 1)
    turned = {name: view.flip(1) for name, view in batch.items()}
    torch.testing.assert_close(
        model(turned).frame_scores, model(batch).frame_scores.flip(1), rtol=1e-4, atol=1e-4
    )


def test_the_default_takes_the_wheel_and_costs_little() -> None:
    model = FramesStudent(num_frames=1)
    assert model.tower.info.source == "wheel"
    assert profile(model).gmacs == pytest.approx(6.04 / 8, rel=0.01)  # measured at 8 frames


@pytest.mark.parametrize(
    ("backbone", "stages"),
    [
        ("tf_efficientnet_lite1", (1, 2, 3, 4)),
        ("mobilenetv4_conv_small", (1, 2, 3, 4)),
        ("edgenext_xx_small", (0, 1, 2, 3)),
        ("convnext_atto", (0, 1, 2, 3)),
        ("fastvit_t8", (0, 1, 2, 3)),
        ("swin_tiny_patch4_window7_224", (0, 1, 2, 3)),
    ],
)
def test_every_family_of_backbones_is_counted_and_pooled_apart(
    backbone: str, stages: tuple[int, ...]
) -> None:
    options = {"backbone": backbone, "stages": stages, "num_frames": 1, "hidden": 8}
    mixed = _build(MixedViewStudent, **options, size=96, whole=64).eval()
    plain = _build(FramesStudent, **options, size=96, short_side=96, fragments=False)
    # One pass on the image, whatever it shows: the tower costs the same in both.
    assert profile(mixed).by_module["tower"] == profile(plain).by_module["tower"] > 0
    maps = mixed.tower.maps(_batch(mixed, 1)["mixed"][0])
    assert [96 // each.shape[-1] for each in maps] == mixed.tower.reductions
    assert [each.shape[1] for each in maps] == mixed.tower.channels
    assert mixed(_batch(mixed, 2)).score.shape == (2,)


def test_a_budget_names_a_frame_count_that_fits_and_the_next_that_does_not() -> None:
    kwargs = {**SMALL, "num_frames": 20}
    one = profile(_build(FramesStudent, **{**kwargs, "num_frames": 1})).gmacs
    with pytest.raises(BudgetError, match=r"student.num_frames=6 "):
        check_budget(FramesStudent, kwargs, 6.5 * one)
    check_budget(FramesStudent, {**kwargs, "num_frames": 6}, 6.5 * one)
    with pytest.raises(BudgetError):
        check_budget(FramesStudent, {**kwargs, "num_frames": 7}, 6.5 * one)


@pytest.mark.parametrize(
    ("student", "kwargs", "words"),
    [
        (FramesStudent, {"num_frames": 0}, "KeyFrames.num_frames must be an integer >= 1, got 0"),
        (FramesStudent, {"short_side": 100}, "short_side 100 is smaller than size 224"),
        (FramesStudent, {"patch": -1}, "Fragments.patch"),
        (FramesStudent, {"key_frames": False, "fragments": False}, "both off"),
        (FramesStudent, {"backbone": "test_vit", "size": 96, "stages": [5]}, "takes one size"),
        (FramesStudent, {"backbone": "nonsense"}, "no network 'nonsense'"),
        (FramesStudent, {"dropout": 1.5}, "dropout 1.5"),
        (FramesStudent, {"score_std": -1.0}, "score_std -1.0"),
        (
            FramesStudent,
            {"temporal": "mena"},
            "temporal='mena' is not a choice; did you mean mean?",
        ),
        (FramesStudent, {"bins": 1}, "bins=1: 0 for none, else an integer >= 2"),
        (FramesStudent, {"temporal": "attention", "train_frames": 1}, "set train_frames to 2 or"),
        (MixedViewStudent, {"whole": 100}, "whole 100 is no multiple of 32"),
        (MixedViewStudent, {"patch": 16, "whole": 112}, "must be multiples of 32, the pixels to"),
        (MixedViewStudent, {"hidden": 0}, "hidden 0 must be >= 1"),
        (EVQAStudent, {"size": 100}, "size 100 must be a multiple of 32"),
        (EVQAStudent, {"size": "large"}, "EVQAStudent: "),
        (EVQAStudent, {"hidden": 0}, "hidden 0 >= 1"),
        (EVQAStudent, {"num_frames": 0, "size": 64}, "EVQAStudent: KeyFrames.num_frames must be"),
        (SwinTStudent, {"num_frames": 2.5}, "KeyFrames.num_frames"),
        (SwinTStudent, {"short_side": "large"}, "SwinTStudent: "),
        (SwinTStudent, {"size": 100}, "size 100 is no multiple of 32"),
        (SwinTStudent, {"hidden": 0}, "hidden must be >= 1"),
        (SwinTStudent, {"score_mean": float("nan")}, "score_mean nan"),
    ],
)
def test_bad_options_are_named(
    student: type[QualityModel], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        _build(student, **kwargs)


def test_swin_without_weights_says_which_file_to_put_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("distill.weights.why_unreachable", lambda address: "no network")
    with pytest.raises(WeightsError, match=r"<folder>/swin_tiny_patch4_window7_224.safetensors"):
        SwinTStudent()
