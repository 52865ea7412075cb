"""Per-frame features from any timm network, frozen or trainable."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from distill.errors import ConfigError, WeightsError
from distill.weights import load_backbone

_EPS = 1e-6  # keeps the gradient of a standard deviation finite on flat maps


class TimmFrames(nn.Module):
    """Frames in, one feature vector per frame out: mean and deviation of chosen stages' maps.

    The network's mean and standard deviation are persistent buffers, so that they travel with the
    weights. Layers that the chosen stages do not need (classifier, last norm) are cut off, so that
    no parameter is left without a gradient.

    Args:
        backbone: timm's name, with or without a pretrained tag.
        weights: as in :func:`distill.weights.load_backbone`.
        size: side of the frames in pixels.
        stages: indices into the network's stages (blocks, for a plain vision transformer);
            negative ones count from the end.
        trainable: False keeps the network in evaluation mode, whatever ``train`` says, and
            computes no gradient.
        fixed_batchnorm: keep BatchNorm statistics as they were pretrained while training: small
            batches of near-identical frames would spoil them. For random weights turn it off.

    Attributes:
        feature_dim: D, twice the summed channels of the stages.
        fixed_size: whether the network takes frames of ``size`` only.
        info: where the weights came from.

    Raises:
        ConfigError: unknown backbone, or a stage or size that it does not have.
        WeightsError: no such weights. A frozen network with ``weights="none"`` is built, for a
            state dict that follows, and refuses to run before one was loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str,
        weights: str = "auto",
        size: int = 224,
        stages: Sequence[int] = (-1,),
        trainable: bool = False,
        fixed_batchnorm: bool = True,
    ) -> None:
        super().__init__()
        net: Any  # timm's networks share these attributes, but no annotated base class
        net, self.info = load_backbone(backbone, weights, size)
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
        self._stages = sorted({stage % depth for stage in stages})
        self.channels: list[int] = [features[stage]["num_chs"] for stage in self._stages]
        net.prune_intermediate_layers(self._stages, prune_norm=True, prune_head=True)
        self.net = net
        self.backbone, self.size = backbone, size
        self.feature_dim: int = 2 * sum(self.channels)
        self.trainable, self.fixed_batchnorm = trainable, fixed_batchnorm

        config: dict[str, Any] = net.pretrained_cfg
        for name in ("mean", "std"):
            # On the uint8 scale, to save a division per pixel.
            value = 255 * torch.tensor(config[name], dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(name, value)
        self.fixed_size = bool(config.get("fixed_input_size"))
        self._filled = trainable or self.info.source != "none"
        if not trainable:
            self.net.requires_grad_(False)
        self.train()

    def extra_repr(self) -> str:
        """What the printed modules do not tell of the features."""
        return f"backbone={self.backbone!r}, size={self.size}, stages={self._stages}"

    def train(self, mode: bool = True) -> "TimmFrames":
        """As ``nn.Module.train``, but a frozen network stays in evaluation mode."""
        super().train(mode and self.trainable)
        if self.fixed_batchnorm:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *rest: Any, **options: Any
    ) -> None:
        # A frozen network may run once every tensor of it has come.
        self._filled = self._filled or all(prefix + key in state_dict for key in self.state_dict())
        super()._load_from_state_dict(state_dict, prefix, *rest, **options)

    def maps(self, frames: Tensor) -> list[Tensor]:
        """Feature maps of the chosen stages, in ascending order.

        Args:
            frames: (F, 3, size, size) uint8 RGB.

        Returns:
            Per stage (F, C, H, W).
        """
        if frames.dtype != torch.uint8:
            raise TypeError(f"frames must be uint8, got {frames.dtype}: the network normalises")
        if not self._filled:
            raise WeightsError(
                f"{self.backbone} is frozen and its weights are random (weights=none): its "
                "features say nothing. Give weights=auto or a file, load a bundle's state dict, "
                "or set trainable=true"
            )
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            x = (frames.float() - self.mean) / self.std
            # Channels last: training EfficientNet-Lite0 takes a third less time on a CPU. Only
            # the input: weights in this layout could not be saved as safetensors.
            x = x.contiguous(memory_format=torch.channels_last)
            return self.net.forward_intermediates(
                x, indices=self._stages, norm=False, stop_early=True, intermediates_only=True
            )

    def forward(self, frames: Tensor) -> Tensor:
        """Features of every frame of every video.

        Args:
            frames: (B, T, 3, size, size) or (B, N, T, 3, size, size) uint8 RGB.

        Returns:
            (B, T, feature_dim), with N * T in the place of T for clips.
        """
        maps = self.maps(frames.reshape(-1, *frames.shape[-3:]))
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            pooled = torch.cat([pool(m) for m in maps], dim=-1)
        return pooled.reshape(frames.shape[0], -1, self.feature_dim)


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
