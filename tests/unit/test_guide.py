"""A teacher beside the student: which views match, what is compared, and who never sees it."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distill.bundle import Bundle
from distill.committee import Committee
from distill.data.dataset import Batch, Example, Sample, collate
from distill.data.manifest import Row
from distill.errors import ConfigError
from distill.guide import Guide
from distill.label_options import GuideConfig
from distill.losses import WeightedLoss, srcc_loss
from distill.metrics import Logistic4
from distill.options import TrainingConfig
from distill.training import QualityModule
from students.frames import FramesStudent
from teachers.ensemble import TeacherEnsemble

FRAMES = {"kind": "key_frames", "num_frames": 3, "size": 64, "short_side": 64}
FRAGMENTS = {"kind": "fragments", "grid": 2, "patch": 32, "num_clips": 2, "clip_len": 1}
OTHER = {**FRAMES, "size": 32, "short_side": 32}
TOY = {"backbone": "test_efficientnet", "weights": "none", "trainable": True}


def student(**options: object) -> FramesStudent:
    torch.manual_seed(1)
    given = {"num_frames": 2, "size": 64, "short_side": 64, "grid": 2, "hidden": 8, "dropout": 0.0,
             "stages": [1, 3], **options}  # fmt: skip
    return FramesStudent("test_efficientnet", weights="none", **given)  # type: ignore[arg-type]


def teacher(**views: dict[str, object]) -> TeacherEnsemble:
    torch.manual_seed(2)
    members = {name: {**TOY, "view": view, "stages": [2, 3]} for name, view in views.items()}
    return TeacherEnsemble(members, hidden=4, score_mean=3.0).eval()


def bundle(model, calibration: Logistic4 | None = None) -> Bundle:
    return Bundle(model, {"fingerprint": "f", "licenses": []}, Path("t"), calibration)


def batch_of(model, count: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(7)
    samples = []
    for at in range(count):
        views = {
            name: torch.randint(0, 256, view.shape, dtype=torch.uint8, generator=generator)
            for name, view in model.views.items()
        }
        samples.append(Sample(at, Example(Row(str(at), Path(str(at))), float(at)), views))
    return collate(samples)


def guided(guide: Guide, model, batch: Batch, loss: WeightedLoss) -> dict[str, Tensor]:
    with guide.watch(model, batch.views):
        prediction = model(batch.views)
    return guide.loss(prediction, batch, loss)[1]


def test_a_teacher_of_the_same_views_gives_its_fused_score_through_its_calibration() -> None:
    model, taught = student(), teacher(a=FRAMES, b=FRAGMENTS)
    curve = Logistic4(4.0, 1.0, 3.0, 0.1)
    guide = Guide(model, bundle(taught, curve), GuideConfig("t", score=2.0))
    assert guide.matches == {"a": "frames", "b": "fragments"}
    batch, loss = batch_of(model), WeightedLoss({"srcc": 1.0, "mse": 1.0})
    prediction = model(batch.views)
    with torch.no_grad():
        raw = taught({"a": batch.views["frames"], "b": batch.views["fragments"]}).score
    target = torch.as_tensor(curve(raw.double().numpy())).float()
    total, parts = guide.loss(prediction, batch, loss)
    assert parts.keys() == {"guide_score"}
    torch.testing.assert_close(total, 2 * loss(prediction.score, target)[0])
    batch.weight[2:] = 0  # only videos that count
    expected = srcc_loss(prediction.score[:2], target[:2])
    total, _ = guide.loss(prediction, batch, WeightedLoss({"srcc": 1.0}))
    torch.testing.assert_close(total, 2 * expected)


@pytest.mark.parametrize("chunk", [None, 2])
def test_members_of_matching_views_speak_for_a_teacher_that_sees_more(chunk: int | None) -> None:
    model, taught = student(), teacher(a=FRAMES, c=OTHER, b=FRAGMENTS)
    guide = Guide(model, bundle(taught), GuideConfig("t", score=1.0), chunk)
    assert guide.matches == {"a": "frames", "b": "fragments"}
    batch, loss = batch_of(model), WeightedLoss({"mse": 1.0})
    views = {"a": batch.views["frames"], "b": batch.views["fragments"]}
    with torch.no_grad():
        views["c"] = torch.zeros((5, 3, 3, 32, 32), dtype=torch.uint8)
        says = taught(views).member_scores
        mine = model(batch.views).score
    expected = (mine - (says["a"] + says["b"]) / 2).square().mean()
    torch.testing.assert_close(guided(guide, model, batch, loss)["guide_score"], expected)


def test_members_of_a_committee_speak_as_their_mean() -> None:
    options = {"members": {"a": {**TOY, "view": FRAMES}, "c": {**TOY, "view": OTHER}}, "hidden": 4}
    target = {"_target_": "teachers.ensemble.TeacherEnsemble", **options}
    committee = Committee(target, 2)
    states = []
    for seed in range(2):
        torch.manual_seed(seed)
        states.append(TeacherEnsemble(**options).state_dict())  # type: ignore[arg-type]
    committee.fill(states)
    frames = batch_of(student()).views["frames"]
    small = torch.zeros((5, 3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        alone = committee.scores_of({"a": frames})
        whole = committee({"a": frames, "c": small}).member_scores
    assert alone.keys() == {"a"}
    torch.testing.assert_close(alone["a"], whole["a"])


@pytest.mark.parametrize("chunk", [None, 2])
def test_features_are_the_cosine_of_maps_of_one_grid(chunk: int | None) -> None:
    model, taught = student(), teacher(a=FRAMES, b=FRAGMENTS)
    guide = Guide(model, bundle(taught), GuideConfig("t", features=1.0), chunk)
    tower, member = model.tower, taught.members["a"]
    sides = [64 // r for r in tower.reductions], [64 // r for r in member.reductions]
    assert len(guide.projections) == 2 * len(set(sides[0]) & set(sides[1])) > 0
    batch = batch_of(model)
    found = guided(guide, model, batch, WeightedLoss({"mse": 1.0}))
    assert found.keys() == {"guide_features"}
    each, at = [], 0
    with torch.no_grad():
        for name, view in (("a", "frames"), ("b", "fragments")):
            pixels = batch.views[view].flatten(0, -4)
            theirs, mine = taught.members[name].maps(pixels), tower.maps(pixels)
            for other in theirs:
                alike = [x for x in mine if x.shape[-1] == other.shape[-1]]
                if alike:
                    cosine = torch.cosine_similarity(guide.projections[at](alike[-1]), other)
                    each.append((1 - cosine).mean())
                    at += 1
    torch.testing.assert_close(found["guide_features"], torch.stack(each).mean())
    assert tower.taps == [] and member.taps == []


def test_a_projection_can_learn_the_features_of_the_network_itself() -> None:
    model = student(key_frames=False)
    guide = Guide(model, bundle(copy.deepcopy(model)), GuideConfig("t", features=1.0))
    for layer in guide.projections:
        torch.nn.init.dirac_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    found = guided(guide, model, batch_of(model), WeightedLoss({"mse": 1.0}))
    assert found["guide_features"].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("chunk", [None, 2])
def test_training_moves_student_and_projections_and_knows_no_weight_of_the_teacher(
    chunk: int | None,
) -> None:
    model, taught = student(), teacher(a=FRAMES)
    before = copy.deepcopy(taught.state_dict())
    guide = Guide(model, bundle(taught), GuideConfig("t", score=1.0, features=1.0), chunk)
    training = TrainingConfig(chunk=chunk)
    module = QualityModule(model, WeightedLoss({"mse": 1.0}), training, 0, guide=guide)
    module.log = module.log_dict = lambda *a, **k: None  # type: ignore[method-assign,assignment]
    module.training_step(batch_of(model), 0).backward()
    assert all(p.grad is not None and p.grad.any() for p in guide.parameters())
    assert model.tower.net.conv_stem.weight.grad is not None
    assert not any(p.requires_grad or p.grad is not None for p in taught.parameters())
    torch.testing.assert_close(taught.state_dict(), before)
    names = [name for name in module.state_dict() if not name.startswith(("model.", "agreement"))]
    assert names and all(name.startswith("guide.projections.") for name in names)
    assert copy.deepcopy(module).guide.bundle.model is taught  # as the averaged weights' copy has
    nothing = QualityModule(model, WeightedLoss({"mse": 1.0}), training, 0, guide=guide)
    nothing.log = nothing.log_dict = lambda *a, **k: None  # type: ignore[method-assign,assignment]
    broken = collate([Sample(0, Example(Row("a", Path("a"))), {}, error="broken")])
    assert nothing.training_step(broken, 0).item() == 0


def test_chunks_change_no_gradient_of_a_guided_step() -> None:
    gradients = []
    for chunk in (None, 2):
        model = student()
        guide = Guide(model, bundle(teacher(a=FRAMES)), GuideConfig("t", 1.0, 1.0), chunk)
        for layer in guide.projections:
            torch.nn.init.constant_(layer.weight, 0.1)
        module = QualityModule(
            model, WeightedLoss({"plcc": 1.0}), TrainingConfig(chunk=chunk), 0, guide=guide
        )
        module.log = module.log_dict = lambda *a, **k: None  # type: ignore[method-assign,assignment]
        module.training_step(batch_of(model), 0).backward()
        gradients.append([p.grad for p in module.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_a_guide_tells_what_its_teacher_is_not_used_to(caplog: pytest.LogCaptureFixture) -> None:
    model = student()
    with caplog.at_level("INFO"):
        Guide(model, bundle(teacher(a=FRAMES)), GuideConfig("t", score=1.0)).tell(model)
        assert caplog.messages == ["guide: the teacher's view a sees the student's frames"]
        far = teacher(a={**FRAMES, "short_side": 128})
        Guide(model, bundle(far), GuideConfig("t", score=1.0)).tell(model)
    assert "with short_side=128 (the student's: 64)" in caplog.messages[-1]


def test_what_cannot_be_matched_says_what_both_have() -> None:
    model = student()
    with pytest.raises(ConfigError) as caught:
        Guide(model, bundle(teacher(c=OTHER)), GuideConfig("some/dir", score=1.0))
    for part in ("guide.bundle=some/dir: no view", "c: KeyFrames (3, 3, 32, 32)",
                 "frames: KeyFrames (2, 3, 64, 64)", "fragments: Fragments"):  # fmt: skip
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="no members that score by themselves, and not all"):
        Guide(student(fragments=False), bundle(student()), GuideConfig("d", score=1.0))
    with pytest.raises(
        ConfigError, match=r"guide.features=0.5: no feature map .*a: 8x8, 4x4\) .*32x32"
    ):
        coarse = teacher(a=FRAMES)
        Guide(student(stages=[0, 1]), bundle(coarse), GuideConfig("d", features=0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": 1.0}, "guide.score=1, guide.features=0: no teacher"),
        ({"bundle": "d"}, "guide.bundle=d teaches nothing"),
        ({"bundle": "d", "score": -1.0}, "guide.score=-1.0"),
    ],
)
def test_options_that_say_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GuideConfig(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)
