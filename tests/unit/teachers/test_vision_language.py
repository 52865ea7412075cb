"""A vision-language member: the numbers of the model by hand, and nothing of it in a bundle."""

import copy
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from distill import bundle
from distill.cost import profile
from distill.data.views import KeyFrames
from distill.errors import ConfigError, WeightsError
from distill.features import fingerprint
from distill.model import TRUST_VARIABLE
from teachers.ensemble import TeacherEnsemble
from teachers.members import make_member
from teachers.vision_language import LEVELS, VisionLanguage, level_tokens
from tests.helpers.tiny_vlm import save_llava, save_qwen

ROOT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
VIEW = KeyFrames(3, 56, fit="pad")
QUESTION, ANSWER = "How would you rate the quality of this image?", "The quality of the image is"


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llava(tmp_path_factory.mktemp("llava") / "tiny")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen(tmp_path_factory.mktemp("qwen") / "tiny")


def _frames(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _by_hand(folder: Path, prompt: str, frame: Tensor, space: str = "") -> tuple[Tensor, Tensor]:
    processor = AutoProcessor.from_pretrained(folder)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder).eval()
    image = Image.fromarray(np.asarray(frame.permute(1, 2, 0)))
    inputs = processor(images=[image], text=[prompt], return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
    ids = [processor.tokenizer.vocab[f"{space}{level}"] for level in LEVELS]
    return out.hidden_states[-1][0].mean(0), out.logits[0, -1, ids].softmax(-1)


@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_features_and_probabilities_are_the_model_s(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    image, space = {
        "llava": ("<image>", ""),
        "qwen": ("<|vision_start|><|image_pad|><|vision_end|>", "Ġ"),
    }[kind]
    member = VisionLanguage(str(folder), view=VIEW)
    view = _frames(4, 3, 3, 56, 56)  # twelve frames: more than one pass
    out = member(view)
    assert out.shape == (4, 3, 32 + 5) and out.dtype == torch.float32 and not out.requires_grad
    assert (member.feature_dim, member.own_dim) == (32, 5)
    prompt = f"USER: {image} {QUESTION} ASSISTANT: {ANSWER}"
    for video, frame in ((0, 0), (2, 1), (3, 2)):
        hidden, probabilities = _by_hand(folder, prompt, view[video, frame], space)
        torch.testing.assert_close(out[video, frame, :32], hidden, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(out[video, frame, 32:], probabilities, rtol=1e-4, atol=1e-6)
    expected = (out[..., 32:] @ torch.tensor([5.0, 4, 3, 2, 1])).mean(1)
    torch.testing.assert_close(member.own_score(out), expected)
    # A frame's answer depends on no other frame and no other video.
    torch.testing.assert_close(member(view[3:]), out[3:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(member(view[:1, 1:2]), out[:1, 1:2], rtol=1e-4, atol=1e-5)
    assert torch.equal(member(view.unsqueeze(2)), out)


def test_without_a_chat_format_the_prompt_is_q_align_s(tmp_path: Path) -> None:
    folder = save_llava(tmp_path / "plain", chat=False)
    member = VisionLanguage(str(folder), view=VIEW, levels=["good", "poor"])
    view = _frames(1, 1, 3, 56, 56)
    out = member(view)
    prompt = f"USER: {QUESTION}\n<image>\nASSISTANT: {ANSWER}"
    hidden, probabilities = _by_hand(folder, prompt, view[0, 0])
    torch.testing.assert_close(out[0, 0, :32], hidden, rtol=1e-4, atol=1e-5)
    two = probabilities[[1, 3]] / probabilities[[1, 3]].sum()
    torch.testing.assert_close(out[0, 0, 32:], two, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(member.own_score(out), 1 + out[0, :, 32])


def test_the_language_model_is_in_no_state_dict_and_in_no_copy(llava: Path) -> None:
    member = VisionLanguage(str(llava), view=VIEW)
    assert member._loaded.model is None
    member(_frames(1, 1, 3, 56, 56))
    assert set(member.state_dict()) == {"reference"} and not list(member.parameters())
    twin = copy.deepcopy(member)
    assert twin._loaded.model is member._loaded.model is not None
    assert not any(module.training for module in member.train().modules())


def test_it_is_asked_in_its_own_precision_under_autocast(llava: Path) -> None:
    member, view = VisionLanguage(str(llava), view=VIEW), _frames(1, 2, 3, 56, 56)
    plain = member(view)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(member(view), plain)
    halved = VisionLanguage(str(llava), view=VIEW, dtype="bfloat16")(view)
    assert halved.dtype == torch.float32 and not torch.equal(halved, plain)
    torch.testing.assert_close(halved, plain, rtol=0.1, atol=0.1)


def test_everything_that_changes_features_changes_the_fingerprint(
    llava: Path, tmp_path: Path
) -> None:
    def print_of(folder: Path = llava, **options: Any) -> str:
        return fingerprint(VisionLanguage(str(folder), view=VIEW, **options), VIEW, CPU)

    assert print_of() == print_of(shutil.copytree(llava, tmp_path / "moved" / "tiny"))
    prints = {
        print_of(),
        print_of(question="How is this image?"),
        print_of(answer="The image is"),
        print_of(levels=["good", "bad"]),
        print_of(dtype="bfloat16"),
        print_of(save_llava(tmp_path / "other" / "tiny", seed=1)),
    }
    assert len(prints) == 6


def test_a_teacher_s_cost_is_counted_without_the_weights(
    llava: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"kind": "vision_language", "model": str(llava), "head": "own"}
    options |= {"view": {"kind": "key_frames", "num_frames": 2, "size": 56, "fit": "pad"}}
    teacher = TeacherEnsemble({"asked": options}, fusion="mean").eval()
    with caplog.at_level(logging.INFO):
        assert profile(teacher).gmacs < 1e-6
        assert "its GMACs are not counted yet" in caplog.text
        assert teacher.members["asked"]._loaded.model is None  # type: ignore[union-attr]
        says = teacher({"asked": _frames(2, 2, 3, 56, 56)})
    assert " GMACs a frame" in caplog.text
    assert says.frame_scores is not None and says.frame_scores.shape == (2, 2)
    assert ((says.score > 1) & (says.score < 5)).all()
    torch.testing.assert_close(says.frame_scores.mean(1), says.score)
    fused = TeacherEnsemble({"asked": {**options, "head": "new"}}, hidden=8)
    assert profile(fused).gmacs > 0
    assert fused(
        {"asked": _frames(2, 2, 3, 56, 56)},
    ).features["asked"].shape == (2, 32)  # fmt: skip


def test_the_recipes_of_published_models_can_be_built(qwen: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("filename,score\na.mp4,3\n")
    for name, found in (
        ("q_realign", {"model": str(qwen)}),
        ("q_align", {"table": str(tmp_path / "scores.csv")}),
        ("deqa", {"table": str(tmp_path / "scores.csv")}),
    ):
        recipe = yaml.safe_load((ROOT / "conf" / "teacher" / f"{name}.yaml").read_text())
        assert recipe.pop("_target_") == "teachers.ensemble.TeacherEnsemble"
        recipe["members"][name] |= found
        teacher = TeacherEnsemble(**recipe)
        assert not list(teacher.parameters())
        batch = {n: _frames(2, *v.shape) & 63 for n, v in teacher.views.items()}  # finite float64s
        assert teacher(batch).score.shape == (2,)


def test_a_bundle_refers_to_the_model_and_refuses_another(llava: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llava, tmp_path / "tiny")
    options = {"kind": "vision_language", "model": str(folder), "head": "own"}
    options |= {"view": {"kind": "key_frames", "num_frames": 2, "size": 56, "fit": "pad"}}
    kwargs = {"members": {"asked": options}, "fusion": "mean"}
    trained = TeacherEnsemble(**kwargs)  # type: ignore[arg-type]
    batch = {"asked": _frames(2, 2, 3, 56, 56)}
    expected = trained(batch).score
    assert trained.licenses() == [f"tiny {trained.members['asked'].identity}: unknown"]
    rebuilt = TeacherEnsemble(**json.loads(json.dumps(kwargs)), weights="none")
    with pytest.raises(WeightsError, match="tiny is frozen and its weights are random"):
        rebuilt(batch)
    rebuilt.load_state_dict(trained.state_dict(), strict=True)
    assert torch.equal(rebuilt(batch).score, expected)

    state = load_file(folder / "model.safetensors")
    save_file(
        {k: v + 1e-3 for k, v in state.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    later = TeacherEnsemble(**kwargs, weights="none")  # type: ignore[arg-type]
    later.load_state_dict(trained.state_dict(), strict=True)
    with pytest.raises(WeightsError, match=r"made with .*; put those files there"):
        later(batch)
    save_file(
        {k: v for k, v in state.items() if "lm_head" not in k},
        folder / "model.safetensors", {"format": "pt"},
    )  # fmt: skip
    with pytest.raises(WeightsError, match=r"1 weights are missing, as lm_head\.weight"):
        TeacherEnsemble(**kwargs)(batch)  # type: ignore[arg-type]


def test_a_model_of_the_hub_is_known_by_its_commit(
    llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, repository = "c0ffee" + "0" * 34, tmp_path / "models--someone--tiny"
    shutil.copytree(llava, repository / "snapshots" / commit)
    card = repository / "snapshots" / commit / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\nA model.\n")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    member = VisionLanguage("someone/tiny", view=VIEW)
    assert member.identity == commit and member.info.detail == f"someone/tiny {commit}"
    assert member.info.license == "apache-2.0" and commit in repr(member)
    view = _frames(1, 1, 3, 56, 56)
    torch.testing.assert_close(member(view), VisionLanguage(str(llava), view=VIEW)(view))
    # main moved on: a state dict still gets the files it was made with.
    (repository / "refs" / "main").write_text("d" * 40)
    save_llava(repository / "snapshots" / ("d" * 40), seed=1)
    later = VisionLanguage("someone/tiny", view=VIEW, weights="none")
    later.load_state_dict(member.state_dict())
    assert torch.equal(later(view), member(view))
    assert not torch.equal(VisionLanguage("someone/tiny", view=VIEW)(view), member(view))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError) as error:
        VisionLanguage("q-future/nowhere", revision="abc")
    for words in (
        "q-future/nowhere",
        "hf download q-future/nowhere --revision abc",
        "model=FOLDER",
    ):
        assert words in str(error.value)
    with pytest.raises(WeightsError, match="no such folder, and no OWNER/NAME"):
        VisionLanguage(str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match=r"the folder has no config\.json"):
        VisionLanguage(str(tmp_path))
    monkeypatch.setitem(sys.modules, "transformers", None)
    for name in ("teachers.vision_language", "teachers.hub_models"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=r"transformers: pip install 'distill-vqa.vision_langu"):
        make_member("m", {"kind": "vision_language", "model": "a/b"})


def test_code_of_a_repository_runs_only_where_it_is_trusted(tmp_path: Path) -> None:
    stated = {"model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    (tmp_path / "odd.py").write_text("raise RuntimeError('this code ran')")
    with pytest.raises(ConfigError, match=r"odd\.OddConfig.*trust_remote_code=true and revision"):
        VisionLanguage(str(tmp_path))
    with pytest.raises(WeightsError, match=r"this code ran.*kind: file_scores"):
        VisionLanguage(str(tmp_path), trust_remote_code=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": ["good"]}, "two or more words"),
        ({"levels": "good"}, "two or more words"),
        ({"dtype": "float16"}, "dtype='float16' is not a choice"),
        ({"weights": "hub"}, "weights='hub' is not a choice"),
    ],
)
def test_nonsense_is_refused(options: dict, words: str, llava: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        VisionLanguage(str(llava), **options)


def test_levels_need_tokens_of_their_own(llava: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(llava).tokenizer
    ids = tokenizer.convert_tokens_to_ids(["good", "bad"])
    assert level_tokens(tokenizer, ANSWER, ["good quality", "bad"]) == ids  # its first token
    with pytest.raises(ConfigError, match="'good' and 'good image' begin with the same token"):
        level_tokens(tokenizer, ANSWER, ["good", "good image"])
    with pytest.raises(ConfigError, match="no token for 'splendid'"):
        level_tokens(tokenizer, ANSWER, ["splendid", "bad"])
    with pytest.raises(ConfigError, match="'splendid' after"):
        VisionLanguage(str(llava), levels=["splendid", "bad"], view=VIEW)(_frames(1, 1, 3, 56, 56))


def test_a_bundle_s_own_word_on_remote_code_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = {"members": {"m": {"kind": "vision_language", "trust_remote_code": True}}, "list": [1]}
    untrusted = {**spec, "members": {"m": {**spec["members"]["m"], "trust_remote_code": False}}}  # type: ignore[index,call-overload]
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    assert bundle._untrusted(spec) == untrusted
    monkeypatch.setenv(TRUST_VARIABLE, "1")
    assert bundle._untrusted(spec) == spec
