"""Losses over one batch of scores: correlations, pairwise ranks, squared error, and their sum.

All terms take ``pred`` and ``target`` (B,) and ``weight`` (B,), finite and >= 0, None being 1 each.
Other shapes are a ValueError: (B,) against (B, 1) would train on a B x B table without a word. They
compute in float32 (float64 stays) with no operator that autocast lowers, and without gradient to
the target. A sample of weight 0 is dropped first: even its NaN label has no influence. Constant
predictions, constant targets and tiny batches have a finite loss with a finite gradient; a batch
too small for a term costs 0, with a graph and a zero gradient. Correlations and pairs need the
joint batch of all ranks: ``WeightedLoss`` gathers it with gradient.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.errors import ConfigError
from distill.gather import gather_with_grad
from distill.loss_math import (
    centred,
    check,
    deviation,
    differences,
    median,
    no_loss,
    pair_mean,
    pair_spread,
    root_phi,
    select,
)


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

    The soft rank of i is the mean over j of tanh((p_i - p_j) / (2 tau s)), s being 1.4826 times the
    median absolute deviation of ``pred``, without gradient. Ranks of the target are centred average
    ranks, so ties are exact. Whole-numbered weights act as copies. Memory grows with B squared.

    Args:
        pred, target, weight: (B,), any scale; see the module.
        tau: temperature > 0 in units of s. Smaller is more faithful, larger is smoother.
        floor: least s, in standard deviations s_y of ``target``.
        eps: least mean square of the soft ranks (about 1/3 unless predictions collapse). No
            sample's gradient exceeds 2 / (tau * floor * s_y * sqrt(eps)).

    Returns:
        Scalar in [-1, 1]; 0 for constant predictions, constant targets, or fewer than 2 samples.

    Differs: eps is a floor, where 1e-6 is usually added. From constant predictions (linear head
        started at 0, Adam 1e-3, batch 32, unclipped, 3 seeds) the gradient in ``pred`` starts at
        9e2 instead of 9e4, and 50 steps reach SRCC 0.99 instead of 0.65.
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


def mse_loss(pred: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Weighted mean of squared differences, in squared units of the labels; 0 for no sample.

    Args:
        pred, target, weight: (B,), predictions on the scale of the labels; see the module.
    """
    p, y, w = select(pred, target, weight)
    return (w * (p - y).square()).sum()


def rank_hinge_loss(pred: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """FAST-VQA's pairwise hinge: by how much pairs are predicted in the wrong order.

    h_ij = relu((p_i - p_j) * sign(y_j - y_i)), averaged over all pairs i != j (tied labels cost 0),
    then divided by 1 + max h, through which the gradient flows: in [0, 1). It depends on the scale
    of ``pred``: collapsed predictions have almost no loss.

    Args:
        pred, target, weight: (B,); a pair weighs the product of its two; see the module.

    Source: FAST-VQA (Wu et al., ECCV 2022), ``rank_loss``.
    Differs: 0 instead of NaN for fewer than 2 samples.
    """
    p, y, w = select(pred, target, weight)
    if len(p) < 2:
        return no_loss(p)
    hinge = torch.relu(-differences(p) * differences(y).sign())
    return pair_mean(hinge, w) / (1 + hinge.max())


def fidelity_loss(
    pred: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    sigma: float = 1.0,
    hard: bool = False,
    error: Tensor | None = None,
) -> Tensor:
    """Fidelity of the probabilities that one video of a pair is preferred (Thurstone's model).

    p_ij = Phi((q_i - q_j) / sqrt(s_i^2 + s_j^2)), g_ij likewise from the labels; the loss is the
    mean over pairs of 1 - sqrt(p g) - sqrt((1 - p)(1 - g)): in [0, 1], 0 where p equals g.

    Args:
        pred, target, weight: (B,), predictions in units of the labels; see the module.
        sigma: s of every label without an error: the standard deviation of one opinion, > 0, in
            units of the labels.
        hard: g is the order of the labels (1, 0, or 1/2 where tied) instead of a probability.
        error: (B,) s of each label, at least sigma / 100; NaN or None where it is not known.

    Source: soft targets E-VQA stage 1; hard ones LIQE (Zhang et al., CVPR 2023). Both sigma 1 on
        paper; E-VQA's code has erf(d / sqrt 2), which is Phi(d), so sigma 0.71.
        Errors of single labels: UNIQUE (Zhang et al., IEEE TIP 2021), there the spread of opinions.
    Differs: UNIQUE's network predicts its own s for p; ours takes the label's, so that the best
        prediction is the label however its errors are mixed. All pairs of the batch; no 1e-8
        under the roots, since log Phi keeps their gradient finite and a perfect prediction then
        costs 0.
    """
    p, y, w = select(pred, target, weight)
    if len(p) < 2:
        return no_loss(p)
    check(pred, target, error)
    scale = pair_spread(y, error if error is None or weight is None else error[weight > 0], sigma)
    margin, truth = differences(p) / scale, differences(y) / scale
    if hard:
        root, other = ((1 + truth.sign()) / 2).sqrt(), ((1 - truth.sign()) / 2).sqrt()
    else:
        root, other = root_phi(truth), root_phi(-truth)
    return pair_mean(1 - root * root_phi(margin) - other * root_phi(-margin), w)


TERMS: dict[str, Callable[..., Tensor]] = {
    "plcc": plcc_loss,
    "srcc": srcc_loss,
    "mse": mse_loss,
    "rank_hinge": rank_hinge_loss,
    "fidelity": fidelity_loss,
}


@dataclass(frozen=True)
class LossTerm:
    """One term of a ``WeightedLoss``: a name of ``TERMS`` and its factor, finite and >= 0."""

    name: str
    weight: float

    def __post_init__(self) -> None:
        if self.name not in TERMS:
            near = difflib.get_close_matches(str(self.name), TERMS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(TERMS)}."
            raise ConfigError(f"loss term {self.name!r} is unknown: {hint}")
        _require(f"weight of loss term {self.name!r}", self.weight, zero=True)


class WeightedLoss:
    """A weighted sum of loss terms over the joint batch of all ranks.

    Args:
        terms: term name -> weight, e.g. ``{"plcc": 1.0, "srcc": 1.0, "mse": 0.1}``. Terms of weight
            0 are left out; at least one must remain.
        srcc_tau, srcc_eps: see ``soft_srcc``; ``srcc_tau`` may be set anew between steps.
        floor: see ``soft_srcc`` and ``plcc_loss``.
        fidelity_sigma, fidelity_hard: see ``fidelity_loss``.

    Raises:
        ConfigError: a term is unknown, a weight or option is out of range, or nothing is left.
    """

    def __init__(
        self,
        terms: Mapping[str, float],
        *,
        srcc_tau: float = 0.1,
        srcc_eps: float = 1e-2,
        floor: float = 1e-2,
        fidelity_sigma: float = 1.0,
        fidelity_hard: bool = False,
    ) -> None:
        every = [LossTerm(name, weight) for name, weight in terms.items()]
        self.terms = [term for term in every if term.weight > 0]
        if not self.terms:
            raise ConfigError(f"no loss term weighs more than 0. Known: {', '.join(TERMS)}.")
        self.srcc_tau = _require("loss option srcc_tau", srcc_tau)
        self.srcc_eps = _require("loss option srcc_eps", srcc_eps)
        self.floor = _require("loss option floor", floor)
        self.fidelity_sigma = _require("loss option fidelity_sigma", fidelity_sigma)
        self.fidelity_hard = fidelity_hard

    def __call__(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        error: Tensor | None = None,
        dataset: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Gather the (B,) tensors of all ranks and sum the terms: the same on every rank.

        Videos are compared within a data set only: the terms are taken of each set by itself and
        weighted by its share of the joint batch's weight.

        Args:
            pred, target, weight: (B,); see the module.
            error: (B,) of the labels, see ``fidelity_loss``; None: not known.
            dataset: (B,) number of each video's data set; None: all are of one.

        Returns:
            The total with its graph, and each term's value, unweighted and detached.
        """
        check(pred, target, weight)
        weight = torch.ones_like(pred) if weight is None else weight
        error = torch.full_like(pred, math.nan) if error is None else error
        dataset = torch.zeros_like(pred) if dataset is None else dataset
        wide = torch.promote_types(pred.dtype, torch.float32)
        columns = (pred, target, weight, error, dataset)
        # Gathered before they are told apart: a set may be missing on a rank, a gather may not.
        rows = gather_with_grad(torch.stack([x.to(wide) for x in columns], dim=1))
        total, parts = no_loss(rows[:, 0]), {}
        shares = _shares(rows[:, 2], rows[:, 4])
        for name, factor in ((term.name, term.weight) for term in self.terms):
            value = no_loss(rows[:, 0])
            for chosen, share in shares:
                value = value + share * self._term(name, rows[chosen])
            total, parts[name] = total + factor * value, value.detach()
        return total, parts

    def _term(self, name: str, rows: Tensor) -> Tensor:
        """One term of one data set, of the (B, 5) gathered columns."""
        pred, target, weight, error, _ = rows.unbind(1)
        options: dict[str, dict[str, Any]] = {
            "srcc": {"tau": self.srcc_tau, "eps": self.srcc_eps, "floor": self.floor},
            "plcc": {"floor": self.floor},
            "fidelity": {
                "sigma": self.fidelity_sigma, "hard": self.fidelity_hard, "error": error,
            },
        }  # fmt: skip
        return TERMS[name](pred, target, weight=weight, **options.get(name, {}))


def _shares(weight: Tensor, dataset: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Which rows are of each data set, and its share of the weight; sets of weight 0 left out."""
    weight = weight.detach()
    sets = [dataset == number for number in dataset[weight != 0].unique()]
    if sets:
        weight = weight / weight.max()  # so that the sum of huge weights does not overflow
    return [(rows, weight[rows].sum() / weight.sum()) for rows in sets]


def _soft_srcc(p: Tensor, y: Tensor, w: Tensor, tau: float, floor: float, eps: float) -> Tensor:
    distance = (p.detach() - median(p.detach(), w)).abs()
    scale = torch.maximum(1.4826 * median(distance, w), floor * deviation(y, w))
    soft = (torch.tanh(differences(p) / (2 * tau * scale)) * w).sum(1)
    exact = (differences(y).sign() * w).sum(1)
    square = (w * soft.square()).sum().clamp_min(eps)
    truth = (w * exact.square()).sum().clamp_min(torch.finfo(w.dtype).tiny)  # 0 where constant
    return (w * soft * exact).sum() / square.sqrt() / truth.sqrt()


def _require(what: str, value: float, *, zero: bool = False) -> float:
    """``value`` if it is a finite number above 0, or 0 where that is allowed."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and (value > 0 or (zero and value == 0)):
        return float(value)
    raise ConfigError(f"{what} must be a finite number {'>= 0' if zero else '> 0'}, got {value!r}.")
