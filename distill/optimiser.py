"""What the optimiser is told: parameters by rate and decay, and the rate over the steps."""

import math
from typing import Any

from torch import Tensor

from distill.model import QualityModel
from distill.options import TrainingConfig


class WarmupCosine:
    """Learning rate factor: linear rise over a share of all steps, then half a cosine to zero."""

    def __init__(self, steps: int, warmup: float) -> None:
        self.steps, self.rise = max(1, steps), max(1, round(steps * warmup))

    def __call__(self, step: int) -> float:
        if step < self.rise:
            return (step + 1) / self.rise
        done = (step - self.rise) / max(1, self.steps - self.rise)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def parameter_groups(model: QualityModel, training: TrainingConfig) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and decay.

    Parameters of a part with a rate of its own get that, other pretrained ones ``backbone_lr``,
    new ones ``lr``; biases, norms and other vectors no weight decay. At a rate of 0 nothing is
    trained.
    """
    pretrained = {id(p) for p in model.pretrained_parameters()}
    own = {id(p): lr for part, lr in model.own_rates() for p in part.parameters()}
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            lr = training.backbone_lr if id(parameter) in pretrained else training.lr
            lr = own.get(id(parameter), lr)
            decay = training.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    return [
        {"params": params, "lr": lr, "weight_decay": decay}
        for (lr, decay), params in groups.items()
        if lr > 0
    ]
