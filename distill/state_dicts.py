"""State dicts: read without running code in the file, renamed, and loaded with strict checks."""

import codecs
import importlib
import pickle  # noqa: TID251 (for the name of its error; nothing is unpickled)
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as _scalar
from safetensors.torch import load_file
from torch import Tensor, nn

from distill.errors import WeightsError

SUFFIXES = (".safetensors", ".pth", ".pt", ".pyth", ".bin")
_WRAPPERS = ("state_dict", "model_state", "model", "params")
# What a numpy number in a checkpoint is made of: published files keep their results beside the
# weights. None of these runs code that the file brings.
_NUMBERS: list[Any] = [
    *(np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType),
    *(codecs.encode, _scalar, (_scalar, "numpy.core.multiarray.scalar")),
]


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors; wrappers such as ``state_dict`` and ``module.`` come off.

    Raises:
        WeightsError: it cannot be read, needs code to be opened, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix not in SUFFIXES:
            raise WeightsError(f"{path}: weights are {', '.join(SUFFIXES)} files")
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            if file.read(64).lstrip().startswith(b"<"):
                raise WeightsError(
                    f"{path}: is a web page, not weights; download the file again"
                ) from error
        raise WeightsError(
            f"{path}: opening it would run code that is stored in it, or it is no torch file. If "
            f"you trust it, convert it once: sd = torch.load(path, weights_only=False); "
            f"safetensors.torch.save_file({{k: v.contiguous() for k, v in sd.items()}}, "
            f"'{path.stem}.safetensors'), with sd reduced to its state dict"
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # damaged files make the readers raise almost anything
        reason = f"{type(error).__name__}: {error}".strip(": ")
        raise WeightsError(f"{path}: cannot be read as weights: {reason}") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a state dict")
    odd = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if odd:
        raise WeightsError(f"{path}: {_some(odd)} are not tensors; is this a state dict?")
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def load_strict(model: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Strict but for the classifier, which may be missing, extra, or of other classes."""
    if "features.0.0.weight" in state and hasattr(model, "patch_embed"):
        state = from_torchvision_swin(state)
    # timm's families keep the reading of their original checkpoints under this name.
    module = importlib.import_module(type(model).__module__)
    convert: Callable[..., dict[str, Tensor]] | None = getattr(module, "checkpoint_filter_fn", None)
    if convert is not None:
        try:
            state = convert(state, model)
        except (AssertionError, AttributeError, KeyError, RuntimeError, ValueError) as error:
            raise WeightsError(f"{where}: is no {type(model).__name__}: {error}") from error
    config: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    names = config.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([names] if isinstance(names, str) else names))
    fill(model, state, where, config["architecture"], optional=heads)


def fill(
    model: nn.Module,
    state: Mapping[str, Tensor],
    where: str,
    name: str,
    optional: tuple[str, ...] = (),
) -> None:
    """Load a state dict, strictly but for what is optional.

    Args:
        model: the network.
        state: its tensors.
        where: the file, for messages.
        name: of the network, for messages.
        optional: prefixes of keys that may be missing, extra, or of another shape.

    Raises:
        WeightsError: it does not fit; names the keys.
    """
    wanted = model.state_dict()
    # num_batches_tracked came late to torch, and nothing here reads it.
    missing = [
        key
        for key in wanted
        if key not in state and not key.startswith(optional) and "num_batches_tracked" not in key
    ]
    extra = [key for key in state if key not in wanted and not key.startswith(optional)]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted.keys() & state.keys()
        if state[key].shape != wanted[key].shape and not key.startswith(optional)
    ]
    found = (("missing", missing), ("not of this network", extra), ("other shape", shapes))
    faults = [f"{what}: {_some(keys)}" for what, keys in found if keys]
    if faults:
        raise WeightsError(f"{where}: does not fit {name}; {'; '.join(faults)}")
    fitting = {k: v for k, v in state.items() if k in wanted and v.shape == wanted[k].shape}
    model.load_state_dict(fitting, strict=False)


def map_by_order(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """Rename tensors by their position: the same network written under other names.

    Args:
        state: tensors as read, in the file's order.
        wanted: the network's own state dict.
        where: file, for the error.

    Raises:
        WeightsError: the counts, a shape, or the last part of a name (``weight``,
            ``running_mean``) differ.
    """
    if len(state) != len(wanted):
        raise WeightsError(f"{where}: holds {len(state)} tensors, the network has {len(wanted)}")
    mapped = {}
    for (theirs, tensor), (ours, target) in zip(state.items(), wanted.items(), strict=True):
        same_kind = theirs.rpartition(".")[2] == ours.rpartition(".")[2]
        if tensor.shape != target.shape or not same_kind:
            raise WeightsError(
                f"{where}: has {theirs} {tuple(tensor.shape)} where the network has "
                f"{ours} {tuple(target.shape)}"
            )
        mapped[ours] = tensor
    return mapped


def from_torchvision_swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename torchvision's 2D Swin tensors (``swin_t``, ``swin_s``, ``swin_b``) to timm's."""
    rules = (
        (r"^features\.0\.0\.", "patch_embed.proj."),
        (r"^features\.0\.2\.", "patch_embed.norm."),
        (r"^features\.([1357])\.(\d+)\.mlp\.0\.", r"layers.<\1>.blocks.\2.mlp.fc1."),
        (r"^features\.([1357])\.(\d+)\.mlp\.3\.", r"layers.<\1>.blocks.\2.mlp.fc2."),
        (r"^features\.([1357])\.(\d+)\.", r"layers.<\1>.blocks.\2."),
        (r"^features\.([246])\.", r"layers.<\1>.downsample."),
        (r"^head\.", "head.fc."),
    )
    renamed = {}
    for key, tensor in state.items():
        if key.endswith("relative_position_index"):
            continue
        for pattern, replacement in rules:
            changed = re.sub(pattern, replacement, key)
            if changed != key:
                # Features 1, 3, 5, 7 are the stages; 2, 4, 6 merge patches before the next.
                key = re.sub(r"<(\d)>", lambda found: str(int(found[1]) // 2), changed)
                break
        renamed[key] = tensor
    return renamed


def _some(keys: list[str]) -> str:
    shown = ", ".join(map(str, keys[:4]))
    return shown + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
