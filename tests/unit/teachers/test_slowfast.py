"""The SlowFast member: options, files, gradients, and that batches and chunks do not mix."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorchvideo.models.hub import slowfast_r50
from torch import Tensor

from distill.data.views import KeyFrames, MotionChunks
from distill.errors import ConfigError, WeightsError
from teachers import slowfast
from teachers.members import make_member
from teachers.slowfast import SlowFast

VIEW = MotionChunks(num_chunks=2, chunk_len=8, size=32)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Random weights as published, the last norm of each block not at 0."""
    torch.manual_seed(1)
    state = slowfast_r50(pretrained=False).state_dict()
    for key, tensor in state.items():
        if key.endswith("norm_c.weight"):
            tensor.fill_(0.5)
    path = tmp_path_factory.mktemp("slowfast") / "SLOWFAST_8x8_R50.pyth"
    torch.save({"model_state": state}, path)
    yield path
    path.unlink()


def _view(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (batch, *VIEW.shape)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_chunks_do_not_mix(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = SlowFast(weights=str(file), view=VIEW)
    view = _view(2)
    features = member(view)
    assert features.shape == (2, 2, 2304)
    assert features.std() > 0.01
    torch.testing.assert_close(member(view[1:, :1]), features[1:, :1], rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(slowfast, "AT_ONCE", 3)
    torch.testing.assert_close(member(view), features, rtol=1e-5, atol=1e-5)
    assert not features.requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        half = member(view)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, features, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("paths", [["slow", "fast"], ["slow"], ["fast"]])
def test_every_parameter_has_a_gradient_and_checkpointing_keeps_it(
    file: Path, paths: list[str]
) -> None:
    member = SlowFast(paths, str(file), VIEW, trainable=True)
    before = {key: value.clone() for key, value in member.named_buffers()}
    gradients = []
    for _ in range(2):
        member.zero_grad()
        member(_view(1)).square().sum().backward()
        gradients.append({key: p.grad for key, p in member.named_parameters()})
        member.checkpoint_gradients()
    for key, gradient in gradients[0].items():
        assert gradient is not None, key
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-4, atol=1e-5)
    # Statistics of a few chunks of one video would spoil those of Kinetics.
    assert all(torch.equal(before[key], value) for key, value in member.named_buffers())


def test_a_frozen_network_without_weights_refuses_until_a_state_dict_came(file: Path) -> None:
    member = SlowFast(["fast"], "none", VIEW)
    with pytest.raises(WeightsError, match="SlowFast is frozen and its weights are random"):
        member(_view(1))
    known = SlowFast(["fast"], str(file), VIEW)
    member.load_state_dict(known.state_dict())
    assert torch.equal(member(_view(1)), known(_view(1)))
    assert member.info.source == "none"
    assert str(member) == str(known) != str(SlowFast(["slow"], "none", VIEW))


def test_a_missing_file_is_told_with_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError) as told:
        make_member("motion", {"kind": "slowfast"})
    for words in ("members.motion", "SLOWFAST_8x8_R50.pyth", "Kinetics-400", "DISTILL_WEIGHTS"):
        assert words in str(told.value)
    with pytest.raises(WeightsError, match=r"weights=nothing\.pyth: no such file"):
        SlowFast(weights="nothing.pyth")


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "classifier"])
def test_files_load_strictly(file: Path, tmp_path: Path, change: str) -> None:
    """What is cut off afterwards is checked as well."""
    state = torch.load(file)["model_state"]
    key = "blocks.4.multipathway_blocks.0.res_blocks.2.branch2.conv_c.weight"
    if change == "missing":
        del state[key]
    elif change == "extra":
        state["blocks.9.weight"] = torch.zeros(1)
    elif change == "shape":
        state[key] = state[key][:1]
    else:  # of another data set: it is dropped anyway
        state["blocks.6.proj.weight"] = torch.zeros(600, 2304)
    torch.save({"model_state": state}, tmp_path / "changed.pyth")
    path = str(tmp_path / "changed.pyth")
    if change == "classifier":
        assert SlowFast(["fast"], path, VIEW).info.license == "unknown"
        return
    with pytest.raises(WeightsError, match=r"changed\.pyth: does not fit SlowFast R50; .*blocks"):
        SlowFast(["fast"], path, VIEW)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"paths": ["slw"]}, r"paths='slw' is not a choice; did you mean slow\?"),
        ({"paths": []}, r"paths: \[\]; give \[slow, fast\]"),
        ({"paths": ["fast", "fast"]}, "paths"),
        ({"view": KeyFrames()}, r"view: KeyFrames yields \(10, 3, 224, 224\), not chunks"),
        ({"view": MotionChunks(chunk_len=30)}, r"view\.chunk_len=30: .* multiple of 4"),
        ({"view": MotionChunks(chunk_len=4)}, r"view\.chunk_len=4: .* at least 8"),
    ],
)
def test_bad_options_are_named(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SlowFast(weights="none", **options)


def test_defaults_are_the_published_protocol() -> None:
    member = make_member("motion", {"kind": "slowfast", "paths": "fast"}, weights="none")
    assert member.view == MotionChunks(num_chunks=8, chunk_len=32, size=224)
    assert member.feature_dim == 256
    assert not member.trainable
    # Without slow frames the length is free.
    assert SlowFast(["fast"], "none", MotionChunks(chunk_len=30)).view is not None


def test_the_teacher_of_conf_is_built(pytestconfig: pytest.Config) -> None:
    options = OmegaConf.load(pytestconfig.rootpath / "conf/teacher/slowfast.yaml")
    teacher = instantiate(options, weights="none", _convert_="all")
    assert list(teacher.frozen_members()) == ["motion"]
    assert teacher.views == {"motion": MotionChunks()}
    assert teacher.members["motion"].feature_dim == 2304
