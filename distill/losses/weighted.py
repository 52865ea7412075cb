"""Loss terms by name and weight, over the joint batch of all ranks and by data set."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from distill.errors import ConfigError
from distill.gather import gather_with_grad
from distill.losses.arithmetic import check, check_flat, no_loss
from distill.losses.correlations import plcc_loss, srcc_loss
from distill.losses.pairs import (
    fidelity_loss,
    rank_across_loss,
    rank_hinge_loss,
    rank_within_loss,
)
from distill.losses.pointwise import distribution_loss, huber_loss, mse_loss

TERMS: dict[str, Callable[..., Tensor]] = {
    "plcc": plcc_loss,
    "srcc": srcc_loss,
    "mse": mse_loss,
    "huber": huber_loss,
    "rank_hinge": rank_hinge_loss,
    "rank_within": rank_within_loss,
    "rank_across": rank_across_loss,
    "fidelity": fidelity_loss,
    "distribution": distribution_loss,
}
# Option of the sum -> the terms that take it, and what they call it.
OPTIONS: dict[str, dict[str, str]] = {
    "srcc_tau": {"srcc": "tau"},
    "srcc_eps": {"srcc": "eps"},
    "floor": {"srcc": "floor", "plcc": "floor"},
    "huber_delta": {"huber": "delta"},
    "fidelity_sigma": {"fidelity": "sigma"},
    "fidelity_hard": {"fidelity": "hard"},
    "distribution_sigma": {"distribution": "sigma"},
}


@dataclass(frozen=True)
class LossTerm:
    """One term of a ``WeightedLoss``: a name of ``TERMS`` and its factor, finite and >= 0."""

    name: str
    weight: float

    def __post_init__(self) -> None:
        if self.name not in TERMS:
            near = difflib.get_close_matches(str(self.name), [*TERMS, *OPTIONS], n=1)
            known = f"known are {', '.join(TERMS)}; and the options {', '.join(OPTIONS)}."
            hint = f"did you mean {near[0]!r}?" if near else known
            raise ConfigError(f"loss term {self.name!r} is unknown: {hint}")
        _require(f"weight of loss term {self.name!r}", self.weight, zero=True)


class WeightedLoss:
    """A weighted sum of loss terms over the joint batch of all ranks.

    Args:
        terms: term name -> weight, e.g. ``{"plcc": 1.0, "srcc": 1.0, "mse": 0.1}``. Terms of weight
            0 are left out; at least one must remain.
        srcc_tau, srcc_eps: see ``soft_srcc``; ``srcc_tau`` may be set anew between steps.
        floor: see ``soft_srcc`` and ``plcc_loss``.
        huber_delta: see ``huber_loss``.
        fidelity_sigma, fidelity_hard: see ``fidelity_loss``.
        distribution_sigma: see ``distribution_loss``.

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
        huber_delta: float = 1.0,
        fidelity_sigma: float = 1.0,
        fidelity_hard: bool = False,
        distribution_sigma: float | None = None,
    ) -> None:
        every = [LossTerm(name, weight) for name, weight in terms.items()]
        self.terms = [term for term in every if term.weight > 0]
        if not self.terms:
            raise ConfigError(f"no loss term weighs more than 0. Known: {', '.join(TERMS)}.")
        self.srcc_tau = _require("loss option srcc_tau", srcc_tau)
        self.srcc_eps = _require("loss option srcc_eps", srcc_eps)
        self.floor = _require("loss option floor", floor)
        self.huber_delta = _require("loss option huber_delta", huber_delta)
        self.fidelity_sigma = _require("loss option fidelity_sigma", fidelity_sigma)
        self.fidelity_hard = fidelity_hard
        if distribution_sigma is not None:
            _require("loss option distribution_sigma", distribution_sigma)
        self.distribution_sigma = distribution_sigma

    @classmethod
    def of(cls, mix: Mapping[str, float]) -> Self:
        """From a mix as ``conf/loss`` has it: weights of terms, and options by their names.

        Raises:
            ConfigError: as the class; or ``fidelity_hard`` is neither 0 nor 1.
        """
        options: dict[str, Any] = {name: mix[name] for name in OPTIONS if name in mix}
        if (hard := options.get("fidelity_hard", 0)) not in (0, 1):
            raise ConfigError(f"loss option fidelity_hard must be 0 or 1, got {hard!r}.")
        return cls({name: x for name, x in mix.items() if name not in OPTIONS}, **options)

    @property
    def needs_bins(self) -> bool:
        """Whether a term looks at a predicted distribution."""
        return any(term.name == "distribution" for term in self.terms)

    def __call__(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        error: Tensor | None = None,
        dataset: Tensor | None = None,
        group: Tensor | None = None,
        bins: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Gather the (B,) tensors of all ranks and sum the terms: the same on every rank.

        Videos are compared within a data set only: the terms are taken of each set by itself and
        weighted by its share of the joint batch's weight.

        Args:
            pred, target, weight: (B,); see the package.
            error: (B,) of the labels, see ``fidelity_loss``; None: not known.
            dataset: (B,) int64 number of each video's data set; None: all are of one.
            group: (B,) int64 of each video's content; None: each is a content of its own.
            bins: logits (B, K) and centres (K,) or (B, K), see ``distribution_loss``; None leaves
                that term out, as for a member's score, which has none. On every rank or on none.

        Returns:
            The total with its graph, and each term's value, unweighted and detached.
        """
        batch = _gather(pred, target, weight, error, dataset, group, bins)
        shares = _shares(batch.weight, batch.dataset)
        total, parts = no_loss(batch.pred), {}
        for term in self.terms:
            if term.name == "distribution" and bins is None:
                continue
            value = no_loss(batch.pred)
            for chosen, share in shares:
                value = value + share * self._term(term.name, batch.rows(chosen))
            total, parts[term.name] = total + term.weight * value, value.detach()
        return total, parts

    def _term(self, name: str, batch: "_JointBatch") -> Tensor:
        """One term of one data set."""
        given = {own[name]: getattr(self, option) for option, own in OPTIONS.items() if name in own}
        if name in ("fidelity", "distribution"):
            given["error"] = batch.error
        if name in ("rank_within", "rank_across"):
            given["group"] = batch.group
        if name == "distribution":
            return distribution_loss(
                batch.logits, batch.target, batch.centres, weight=batch.weight, **given
            )
        return TERMS[name](batch.pred, batch.target, weight=batch.weight, **given)


@dataclass
class _JointBatch:
    """What all ranks gathered; (B,), and (B, K) of K bins, none being 0."""

    pred: Tensor
    target: Tensor
    weight: Tensor
    error: Tensor
    dataset: Tensor
    group: Tensor
    logits: Tensor
    centres: Tensor

    def rows(self, chosen: Tensor) -> "_JointBatch":
        """Those where ``chosen`` (B,) is true."""
        return _JointBatch(**{name: column[chosen] for name, column in vars(self).items()})


def _gather(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None,
    error: Tensor | None,
    dataset: Tensor | None,
    group: Tensor | None,
    bins: tuple[Tensor, Tensor] | None,
) -> _JointBatch:
    """The joint batch, checked. Before data sets are told apart: one may be missing on a rank."""
    check(pred, target, weight)
    for name, column in (("error", error), ("dataset", dataset), ("group", group)):
        check_flat(name, column, pred)
    weight = torch.ones_like(pred) if weight is None else weight
    error = torch.full_like(pred, math.nan) if error is None else error
    wide = torch.promote_types(pred.dtype, torch.float32)
    columns = [x.to(wide)[:, None] for x in (pred, target, weight, error)]
    count = 0
    if bins is not None:
        logits, centres = bins
        count = logits.shape[1]
        columns += [logits.to(wide), centres.detach().to(wide).expand(logits.shape)]
    rows = gather_with_grad(torch.cat(columns, dim=1))
    # By themselves: float32 would make one content of many codes of 63 bits.
    zeros = torch.zeros_like(pred, dtype=torch.int64)
    codes = torch.stack([zeros if x is None else x for x in (dataset, group)], dim=1)
    codes = gather_with_grad(codes)
    alone = torch.arange(len(rows), device=pred.device)
    return _JointBatch(
        pred=rows[:, 0],
        target=rows[:, 1],
        weight=rows[:, 2],
        error=rows[:, 3],
        dataset=codes[:, 0],
        group=alone if group is None else codes[:, 1],
        logits=rows[:, 4 : 4 + count],
        centres=rows[:, 4 + count :],
    )


def _shares(weight: Tensor, dataset: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Which rows are of each data set, and its share of the weight; sets of weight 0 left out."""
    weight = weight.detach()
    sets = [dataset == number for number in dataset[weight != 0].unique()]
    if sets:
        weight = weight / weight.max()  # so that the sum of huge weights does not overflow
    return [(rows, weight[rows].sum() / weight.sum()) for rows in sets]


def _require(what: str, value: float, *, zero: bool = False) -> float:
    """``value`` if it is a finite number above 0, or 0 where that is allowed."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and (value > 0 or (zero and value == 0)):
        return float(value)
    raise ConfigError(f"{what} must be a finite number {'>= 0' if zero else '> 0'}, got {value!r}.")
