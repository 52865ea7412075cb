"""FAST-VQA as a member: its files, views and columns, and what training it means."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import instantiate
from torch import Tensor, nn

from distill.data.views import Fragments, KeyFrames, View
from distill.errors import ConfigError, WeightsError
from teachers.ensemble import TeacherEnsemble
from teachers.fast_vqa import FastVQA

SMALL = Fragments(grid=2, clip_len=8, num_clips=2)
KINETICS = "swin_tiny_patch244_window877_kinetics400_1k.pth"
CONF = Path(__file__).parents[3] / "conf/teacher"


def _net(view: View | None = SMALL, **options: object) -> FastVQA:
    """Random, with tables large enough to matter."""
    torch.manual_seed(0)
    net = FastVQA(view=view, **{"weights": "none", "trainable": True, **options})  # type: ignore[arg-type]
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            if key.endswith("bias_table"):
                parameter.normal_(std=0.3)
    return net


def _clips(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


Save = Callable[[str, dict[str, Tensor]], str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(name: str, state: dict[str, Tensor]) -> str:
        torch.save({"state_dict": state}, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """The keys of a published file of B."""
    state = _net().state_dict()
    return {key: value for key, value in state.items() if key not in ("mean", "std")}


def _video_swin(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict as Video Swin's of Kinetics-400 is named."""
    backbone = {
        key.removeprefix("fragments_"): value
        for key, value in state.items()
        if key.startswith("fragments_") and "fragment_position" not in key
    }
    head = {
        "cls_head.fc_cls.weight": torch.zeros(400, 768),
        "cls_head.fc_cls.bias": torch.zeros(400),
    }
    return {**backbone, **head}


@pytest.mark.parametrize(
    ("variant", "view", "scale"),
    [
        ("fast_vqa_b", (4, 32, 3, 224, 224), (-0.110198185, 0.04178565)),
        ("fast_vqa_m", (4, 16, 3, 128, 128), (0.023889644, 0.030781006)),
        ("faster_vqa", (1, 32, 3, 224, 224), (0.14759505, 0.03613452)),
        ("dover_technical", (3, 32, 3, 224, 224), (0.1107, 0.07355)),
    ],
)
def test_published_views_and_scales(
    variant: str, view: tuple[int, ...], scale: tuple[float, float]
) -> None:
    net = _net(None, variant=variant)
    assert net.view is not None
    assert net.view.shape == view
    assert net.own_scale == scale
    assert f"variant='{variant}'" in repr(net)
    # An untrained head's scores lie around the published mean.
    assert net.vqa_head.fc_last.bias is not None
    assert net.vqa_head.fc_last.bias.item() == pytest.approx(scale[0])


def test_columns_are_the_mean_feature_and_the_mean_quality() -> None:
    net = _net().eval()
    view = _clips(2, 2, 8, 3, 64, 64)
    with torch.no_grad():
        features = net(view)
        mean, std = torch.tensor(((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        clips = (view.flatten(0, 1).movedim(2, -1) / 255 - mean) / std
        maps = net.fragments_backbone(clips.movedim(-1, 1))
        hidden = nn.functional.gelu(net.vqa_head.fc_hid(maps.movedim(-1, 1)))
        quality = net.vqa_head.fc_last(hidden)
    assert features.shape == (2, 2, net.feature_dim + net.own_dim)
    expected = torch.cat([maps.mean((1, 2, 3)), quality.mean((2, 3, 4))], 1).view(2, 2, -1)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.own_score(features), features[:, :, -1].mean(1))


def test_a_score_does_not_depend_on_the_batch() -> None:
    net = _net().eval()
    view = _clips(5, 2, 8, 3, 64, 64)  # 10 clips: more than run at once
    with torch.no_grad():
        together = net.own_score(net(view))
        alone = torch.cat([net.own_score(net(video[None])) for video in view])
    assert together.std() > 1e-4
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", ["fast_vqa_b", "fast_vqa_m"])
def test_gradients_reach_everything_also_when_checkpointed(variant: str) -> None:
    view = Fragments(grid=4, clip_len=16, num_clips=1)  # the least that M shifts
    net = _net(view, variant=variant).train()
    clips = _clips(1, 1, 16, 3, 128, 128)
    kept = []
    for checkpointed in (False, True):
        if checkpointed:
            net.checkpoint_gradients()
        net.zero_grad()
        torch.manual_seed(3)  # of the dropped paths and units
        net(clips)[..., [0, -1]].sum().backward()
        kept.append({name: p.grad for name, p in net.named_parameters()})
    assert not [name for name, grad in kept[0].items() if grad is None]
    for name, grad in kept[0].items():
        torch.testing.assert_close(kept[1][name], grad, rtol=1e-4, atol=1e-6, msg=name)
    net.zero_grad()
    net.eval()(clips)[..., [0, -1]].sum().backward()  # nothing dropped
    zero = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # A window of 4x4 lies within one fragment of 8x8 where nothing shifts.
    assert all(name.endswith("blocks.0.attn.relative_position_bias_table") for name in zero)


def test_training_drops_paths_and_units() -> None:
    net = _net()
    stages = net.fragments_backbone.layers
    rates = [block.drop_path.drop_prob for stage in stages for block in stage.blocks]  # type: ignore[union-attr]
    assert rates == pytest.approx([0.1 * i / 11 for i in range(12)], abs=1e-7)
    maps = torch.randn(1, 768, 2, 2, 2)
    assert not torch.equal(net.vqa_head.train()(maps), net.vqa_head(maps))
    assert torch.equal(net.vqa_head.eval()(maps), net.vqa_head(maps))


def test_bfloat16_autocast_returns_float32() -> None:
    net = _net().eval()
    view = _clips(1, 2, 8, 3, 64, 64)
    with torch.no_grad():
        exact = net(view)
        with torch.autocast("cpu", torch.bfloat16):
            features = net(view)
    assert features.dtype == net.own_score(features).dtype == torch.float32
    torch.testing.assert_close(features, exact, rtol=0, atol=0.05)
    net.train()
    with torch.autocast("cpu", torch.bfloat16):
        net(view).sum().backward()


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (KeyFrames(2, 64), "takes fragments with patch=32"),
        (Fragments(grid=14, patch=16), "takes fragments with patch=32"),
        (Fragments(grid=8), "32 frames of 256x256"),
        (Fragments(clip_len=64), "64 frames of 224x224"),
        (Fragments(clip_len=2), "2 frames of 224x224"),
    ],
)
def test_views_that_it_cannot_take(view: View, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _net(view)
    with pytest.raises(ConfigError, match="variant"):
        _net(variant="fast_vqa")


def test_frozen_without_weights_refuses_until_they_come() -> None:
    net = _net(trainable=False)
    view = _clips(1, 2, 8, 3, 64, 64)
    with pytest.raises(WeightsError, match="FAST-VQA-B is frozen and its weights are random"):
        net(view)
    net.load_state_dict(_net().state_dict())
    assert net.train()(view).shape == (1, 2, 769)
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(module.training for module in net.modules())


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    for variant, name in [
        ("fast_vqa_b", "B_1_4"),
        ("fast_vqa_m", "M_1_4"),
        ("faster_vqa", "3D_1_1"),
    ]:
        message = f"FAST_VQA_{name}.pth is missing .*releases/download/v2.0.0/FAST_VQA_{name}.pth"
        with pytest.raises(WeightsError, match=message):
            _net(variant=variant, weights="auto")
    with pytest.raises(WeightsError, match=r"DOVER\.pth is missing"):
        _net(variant="dover_technical", weights="auto")


@pytest.mark.parametrize(
    ("variant", "name", "rename"),
    [
        ("fast_vqa_b", "FAST_VQA_B_1_4_Scr.pth", {}),
        ("faster_vqa", "FAST_VQA_3D_1*1.pth", {}),
        ("fast_vqa_b", "fast_vqa_v0_3.pth", {"fragments_backbone.": "backbone."}),
        (
            "dover_technical",
            "anything.pth",
            {"fragments_backbone.": "technical_backbone.", "vqa_head.": "technical_head."},
        ),
    ],
)
def test_published_layouts(
    variant: str, name: str, rename: dict[str, str], save: Save, published: dict[str, Tensor]
) -> None:
    state = dict(published)
    for ours, theirs in rename.items():
        state = {k.replace(ours, theirs, 1): value for k, value in state.items()}
    if variant == "dover_technical":
        state["aesthetic_head.fc_hid.bias"] = torch.zeros(64)
    net = FastVQA(variant, save(name, state))
    filled = net.state_dict()
    assert all(torch.equal(filled[key], value) for key, value in published.items())
    assert net.has_score
    licences = {"FAST_VQA_3D_1*1.pth": "MIT", "anything.pth": "S-Lab License 1.0, non-commercial"}
    assert net.info.license.startswith(licences.get(name, "unknown"))


def test_other_networks_are_refused(save: Save, published: dict[str, Tensor]) -> None:
    with pytest.raises(
        WeightsError, match=r"does not fit FAST-VQA-M.*fragment_position.*other shape"
    ):
        _net(variant="fast_vqa_m", weights=save("b.pth", published))
    lacking = {key: value for key, value in published.items() if key != "vqa_head.fc_last.bias"}
    with pytest.raises(WeightsError, match=r"missing: vqa_head\.fc_last\.bias"):
        _net(weights=save("lacking.pth", lacking))
    dover = {key.replace("fragments_", "technical_"): value for key, value in published.items()}
    with pytest.raises(WeightsError, match="give variant=dover_technical"):
        _net(weights=save("DOVER.pth", dover))


@pytest.mark.parametrize("variant", ["fast_vqa_b", "fast_vqa_m"])
def test_kinetics_weights_bring_no_score(
    variant: str, save: Save, published: dict[str, Tensor]
) -> None:
    path = save(KINETICS, _video_swin(published))
    torch.manual_seed(1)
    net = FastVQA(variant, path, trainable=True)
    assert "Kinetics-400: no score" in net.info.detail
    assert net.info.license.startswith("Apache-2.0")
    assert net.has_score
    qkv = "fragments_backbone.layers.2.blocks.5.attn.qkv.weight"
    assert torch.equal(net.state_dict()[qkv], published[qkv])
    for key, value in net.named_parameters():
        if "fragment_position" in key:
            assert not value.any()
    assert (net.vqa_head.fc_hid.weight != published["vqa_head.fc_hid.weight"]).any()

    options = {"kind": "fast_vqa", "variant": variant, "weights": path}
    assert TeacherEnsemble({"one": {**options, "head": "new"}}, hidden=8)
    with pytest.raises(
        ConfigError, match="with Kinetics-400 weights was published without a score"
    ):
        TeacherEnsemble({"one": {**options, "head": "own"}}, fusion="mean")


@pytest.mark.parametrize("name", ["fast_vqa", "fast_vqa_m", "faster_vqa"])
def test_configurations_give_the_published_score(name: str) -> None:
    text = (CONF / f"{name}.yaml").read_text()
    model = instantiate(yaml.safe_load(text), weights="none")
    member = model.members[name]
    assert (model.score_mean, model.score_std) == member.own_scale
    assert member.title in text.splitlines()[0]
    assert not model.member_heads
    # As if its weights had come: the ensemble's score is the member's own.
    model.load_state_dict(model.state_dict())
    view = _clips(1, *model.views[name].shape)[:, :1, :8, :, :64, :64]
    with torch.no_grad():
        own = member.own_score(member(view))
        torch.testing.assert_close(model({name: view}).score, own)
