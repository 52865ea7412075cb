"""Per-frame features from any timm network, frozen or trainable."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from distill.data.views import View
from distill.errors import ConfigError
from distill.weights import load_backbone
from teachers.member import Member

_EPS = 1e-6  # keeps the gradient of a standard deviation finite on flat maps


class TimmFrames(Member):
    """Frames in, one feature vector per frame out: mean and deviation of chosen stages' maps.

    The network's mean and standard deviation are persistent buffers, so that they travel with the
    weights. Layers that the chosen stages do not need (classifier, last norm) are cut off, so that
    no parameter is left without a gradient.

    Args:
        backbone: timm's name, with or without a pretrained tag.
        weights: as in :func:`distill.weights.load_backbone`.
        size: side of the frames in pixels; None takes the view's.
        stages: indices into the network's stages (blocks, for a plain vision transformer);
            negative ones count from the end.
        trainable: False keeps the network in evaluation mode, whatever ``train`` says, and
            computes no gradient.
        fixed_batchnorm: keep BatchNorm statistics as they were pretrained while training: small
            batches of near-identical frames would spoil them. For random weights turn it off.

    Attributes:
        feature_dim: D, twice the summed channels of the stages.
        stages, channels, reductions: per chosen stage its index, the channels of its map, and the
            pixels to one position.
        fixed_size: whether the network takes frames of ``size`` only.
        taps: functions that are given the frames and the maps of every pass; empty at first.

    Raises:
        ConfigError: unknown backbone, or a stage or size that it does not have.
        WeightsError: no such weights. A frozen network with ``weights="none"`` is built, for a
            state dict that follows, and refuses to run before one was loaded.
    """

    def __init__(
        self,
        backbone: str,
        weights: str = "auto",
        size: int | None = None,
        stages: Sequence[int] = (-1,),
        trainable: bool = False,
        fixed_batchnorm: bool = True,
        view: View | None = None,
        lr: float | None = None,
    ) -> None:
        if size is None:
            if view is None:
                raise ConfigError(f"view is missing; it says what {backbone} looks at")
            size = view.shape[-1]
        net: Any  # timm's networks share these attributes, but no annotated base class
        net, info = load_backbone(backbone, weights, size)
        if not hasattr(net, "prune_intermediate_layers"):
            raise ConfigError(f"backbone: timm's {backbone} does not give out its stages")
        features: Sequence[dict[str, Any]] = net.feature_info
        depth = len(features)
        wrong = [s for s in stages if not isinstance(s, int) or not -depth <= s < depth]
        if wrong or not stages:
            raise ConfigError(
                f"stages: {list(stages)}; {backbone} has {depth}, so give some of "
                f"0..{depth - 1} or -{depth}..-1"
            )
        super().__init__(view, info, trainable=trainable, lr=lr)
        self.stages = sorted({stage % depth for stage in stages})
        self.channels: list[int] = [features[stage]["num_chs"] for stage in self.stages]
        self.reductions: list[int] = [features[stage]["reduction"] for stage in self.stages]
        net.prune_intermediate_layers(self.stages, prune_norm=True, prune_head=True)
        self.net = net
        self.backbone, self.size = backbone, size
        self.feature_dim: int = 2 * sum(self.channels)
        self.fixed_batchnorm = fixed_batchnorm
        config: dict[str, Any] = net.pretrained_cfg
        self.fixed_size = bool(config.get("fixed_input_size"))
        self.taps: list[Callable[[Tensor, list[Tensor]], None]] = []
        self.ready(config["mean"], config["std"])

    @property
    def title(self) -> str:
        return self.backbone

    def extra_repr(self) -> str:
        """What the printed modules do not tell of the features."""
        return f"backbone={self.backbone!r}, size={self.size}, stages={self.stages}"

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, but a frozen network stays in evaluation mode."""
        super().train(mode)
        if self.fixed_batchnorm:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def maps(self, frames: Tensor) -> list[Tensor]:
        """Feature maps of the chosen stages, in ascending order.

        Args:
            frames: (F, 3, size, size) uint8 RGB.

        Returns:
            Per stage (F, C, H, W).
        """
        self.check_input(frames)
        with self.gradients():
            # Channels last: training EfficientNet-Lite0 takes a third less time on a CPU. Only
            # the input: weights in this layout could not be saved as safetensors.
            x = self.normalised(frames).contiguous(memory_format=torch.channels_last)
            maps: list[Tensor] = self.net.forward_intermediates(
                x, indices=self.stages, norm=False, stop_early=True, intermediates_only=True
            )
        for tap in self.taps:
            tap(frames, maps)
        return maps

    def extract(self, view: Tensor) -> Tensor:
        """Features of every frame of every video.

        Args:
            view: (B, T, 3, size, size) or (B, N, T, 3, size, size) uint8 RGB.

        Returns:
            (B, T, feature_dim), with N * T in the place of T for clips.
        """
        maps = self.maps(view.reshape(-1, *view.shape[-3:]))
        pooled = torch.cat([pool(m) for m in maps], dim=-1)
        return pooled.reshape(view.shape[0], -1, self.feature_dim)

    def checkpoint_gradients(self) -> None:
        self.net.set_grad_checkpointing(True)


def pool(maps: Tensor) -> Tensor:
    """Mean and population standard deviation over the positions of a map.

    Args:
        maps: (F, C, H, W).

    Returns:
        (F, 2C) float32: all means, then all deviations.
    """
    flat = maps.float().flatten(2)
    mean = flat.mean(-1, keepdim=True)
    deviation = ((flat - mean).square().mean(-1) + _EPS).sqrt()
    return torch.cat([mean[..., 0], deviation], dim=-1)
