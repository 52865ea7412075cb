"""LIQE as a member: files, views, scores and costs; on towers of one layer but for the costs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from conf import __file__ as conf_file
from distill.cost import profile
from distill.data.views import KeyFrames, NativePatches, TexturePatches
from distill.errors import ConfigError, WeightsError
from teachers import liqe
from teachers.clip import Clip, ImageTower
from teachers.ensemble import TeacherEnsemble
from teachers.liqe import (
    FILES,
    Liqe,
    distortion_marginal,
    expected_quality,
    quality_marginal,
    scene_marginal,
)
from teachers.liqe_prompts import DISTORTIONS, QUALITIES, SCENES

VIEW = NativePatches(num_frames=3, num_patches=2)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Of one layer in each tower, float16 as CLIP is published."""
    torch.manual_seed(0)
    return {key: value.half() for key, value in Clip(layers=1).state_dict().items()}


@pytest.fixture(scope="module")
def file(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the authors publish it."""
    path = tmp_path_factory.mktemp("weights") / "LIQE.pt"
    torch.save(state, path)
    return path


@pytest.fixture(autouse=True)
def one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full towers would take seconds a test; tests/reference has them."""
    monkeypatch.setattr(liqe, "Clip", partial(Clip, layers=1))
    monkeypatch.setattr(liqe, "ImageTower", partial(ImageTower, layers=1))


@pytest.fixture(scope="module")
def member(file: Path) -> Iterator[Liqe]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liqe, "Clip", partial(Clip, layers=1))
        yield Liqe(weights=str(file), view=VIEW)


def _patches(videos: int = 2, frames: int = 3, patches: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (videos, frames, patches, 3, 224, 224)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """To a part of the spread, by which frames differ, too."""
    atol = tolerance * float(expected.std())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_a_frame_s_logits_are_the_mean_over_its_patches(member: Liqe) -> None:
    patches = _patches()
    logits = member(patches)
    assert logits.shape == (2, 3, 495)
    assert logits.dtype == torch.float32

    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    image = member.visual((patches[1, 2] / 255 - mean) / std)
    cosines = torch.cosine_similarity(image[:, None], member.prompt_vectors[None], dim=-1)
    _close(logits[1, 2], member.logit_scale.exp() * cosines.mean(0))


def test_videos_frames_and_chunks_do_not_mix(member: Liqe, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = _patches()
    logits = member(patches)
    _close(member(patches[1:]), logits[1:])
    _close(member(patches[:, 1:2]), logits[:, 1:2])
    monkeypatch.setattr(liqe, "PATCHES_AT_A_TIME", 5)
    _close(member(patches), logits)
    assert member(_patches(1, 1, 5)).shape == (1, 1, 495)  # as train_patches may have it


def test_every_wrapping_gives_the_same_network(
    member: Liqe, state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({"params": {f"clip_model.{k}": v for k, v in state.items()}}, tmp_path / "p.pt")
    save_file(state, tmp_path / "s.safetensors")
    for path in sorted(tmp_path.iterdir()):
        loaded = Liqe(weights=str(path), view=VIEW)
        ours = member.state_dict()
        assert all(torch.equal(value, ours[key]) for key, value in loaded.state_dict().items())
        assert (loaded.info.source, loaded.info.license) == ("file", "unknown")
    assert "states CC-BY-NC-SA-4.0" in member.info.license
    assert member.info.detail.startswith("LIQE.pt, sha256 ")


def test_what_is_kept_is_the_image_tower_and_the_prompts_in_float32(member: Liqe) -> None:
    kept = member.state_dict()
    assert {key.split(".")[0] for key in kept} == {
        "visual", "prompt_vectors", "logit_scale", "mean", "std"
    }  # fmt: skip
    assert {value.dtype for value in kept.values()} == {torch.float32}
    assert member.prompt_vectors.shape == (495, 512)
    torch.testing.assert_close(member.prompt_vectors.norm(dim=-1), torch.ones(495))


def test_five_prompts_on_quality_alone(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.symlink_to(file)
    member = Liqe(prompts="koniq", weights=str(path), view=VIEW)
    logits = member(_patches(1))
    assert logits.shape == (1, 3, member.feature_dim) == (1, 3, 5)
    expected = (logits.softmax(-1) * torch.arange(1, 6)).sum(-1).mean(-1)
    torch.testing.assert_close(member.own_score(logits), expected)


def test_the_score_is_the_mean_of_the_frames_expectations() -> None:
    member = Liqe(weights="none", view=VIEW)
    logits = 3 * torch.randn(2, 4, 495, dtype=torch.float64)
    p = np.exp(logits.numpy())
    p /= p.sum(-1, keepdims=True)
    # Quality is the slowest of the three: 99 prompts of each.
    levels = np.repeat(np.arange(1, 6), 99)
    expected = (p * levels).sum(-1).mean(-1)
    np.testing.assert_allclose(member.own_score(logits).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("quality", "scene", "distortion"),
    [("bad", "animal", "jpeg2000 compression"), ("perfect", "still_life", "noise")],
)
def test_marginals_name_what_a_prompt_names(quality: str, scene: str, distortion: str) -> None:
    prompt = f"a photo of a {scene} with {distortion} artifacts, which is of {quality} quality"
    logits = torch.zeros(2, 495, dtype=torch.bfloat16)
    logits[1, liqe.PROMPTS["mix"].index(prompt)] = 30
    for marginal, names, name in (
        (quality_marginal, QUALITIES, quality),
        (scene_marginal, SCENES, scene),
        (distortion_marginal, DISTORTIONS, distortion),
    ):
        uniform, sure = marginal(logits)
        torch.testing.assert_close(uniform, torch.full((len(names),), 1 / len(names)))
        assert sure[names.index(name)] > 0.999
    level = QUALITIES.index(quality) + 1
    torch.testing.assert_close(expected_quality(logits), torch.tensor([3.0, float(level)]))


def test_autocast_leaves_logits_and_scores_in_float32(member: Liqe) -> None:
    patches = _patches()
    expected = member(patches)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = member(patches)
        score = member.own_score(logits)
    assert logits.dtype == score.dtype == torch.float32
    _close(logits, expected, 0.1)
    assert torch.equal(score, member.own_score(logits))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_image_tower_trains_and_the_prompts_do_not(file: Path, checkpointing: bool) -> None:
    member = Liqe(weights=str(file), view=VIEW, trainable=True, lr=5e-6).train()
    before = member.prompt_vectors.clone()
    runs: list[int] = []
    member.visual.transformer.resblocks[0].register_forward_pre_hook(lambda *_: runs.append(1))
    if checkpointing:
        member.checkpoint_gradients()
    member(_patches(1))[..., 0].sum().backward()
    grads = {name: p.grad for name, p in member.named_parameters()}
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads.values())
    assert all(name.startswith("visual.") for name in grads)
    assert len(runs) == 1 + checkpointing  # once more on the way back
    assert torch.equal(member.prompt_vectors, before)

    plain = Liqe(weights=str(file), view=VIEW, trainable=True)
    plain(_patches(1))[..., 0].sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_frozen_gives_no_gradient_and_refuses_random_weights(member: Liqe) -> None:
    assert not member.train().training
    assert not member(_patches(1)).requires_grad
    empty = Liqe(weights="none", view=VIEW)
    with pytest.raises(WeightsError, match="LIQE is frozen and its weights are random"):
        empty(_patches(1))
    empty.load_state_dict(member.state_dict(), strict=True)
    assert torch.equal(empty(_patches(1)), member(_patches(1)))
    with pytest.raises(TypeError, match="must be uint8"):
        member(_patches(1).float())


def test_a_bundle_rebuilds_it_without_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = {"kind": "native_patches", "num_frames": 3, "num_patches": 2}
    options = {"kind": "liqe", "head": "own", "weights": str(file), "view": view}
    teacher = TeacherEnsemble({"liqe": options}, fusion="mean").eval()
    batch = {"liqe": _patches()}
    score = teacher(batch).score
    logits = teacher.frozen_features(batch)["features/liqe"]
    torch.testing.assert_close(score, expected_quality(logits).mean(-1))

    monkeypatch.setattr(liqe, "Clip", None)
    rebuilt = TeacherEnsemble({"liqe": options}, fusion="mean", weights="none").eval()
    rebuilt.load_state_dict(teacher.state_dict(), strict=True)
    assert torch.equal(rebuilt(batch).score, score)


def test_the_cost_is_vit_b_32_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liqe, "ImageTower", ImageTower)
    view = {"kind": "native_patches", "num_frames": 1, "num_patches": 1}
    member = {"kind": "liqe", "head": "own", "trainable": True, "weights": "none", "view": view}
    cost = profile(TeacherEnsemble({"liqe": member}, fusion="mean"))
    assert cost.gmacs == pytest.approx(4.4, rel=0.01)  # the published number
    tokens, width = 50, 768
    layer = 12 * tokens * width**2 + 2 * tokens**2 * width
    expected = 12 * layer + 49 * 3 * 32**2 * width + width * 512 + 512 * 495
    assert cost.gmacs - cost.by_operator["layer_norm"] == pytest.approx(expected / 1e9, rel=1e-6)
    assert cost.params_m == pytest.approx(87.849, abs=1e-3)


def test_the_recipe_is_rq_vqa_s_view(file: Path) -> None:
    recipe: Any = OmegaConf.to_container(
        OmegaConf.load(Path(str(conf_file)).parent / "teacher" / "liqe.yaml")
    )
    assert recipe.pop("_target_") == "teachers.ensemble.TeacherEnsemble"
    teacher = TeacherEnsemble(**recipe, weights="none")
    rq_vqa = NativePatches(8, 15, 224, 32, short_side=None, sampling="second_start")
    assert teacher.views["liqe"] == Liqe(weights="none").view == rq_vqa
    assert rq_vqa.shape == (8, 15, 3, 224, 224)


def test_a_missing_file_is_told_with_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    monkeypatch.delenv("DISTILL_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"liqe_mix.pt is missing .*LIQE.pt.* Google Drive"):
        Liqe()
    with pytest.raises(WeightsError, match=r"liqe_koniq.pt is missing"):
        Liqe(prompts="koniq")
    with pytest.raises(WeightsError, match=r"gone.pt: no such file; give .* of liqe_mix.pt"):
        Liqe(weights=str(tmp_path / "gone.pt"))
    for file in FILES.values():
        assert file.url.endswith(f"/chaofengc/IQA-PyTorch-Weights/resolve/main/{file.name}")


def test_auto_finds_either_name_in_the_folder(
    file: Path, member: Liqe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_WEIGHTS", str(file.parent))
    assert torch.equal(Liqe().prompt_vectors, member.prompt_vectors)


def _of(kind: str, state: dict[str, Tensor]) -> object:
    if kind == "visual":
        return {k: v for k, v in state.items() if k.startswith("visual.")}
    if kind == "extra":
        return {**state, "head.weight": torch.zeros(1)}
    if kind == "shape":
        return {**state, "text_projection": torch.zeros(512, 768)}
    return nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("visual", "does not fit LIQE .*missing: "),
        ("extra", "not of this network: head.weight"),
        ("shape", r"other shape: text_projection \(512, 768\) instead of \(512, 512\)"),
        ("code", "would run code"),
    ],
)
def test_other_files_are_refused(
    kind: str, words: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(_of(kind, state), tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=words):
        Liqe(weights=str(tmp_path / "x.pt"))


def test_weights_of_the_other_prompts_are_refused_by_their_name(file: Path) -> None:
    with pytest.raises(WeightsError, match=r"LIQE.pt: was trained with other .* prompts=mix"):
        Liqe(prompts="koniq", weights=str(file))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompts": "konic"}, "prompts='konic' is not a choice; did you mean koniq"),
        ({"view": KeyFrames()}, "view: LIQE does not take KeyFrames"),
        ({"view": NativePatches(patch=256)}, "native_patches or texture_patches with patch 224"),
    ],
)
def test_bad_options_are_named(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Liqe(weights="none", **options)


def test_texture_patches_fit_too() -> None:
    view = TexturePatches(num_frames=2, num_patches=3)
    member = Liqe(weights="none", view=view, trainable=True)
    assert member(_patches(1, *view.shape[:2])).shape == (1, 2, 495)
