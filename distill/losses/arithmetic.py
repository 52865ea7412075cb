"""Arithmetic that the losses share: weighted batches, and tables of their pairs."""

import math

import torch
from torch import Tensor


def check(pred: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Raises ValueError unless all are flat and of one length."""
    for name, x in (("pred", pred), ("target", target), ("weight", weight)):
        check_flat(name, x, pred)


def check_flat(name: str, x: Tensor | None, pred: Tensor) -> None:
    """Raises ValueError unless ``x`` is None, or as flat and as long as ``pred``."""
    if x is not None and (x.dim() != 1 or x.shape != pred.shape):
        raise ValueError(
            "pred, target and weight must be flat tensors (B,) of one length, "
            f"got pred {tuple(pred.shape)} and {name} {tuple(x.shape)}"
        )


def select(pred: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Check, cast, drop samples of weight 0, and scale the weights to a sum of 1."""
    check(pred, target, weight)
    dtype = torch.promote_types(pred.dtype, torch.float32)
    p, y = pred.to(dtype), target.detach().to(dtype)
    if weight is None:
        return p, y, torch.full_like(y, 1 / max(len(y), 1))
    w = weight.detach().to(dtype)
    if not bool(((w >= 0) & (w < math.inf)).all()):
        raise ValueError("weight must be finite and >= 0 throughout")
    p, y, w = p[w > 0], y[w > 0], w[w > 0]
    w = w / w.max() if len(w) else w  # so that the sum of huge weights does not overflow
    return p, y, w / w.sum()


def kept(x: Tensor, weight: Tensor | None) -> Tensor:
    """Rows of ``x`` (B, ...) that :func:`select` keeps, without gradient."""
    return x.detach() if weight is None else x.detach()[weight > 0]


def no_loss(p: Tensor) -> Tensor:
    """0 in the graph of ``p`` without reading its values, which may be NaN."""
    return p[:0].sum()


def centred(x: Tensor, w: Tensor) -> Tensor:
    """Minus the weighted mean; exactly 0 where x is constant, because x[0] goes first."""
    x = x - x[0].detach()
    return x - (w * x).sum()


def deviation(x: Tensor, w: Tensor) -> Tensor:
    """Weighted standard deviation; 1 where x is constant."""
    variance = (w * centred(x, w).square()).sum()
    return torch.where(variance > 0, variance, torch.ones_like(variance)).sqrt()


def shares(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each sample: the weight below it, the weight not above it; and the weight of all."""
    ordered, order = x.sort()
    sums = torch.cat([w.new_zeros(1), w[order].cumsum(0)])
    below = sums[torch.searchsorted(ordered, x)]
    return below, sums[torch.searchsorted(ordered, x, right=True)], sums[-1]


def median(x: Tensor, w: Tensor) -> Tensor:
    """Weighted lower median."""
    _, upto, _ = shares(x, w)
    return torch.where(upto >= 0.5 - 1e-6, x, math.inf).min()


def differences(x: Tensor) -> Tensor:
    """(B, B) with x_i - x_j."""
    return x[:, None] - x[None, :]


def root_phi(x: Tensor) -> Tensor:
    """Square root of the normal distribution function; exact and smooth far into both tails."""
    return (torch.special.log_ndtr(x) / 2).exp()


def pair_mean(table: Tensor, w: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Mean of a (B, B) table over i != j, each pair weighing w_i w_j; 0 where there is none.

    Args:
        table: of values.
        w: (B,) weights.
        chosen: (B, B) bool, the pairs that count; None: all.
    """
    pairs = (w[:, None] * w[None, :]).fill_diagonal_(0)
    if chosen is not None:
        pairs = pairs * chosen
    return (pairs * table).sum() / pairs.sum().clamp_min(torch.finfo(w.dtype).tiny)
