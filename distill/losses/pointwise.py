"""Losses of each video by itself: squared error, Huber's, and the distribution of its label."""

import torch
from torch import Tensor

from distill.losses.arithmetic import kept, select


def mse_loss(pred: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Weighted mean of squared differences, in squared units of the labels; 0 for no sample.

    Args:
        pred, target, weight: (B,), predictions on the scale of the labels; see the package.
    """
    p, y, w = select(pred, target, weight)
    return (w * (p - y).square()).sum()


def huber_loss(
    pred: Tensor, target: Tensor, *, weight: Tensor | None = None, delta: float = 1.0
) -> Tensor:
    """Half the squared difference up to ``delta``, linear beyond: an outlier pulls with delta.

    Args:
        pred, target, weight: (B,), predictions on the scale of the labels; see the package.
        delta: > 0, in units of the labels.

    Returns:
        Weighted mean in squared units of the labels, in [0, inf); 0 for no sample.

    Source: Huber (Annals of Mathematical Statistics, 1964).
    """
    p, y, w = select(pred, target, weight)
    far = (p - y).abs()
    near = far.clamp_max(delta)
    return (w * near * (far - near / 2)).sum()


def distribution_loss(
    logits: Tensor,
    target: Tensor,
    centres: Tensor,
    *,
    weight: Tensor | None = None,
    sigma: float | None = None,
    error: Tensor | None = None,
) -> Tensor:
    """Kullback-Leibler divergence of predicted bins from a normal distribution about the label.

    The target of bin k is the mass of N(label, s^2) between the midpoints to its neighbours; the
    first and the last bin reach to infinity. So a label between two centres is told by the shares
    of both, and what the teacher doubts is learned as doubt.

    Args:
        logits: (B, K) of the bins, K >= 2.
        target, weight: (B,); see the package.
        centres: (K,), or (B, K) where they differ between videos; ascending, in units of the
            labels; without gradient.
        sigma: s of every label without an error, > 0, in units of the labels; None is the mean
            width of a bin.
        error: (B,) s of each label; NaN or None where it is not known. None is below half the
            mean width of a bin, under which the bins no longer tell where a label lies.

    Returns:
        Weighted mean in [0, inf), in nats; 0 for no sample.

    Raises:
        ValueError: shapes do not fit.

    Source: DeQA-Score (You et al., CVPR 2025): a normal distribution of the opinions over levels.
    Differs: masses between midpoints, which sum to 1, instead of densities that are shifted and
        scaled until mean and sum are right.
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must be (B, K) with K >= 2, got {tuple(logits.shape)}")
    row, y, w = select(logits[:, 0], target, weight)
    keep = slice(None) if weight is None else weight > 0
    at = kept(centres.expand(logits.shape), weight).to(row.dtype)
    width = (at[:, -1:] - at[:, :1]) / (at.shape[1] - 1)
    width = width[:, 0]
    unknown = width if sigma is None else torch.full_like(width, sigma)
    s = unknown
    if error is not None:
        known = kept(error, weight).detach().to(y.dtype)
        s = torch.where(known.isfinite(), known, unknown)
    s = torch.maximum(s, width / 2)
    edges = (at[:, 1:] + at[:, :-1]) / 2
    below = torch.special.ndtr((edges - y[:, None]) / s[:, None])
    ends = torch.nn.functional.pad(below, (1, 0)), torch.nn.functional.pad(below, (0, 1), value=1.0)
    mass = (ends[1] - ends[0]).clamp_min(0)
    said = logits[keep].to(row.dtype).log_softmax(1)
    return (w * (torch.special.xlogy(mass, mass) - mass * said).sum(1)).sum()
