"""What teachers and students have in common: views in, a prediction out."""

import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.views import View
from distill.errors import ConfigError
from distill.weights import WeightsInfo

FEATURES = "features/"  # batch key of a frozen member's cached features is this and its name


@dataclass
class Prediction:
    """What a quality model says of a batch of B videos.

    Attributes:
        score: (B,) float, higher is better; on the MOS scale once calibrated.
        frame_scores: (B, T) or None, T frames or clips of the first of the model's views; their
            mean need not be ``score``.
        member_scores: per ensemble member (B,), on the same scale as ``score``.
        features: per member or stage (B, D), for fusion and feature distillation.
        bin_logits: (B, K) or None: logits of a distribution over the model's ``bin_centres``, of
            which ``score`` is the expectation.
    """

    score: Tensor
    frame_scores: Tensor | None = None
    member_scores: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    bin_logits: Tensor | None = None


def full_precision(tensor: Tensor) -> torch.autocast:
    """No autocast on the tensor's device: bfloat16 scores would tie where a rank loss looks."""
    return torch.autocast(tensor.device.type, enabled=False)


# An architecture may name classes of these and of no other place.
TRUST_VARIABLE = "DISTILL_TRUST_REMOTE_CODE"  # 1: what a bundle says of remote code counts
_PACKAGES = ("teachers.", "students.", "distill.committee.")


def network_class(architecture: Mapping[str, Any]) -> tuple[type["QualityModel"], dict[str, Any]]:
    """Class and arguments that an architecture names.

    Args:
        architecture: ``_target_`` and arguments, perhaps of a file that somebody else wrote.

    Raises:
        ConfigError: it names anything but one of our networks.
    """
    arguments = dict(architecture)
    target = str(arguments.pop("_target_", ""))
    module, _, name = target.rpartition(".")
    refused = f"cannot build {target!r}: not one of this program's networks"
    if not target.startswith(_PACKAGES):
        raise ConfigError(refused)
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot build {target!r}: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, QualityModel)):
        raise ConfigError(refused)
    return cls, arguments


class QualityModel(nn.Module):
    """A network that scores videos from its views. Teachers and students are both this.

    Attributes:
        views: name -> what the network wants to see of one video. ``forward`` receives, under
            the same names, uint8 tensors (B, *view.shape); it normalises them itself, so that
            mean and standard deviation travel with the weights.
    """

    views: Mapping[str, View]
    score_mean: float = 0.0
    score_std: float = 1.0

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score a batch.

        Args:
            batch: view name -> uint8 (B, *view.shape), RGB 0..255. In place of the view of a
                frozen member, its cached features under ``FEATURES`` and its name.
        """
        raise NotImplementedError(type(self).__name__)

    def set_score_scale(self, mean: float, std: float) -> None:
        """Where the scores of an untrained network lie; see ``scaled``.

        Args:
            mean, std: of the labels; finite, std > 0.

        Raises:
            ConfigError: they are not.
        """
        if not (math.isfinite(mean) and 0 < std < math.inf):
            raise ConfigError(f"score_mean {mean}, score_std {std}: must be finite, std > 0")
        self.score_mean, self.score_std = float(mean), float(std)

    def scaled(self, output: Tensor) -> Tensor:
        """A head's output, in standard deviations of the labels, as scores."""
        return self.score_mean + self.score_std * output

    @property
    def bin_centres(self) -> Tensor | None:
        """(K,) ascending scores that ``Prediction.bin_logits`` are of; None without bins."""
        return None

    def frozen_members(self) -> dict[str, tuple[str, nn.Module]]:
        """Feature extractors that never train: name -> the view it looks at, the network.

        The network takes the view's batch and returns (B, T, D); its features may be cached.
        """
        return {}

    def frozen_views(self) -> tuple[str, ...]:
        """Views that only frozen members look at: evaluation views in training too."""
        return tuple(dict.fromkeys(view for view, _ in self.frozen_members().values()))

    def frozen_features(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features of every frozen member: batch key -> (B, T, D); cached ones are taken over."""
        found = {}
        for name, (view, network) in self.frozen_members().items():
            cached = batch.get(FEATURES + name)
            found[FEATURES + name] = network(batch[view]) if cached is None else cached
        return found

    def drop_frozen(self) -> None:
        """Give up the networks of frozen members: from now on their features come in the batch."""
        if self.frozen_members():
            raise NotImplementedError(type(self).__name__)

    def viewers(self) -> dict[str, tuple[str, nn.Module]]:
        """Networks that look at one whole view: name -> the view, the network.

        Those that have feature maps tell them, with the frames, to every one of their ``taps``.
        """
        return {}

    def scores_of(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Score (B,) of each member whose view a batch has; of no member where it has none."""
        return {}

    def random_parts(self) -> list[str]:
        """What has to be trained before a score means anything."""
        return ["the network"]

    def parts(self) -> dict[str, str]:
        """Parts whose cost a plan tells one by one: name -> path of the module."""
        return {}

    def pretrained_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that start from pretrained weights and want a smaller learning rate."""
        for _, module, info in self._backbones():
            if info.source != "none":
                yield from module.parameters()

    def own_rates(self) -> Iterator[tuple[nn.Module, float]]:
        """Parts with a peak learning rate of their own, in an attribute ``lr``, and that rate."""
        for module in self.modules():
            rate = getattr(module, "lr", None)
            if isinstance(rate, int | float):
                yield module, float(rate)

    def checkpoint_gradients(self) -> None:
        """Have every trained part that can do so compute its activations anew going backwards."""
        for module in self.children():
            for part in module.modules():
                checkpoint = getattr(part, "checkpoint_gradients", None)
                if callable(checkpoint) and getattr(part, "trainable", False):
                    checkpoint()

    def random_backbones(self) -> list[str]:
        """Parts that started without pretrained weights."""
        return [name for name, _, info in self._backbones() if info.source == "none"]

    def licenses(self) -> list[str]:
        """Origin and licence of the weights that it started from, for the bundle."""
        found = [
            f"{info.detail}: {info.license}"
            for _, _, info in self._backbones()
            if info.source != "none"
        ]
        return list(dict.fromkeys(found))

    def _backbones(self) -> Iterator[tuple[str, nn.Module, WeightsInfo]]:
        """Parts that say where their weights came from, in an attribute ``info``."""
        for name, module in self.named_modules():
            info = getattr(module, "info", None)
            if isinstance(info, WeightsInfo):
                yield name, module, info
