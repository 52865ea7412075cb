"""What every member of a teacher is: a view in, features out, and perhaps a score of its own."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from torch import Tensor, nn

from distill.checks import at_least
from distill.data.views import View
from distill.errors import ConfigError, MemberError, WeightsError
from distill.weights import WeightsInfo


class Member(nn.Module):
    """A feature extractor, frozen or trainable.

    A subclass sets ``feature_dim``, builds its network, ends its ``__init__`` with :meth:`ready`
    and writes :meth:`extract`. One with a published score of its own sets ``has_score`` and writes
    :meth:`own_score`. What its features depend on and its printed modules do not tell goes into
    ``extra_repr``: the cache of features is keyed by it.

    Args:
        view: what it looks at; None where its owner knows.
        info: where its weights came from.
        trainable: False keeps it in evaluation mode, whatever ``train`` says, and computes no
            gradient.
        lr: its own peak learning rate, >= 0; None takes the training's.

    Attributes:
        name: in its teacher, for messages.
        feature_dim: D, columns of its features that a teacher fuses.
        own_dim: further columns, for ``own_score`` alone.
        has_score: whether ``own_score`` exists.
        layer_norm: whether a teacher puts a LayerNorm on the features; not where few columns hold a
            scale that it would take away.
        own_scale: mean and standard deviation of ``own_score`` where they are published, so that
            scores of several members can be averaged.
    """

    mean: Tensor
    std: Tensor
    feature_dim: int
    own_dim: int = 0
    name: str = ""
    has_score: bool = False
    layer_norm: bool = True
    own_scale: tuple[float, float] = (0.0, 1.0)

    def __init__(
        self,
        view: View | None,
        info: WeightsInfo,
        *,
        trainable: bool = False,
        lr: float | None = None,
    ) -> None:
        super().__init__()
        at_least("lr", lr, 0)
        if lr is not None and not trainable:
            raise ConfigError(f"lr={lr}: the member is frozen; set trainable=true, or leave lr out")
        self.view, self.info = view, info
        self.trainable, self.lr = trainable, lr
        self._filled = trainable or info.source != "none"

    def ready(self, mean: Sequence[float] = (), std: Sequence[float] = ()) -> None:
        """Call when the network is built: normalisation, and frozen or not.

        Args:
            mean, std: per channel, on the scale 0..1, for :meth:`normalised`. They are persistent
                buffers, so that they travel with the weights.
        """
        for name, values in (("mean", mean), ("std", std)):
            if values:
                # On the uint8 scale, to save a division per pixel.
                value = 255 * torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
                self.register_buffer(name, value)
        if not self.trainable:
            self.requires_grad_(False)
        self.train()

    def normalised(self, frames: Tensor) -> Tensor:
        """uint8 (..., 3, H, W) as the network was trained to see it."""
        return (frames.float() - self.mean) / self.std

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, but a frozen network stays in evaluation mode."""
        return super().train(mode and self.trainable)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *rest: Any, **options: Any
    ) -> None:
        # A frozen network may run once every tensor of it has come.
        self._filled = self._filled or all(prefix + key in state_dict for key in self.state_dict())
        super()._load_from_state_dict(state_dict, prefix, *rest, **options)

    def check_input(self, view: Tensor) -> None:
        """Refuse other pixels than uint8, and frozen networks with random weights.

        Raises:
            TypeError, WeightsError: they are.
        """
        if view.dtype != torch.uint8:
            raise TypeError(f"frames must be uint8, got {view.dtype}: the network normalises")
        if not self._filled:
            raise WeightsError(
                f"{self._who} is frozen and its weights are random (weights=none): its features"
                " mean nothing. Give weights=auto or a file, load a bundle's state dict, or set"
                " trainable=true"
            )

    @property
    def title(self) -> str:
        """What messages call its network."""
        return type(self).__name__

    @property
    def _who(self) -> str:
        return f"members.{self.name}: {self.title}" if self.name else self.title

    def gradients(self) -> AbstractContextManager[Any]:
        """Gradients where it trains and the caller wants them."""
        return torch.set_grad_enabled(self.trainable and torch.is_grad_enabled())

    def forward(self, view: Tensor) -> Tensor:
        """Features of every video.

        Args:
            view: (B, *view.shape) uint8.

        Returns:
            (B, T, feature_dim + own_dim), T frames, clips or chunks.
        """
        self.check_input(view)
        try:
            with self.gradients():
                return self.extract(view)
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in first:
                raise
            raise MemberError(
                f"{self._who}: out of memory: {first} Lower the batch size, or give its view fewer"
                " frames; in training, also try training.gradient_checkpointing=true"
            ) from error

    def extract(self, view: Tensor) -> Tensor:
        """What ``forward`` returns, of a checked view."""
        raise NotImplementedError(type(self).__name__)

    def hollow(self) -> None:
        """Drop the networks and their weights; ``own_score``, which uses none, stays."""
        self._modules.update(dict.fromkeys(self._modules, nn.Identity()))
        self._parameters.update(dict.fromkeys(self._parameters))
        self._buffers.update(dict.fromkeys(self._buffers))

    def own_score(self, features: Tensor) -> Tensor:
        """The published score, on its published scale, higher is better; uses no weights.

        Args:
            features: (B, T, feature_dim + own_dim) as ``forward`` returns them.

        Returns:
            (B,).
        """
        raise NotImplementedError(type(self).__name__)

    def checkpoint_gradients(self) -> None:
        """Keep less for the backward pass and compute it anew (training.gradient_checkpointing).

        Networks without such a way do nothing.
        """
