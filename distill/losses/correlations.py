"""Correlations as losses: Spearman's by soft ranks, and Pearson's."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill.losses.arithmetic import centred, deviation, median, no_loss, select, shares

_FULL = 36  # samples from which on tau is taken as it is
_LEAST = 0.3  # of tau, in the smallest batches
_BLOCK = 1 << 16  # pairs that are computed at a time, for a processor's cache
_BLOCK_CUDA = 1 << 22  # and on a GPU, where every block costs the launch of its kernels


def soft_srcc(
    pred: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    tau: float = 0.1,
    floor: float = 1e-2,
    eps: float = 1e-2,
) -> Tensor:
    """Differentiable Spearman correlation of soft ranks of ``pred`` and exact ranks of ``target``.

    The soft rank of i is the mean over j of tanh((p_i - p_j) / (2 tau s)), s being without gradient
    1.4826 times the median absolute deviation of ``pred``, and in batches of n < 36 samples that
    times max((n / 36)^2, 0.3): among few samples one close pair weighs more. n is 1 / sum w^2 of
    the shares w of the weight, equal predictions being one sample. Ranks of the target are centred
    average ranks, so ties are exact. Whole-numbered weights act as copies. Nothing is approximated
    in large batches: memory grows with B, time with B squared.

    Args:
        pred, target, weight: (B,), any scale; see the module.
        tau: temperature > 0. Smaller is more faithful, larger is smoother.
        floor: least s, in standard deviations s_y of ``target``.
        eps: least mean square of the soft ranks (about 1/3 unless predictions collapse). No
            sample's gradient exceeds 2 / (tau * floor * s_y * sqrt(eps)).

    Returns:
        Scalar in [-1, 1]; 0 for constant predictions, constant targets, or fewer than 2 samples.

    Differs: eps is a floor, where 1e-6 is usually added. From constant predictions (linear head
        started at 0, Adam 1e-3, batch 32, unclipped, 3 seeds) the gradient in ``pred`` starts at
        1e3 (sum of magnitudes) instead of 1e5, and 50 steps reach SRCC 0.99 instead of 0.65.
    """
    p, y, w = select(pred, target, weight)
    return no_loss(p) if len(p) < 2 else _soft_srcc(p, y, w, tau, floor, eps)


def srcc_loss(
    pred: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    tau: float = 0.1,
    floor: float = 1e-2,
    eps: float = 1e-2,
) -> Tensor:
    """1 - ``soft_srcc``, in [0, 2]; 0 for fewer than 2 samples. Arguments as there."""
    p, y, w = select(pred, target, weight)
    return no_loss(p) if len(p) < 2 else 1 - _soft_srcc(p, y, w, tau, floor, eps)


def plcc_loss(
    pred: Tensor, target: Tensor, *, weight: Tensor | None = None, floor: float = 1e-2
) -> Tensor:
    """(1 - rho) / 2 with rho Pearson's correlation; in [0, 1], 0 for fewer than 2 samples.

    Args:
        pred, target, weight: (B,), any scale; see the module.
        floor: least standard deviation of ``pred``, in standard deviations s_y of ``target``.
            Flatter predictions shrink rho; no sample's gradient exceeds 1 / (2 * floor * s_y).

    Differs: the loss that FAST-VQA, RQ-VQA and E-VQA share equals (1 - rho)(3 + rho) / 8, this one
        times (3 + rho) / 4. Its slope in rho is ours times (1 + rho) / 2: the same near rho = 1,
        none at rho = -1. It has no floor; its gradient on constant predictions is about 8e6.
    """
    p, y, w = select(pred, target, weight)
    if len(p) < 2:
        return no_loss(p)
    unit = deviation(y, w)
    p, y = centred(p, w) / unit, centred(y, w) / unit
    spread = (w * p.square()).sum().clamp_min(floor**2).sqrt()
    return (1 - (w * p * y).sum() / spread) / 2


def _soft_srcc(p: Tensor, y: Tensor, w: Tensor, tau: float, floor: float, eps: float) -> Tensor:
    fixed = p.detach()
    below, upto, _ = shares(fixed, w)
    count = 1 / (w * (upto - below)).sum()  # of the samples, equal predictions being one
    distance = (fixed - median(fixed, w)).abs()
    scale = 1.4826 * median(distance, w) * (count / _FULL).square().clamp(_LEAST, 1)
    # The floor is for collapsed predictions, which few samples must be able to leave as well.
    soft = _SoftRanks.apply(p, w, 2 * tau * torch.maximum(scale, floor * deviation(y, w)))
    below, upto, whole = shares(y, w)
    exact = below + upto - whole + 0 * y  # 0 * y: a label that is NaN has no rank
    square = (w * soft.square()).sum().clamp_min(eps)
    truth = (w * exact.square()).sum().clamp_min(torch.finfo(w.dtype).tiny)  # 0 where constant
    return (w * soft * exact).sum() / square.sqrt() / truth.sqrt()


class _SoftRanks(torch.autograd.Function):
    """Sum over j of w_j tanh((p_i - p_j) / width), pairs computed once, and anew going back.

    A table of all pairs would be written to memory and read again for each operation on it; a
    block of its upper half stays in the processor's cache.
    """

    @staticmethod
    def forward(ctx: Any, p: Tensor, w: Tensor, width: Tensor) -> Tensor:
        ctx.save_for_backward(p, w, width)
        (sums,) = _pair_sums(p / width, lambda table: table, (w,), sign=-1)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        p, w, width = ctx.saved_tensors

        def slope(table: Tensor) -> Tensor:
            return table.square_().neg_().add_(1)

        of_w, of_grad = _pair_sums(p / width, slope, (w, grad), sign=1)
        return (grad * of_w - w * of_grad) / width, None, None


def _pair_sums(
    q: Tensor, function: Callable[[Tensor], Tensor], vectors: tuple[Tensor, ...], sign: int
) -> list[Tensor]:
    """Of each vector v, the sums over j of f(tanh(q_i - q_j)) v_j, where f(-t) = sign * f(t)."""
    sums = [torch.zeros_like(q) for _ in vectors]
    rows = max(1, (_BLOCK_CUDA if q.is_cuda else _BLOCK) // len(q))
    with torch.autocast(q.device.type, enabled=False):  # it would lower the products
        for start in range(0, len(q), rows):
            end = start + rows
            table = function((q[start:end, None] - q[None, start:]).tanh_())
            for v, out in zip(vectors, sums, strict=True):
                out[start:end] += table.mv(v[start:])
                out[end:] += sign * table[:, rows:].T.mv(v[start:end])
    return sums
