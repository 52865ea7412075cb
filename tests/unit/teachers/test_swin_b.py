"""The Swin-B member, on Swin-T: files, messages, gradients, and that frames do not mix."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from distill.data.views import KeyFrames
from distill.errors import ConfigError, WeightsError
from teachers import swin_b
from teachers.bot import BoTStack
from teachers.members import make_member
from teachers.swin_b import SwinB

TIMM, TORCHVISION = "swin_tiny_patch4_window7_224", "torchvision/swin_t"
VIEW = KeyFrames(num_frames=3, size=64)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint laid out as RQ-VQA's LSVQ file, of a Swin-T under today's names of timm."""
    torch.manual_seed(1)
    state = timm.create_model(TIMM, num_classes=0).state_dict()
    state = {f"feature_extraction.{key}": tensor for key, tensor in state.items()}
    path = tmp_path_factory.mktemp("swin") / "lsvq.pth"
    torch.save(state | {"quality.0.weight": torch.zeros(128, 1024)}, path)
    yield path
    path.unlink()


def _view(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (batch, *VIEW.shape), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("backbone", [TIMM, TORCHVISION])
@pytest.mark.parametrize("bot", [False, True])
def test_frames_do_not_mix(backbone: str, bot: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    member = SwinB(backbone, "none", bot, VIEW, trainable=True).eval()
    view = _view(2)
    features = member(view)
    assert features.shape == (2, 3, 768) == (2, 3, member.feature_dim)
    torch.testing.assert_close(member(view[1:, 2:]), features[1:, 2:], rtol=1e-4, atol=1e-5)
    assert torch.equal(member(view.unflatten(1, (3, 1))), features)  # (B, N, T, ...)
    monkeypatch.setattr(swin_b, "AT_ONCE", 4)
    torch.testing.assert_close(member(view), features, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = member(view)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, features, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("backbone", [TIMM, TORCHVISION])
def test_every_parameter_has_a_gradient_and_checkpointing_keeps_it(backbone: str) -> None:
    member = SwinB(backbone, "none", True, VIEW, trainable=True)
    assert member.bot is not None
    for block in member.bot.net:  # at 0 it hides the block
        torch.nn.init.ones_(block.net[8].weight)  # type: ignore[index,union-attr,arg-type]
    gradients, statistics = [], []
    start = {key: value.clone() for key, value in member.state_dict().items()}
    for _ in range(2):
        member.load_state_dict(start)
        member.zero_grad()
        torch.manual_seed(3)  # of stochastic depth
        member(_view(1)).square().sum().backward()
        gradients.append({key: p.grad for key, p in member.named_parameters()})
        statistics.append({key: value.clone() for key, value in member.bot.named_buffers()})
        member.checkpoint_gradients()
    for key, gradient in gradients[0].items():
        assert gradient is not None, key
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-3, atol=1e-4)
    counted = [value for key, value in statistics[1].items() if key.endswith("tracked")]
    assert counted
    assert all(int(count) == 1 for count in counted)  # each batch once, in training
    assert all(torch.equal(statistics[0][key], value) for key, value in statistics[1].items())


def test_frozen_is_always_evaluation_and_never_random(file: Path) -> None:
    member = SwinB(TIMM, "none", False, VIEW)
    with pytest.raises(WeightsError, match="SwinB is frozen and its weights are random"):
        member(_view(1))
    known = SwinB(TIMM, str(file), False, VIEW).train()
    assert not any(module.training for module in known.modules())
    features = known(_view(1))
    assert not features.requires_grad
    member.load_state_dict(known.state_dict())
    assert torch.equal(member(_view(1)), features)
    assert known.info.source == "file"
    assert str(member) == str(known) != str(SwinB(TIMM, "none", False, KeyFrames(3, 96)))


def test_a_stack_is_filled_or_learned_but_never_frozen_at_random(
    file: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"bot=true, trainable=false: lsvq\.pth holds no BoT"):
        SwinB(TIMM, str(file), True, KeyFrames(3, 224))
    started = SwinB(TIMM, str(file), True, KeyFrames(3, 224), trainable=True)  # RQ-VQA's way
    assert started.info.source == "file"

    torch.manual_seed(4)
    stack = {f"bot4.{key}": tensor for key, tensor in BoTStack(768, 7).state_dict().items()}
    path = tmp_path / "rq_vqa.pth"
    whole = torch.load(file) | stack
    torch.save({f"module.{key}": tensor for key, tensor in whole.items()}, path)
    with pytest.raises(WeightsError, match=r"rq_vqa\.pth: holds a BoT stack .* set bot=true"):
        SwinB(TIMM, str(path), False, KeyFrames(3, 224))
    loaded = SwinB(TIMM, str(path), True, KeyFrames(3, 224)).state_dict()
    assert all(torch.equal(loaded[key.replace("bot4", "bot")], stack[key]) for key in stack)
    with pytest.raises(WeightsError, match=r"does not fit the BoT stack .*rel_height \(13, 128\)"):
        SwinB(TIMM, str(path), True, KeyFrames(3, 256))  # a map of 8 positions


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_checkpoints_load_strictly(file: Path, tmp_path: Path, change: str) -> None:
    state = torch.load(file)
    if change == "missing":
        del state["feature_extraction.norm.weight"]
    else:
        state["fusion.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "changed.pth")
    key = "missing: norm.weight" if change == "missing" else "not of this network: fusion.weight"
    with pytest.raises(WeightsError, match=rf"changed\.pth: does not fit {TIMM}; {key}"):
        SwinB(TIMM, str(tmp_path / "changed.pth"), False, VIEW)


def test_another_swin_is_told_apart(file: Path, tmp_path: Path) -> None:
    state = torchvision.models.swin_t().state_dict()
    names = {f"feature_extraction.{k}": v for k, v in state.items() if not k.startswith("head")}
    torch.save(names, tmp_path / "minimalistic.pth")
    torch.save(state, tmp_path / "swin_t.pth")
    for name in ("minimalistic.pth", "swin_t.pth"):
        path = str(tmp_path / name)
        with pytest.raises(
            WeightsError, match=r"its Swin is torchvision's.* set backbone, to torc"
        ):
            SwinB(TIMM, path, False, VIEW)
        loaded = SwinB(TORCHVISION, path, False, VIEW).net.state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in loaded)
    with pytest.raises(WeightsError, match="its Swin is not torchvision's"):
        SwinB(TORCHVISION, str(file), False, VIEW)
    with pytest.raises(WeightsError, match=r"its windows are 7 wide, those of swin_base.* 12;"):
        SwinB("swin_base_patch4_window12_384", str(file), False, VIEW)


def test_a_file_of_the_backbone_keeps_its_windows_at_another_size(tmp_path: Path) -> None:
    net = timm.create_model(TIMM)
    torch.save({"model": net.state_dict()}, tmp_path / "imagenet.pth")
    member = SwinB(TIMM, str(tmp_path / "imagenet.pth"), False, KeyFrames(1, 288))
    blocks = [layer.blocks[1] for layer in member.net.layers]  # type: ignore[union-attr,index]
    assert [block.window_size for block in blocks] == [(7, 7)] * 4
    assert [block.shift_size for block in blocks] == [(3, 3)] * 4  # maps of 72 to 9: all padded
    table = "layers.3.blocks.1.attn.relative_position_bias_table"
    assert torch.equal(member.net.state_dict()[table], net.state_dict()[table])


def test_missing_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match=r"members\.frames: no pretrained weights for swin_base"):
        make_member("frames", {"kind": "swin_b"})
    with pytest.raises(WeightsError, match=r"swin_t-704ceda3\.pth is missing"):
        SwinB(TORCHVISION, "auto", False, VIEW)
    path = tmp_path / "Swin_b_384_in22k_SlowFast_Fast_LSVQ.pth"
    with pytest.raises(WeightsError, match=r"no such file; .*README of sunwei925/RQ-VQA"):
        SwinB(weights=str(path))
    path = tmp_path / "MinimalisticVQA_Model_VII_LSVQ.pth"
    with pytest.raises(WeightsError, match=r"no such file; .*sunwei925/MinimalisticVQA"):
        SwinB(TORCHVISION, str(path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnet18"}, "timm's resnet18 is no Swin Transformer"),
        ({"backbone": "swin_b"}, "timm .* has no network 'swin_b'"),
        ({"backbone": "torchvision/swin_x"}, r"backbone='torchvision/swin_x' .* torchvision/swin_"),
        ({"backbone": TIMM, "view": KeyFrames(1, 100)}, r"view\.size=100 must be a multiple of 32"),
    ],
)
def test_bad_options_are_named(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SwinB(weights="none", **options)
    with pytest.raises(ConfigError, match="weights=wheel: torchvision/swin_t takes auto, none or"):
        SwinB(TORCHVISION, "wheel")


def test_the_default_view_is_rq_vqa_s() -> None:
    member = make_member("frames", {"kind": "swin_b", "backbone": TIMM}, weights="none")
    assert member.view == KeyFrames(8, 384, short_side=384, sampling="second_start")


def test_the_teacher_of_conf_is_built(pytestconfig: pytest.Config) -> None:
    options = OmegaConf.load(pytestconfig.rootpath / "conf/teacher/swin_b.yaml")
    teacher = instantiate(options, weights="none", _convert_="all")
    member = teacher.members["frames"]
    assert teacher.frozen_members() == {}
    assert (member.feature_dim, member.net.layers[0].blocks[0].window_size) == (1024, (12, 12))
    assert member.bot is not None
