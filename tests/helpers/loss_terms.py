"""Every loss term as a function of scores, so that one test can hold for all of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from distill.losses import TERMS, distribution_loss, rank_within_loss

CENTRES = torch.linspace(-12, 12, 49, dtype=torch.float64)  # bins of 0.5
SIGMA = 0.5


def bin_logits(pred: Tensor) -> Tensor:
    """(B, K) logits whose distribution is a normal one about ``pred``, up to about 1e-6 nats."""
    variance = SIGMA**2 + 0.5**2 / 12  # of masses of bins, not of densities at their centres
    pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
    return -(pred[:, None] - CENTRES.to(pred.dtype)).square() / (2 * variance)


def _distribution(pred: Tensor, target: Tensor, **options: Any) -> Tensor:
    if pred.dim() != 1:  # as any other term refuses it
        return TERMS["mse"](pred, target, **options)
    weight = options.get("weight")
    if weight is not None and weight.shape == pred.shape:
        pred = torch.where(weight == 0, 0, pred)  # its NaN would come back through bin_logits
    return distribution_loss(bin_logits(pred), target, CENTRES, sigma=SIGMA, **options)


def _within(pred: Tensor, target: Tensor, **options: Any) -> Tensor:
    group = torch.zeros(pred.shape, dtype=torch.int64)
    return rank_within_loss(pred, target, group=group, **options)


CALLS: dict[str, Callable[..., Tensor]] = {
    **TERMS,
    "rank_within": _within,  # all of one content
    "distribution": _distribution,
}
