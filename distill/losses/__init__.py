"""Losses over one batch of scores, and their weighted sum over the joint batch of all ranks.

All terms take ``pred`` and ``target`` (B,) and ``weight`` (B,), finite and >= 0, None being 1 each.
Other shapes are a ValueError: (B,) against (B, 1) would train on a B x B table without a word. They
compute in float32 (float64 stays) with no operator that autocast lowers, and without gradient to
the target. A sample of weight 0 is dropped first: even its NaN label has no influence. Constant
predictions, constant targets and tiny batches have a finite loss with a finite gradient; a batch
too small for a term costs 0, with a graph and a zero gradient. Correlations and pairs need the
joint batch of all ranks: ``WeightedLoss`` gathers it with gradient. See docs/losses.md.
"""

from distill.losses.correlations import plcc_loss, soft_srcc, srcc_loss
from distill.losses.pairs import (
    fidelity_loss,
    rank_across_loss,
    rank_hinge_loss,
    rank_within_loss,
)
from distill.losses.pointwise import distribution_loss, huber_loss, mse_loss
from distill.losses.weighted import OPTIONS, TERMS, LossTerm, WeightedLoss

__all__ = [
    "OPTIONS",
    "TERMS",
    "LossTerm",
    "WeightedLoss",
    "distribution_loss",
    "fidelity_loss",
    "huber_loss",
    "mse_loss",
    "plcc_loss",
    "rank_across_loss",
    "rank_hinge_loss",
    "rank_within_loss",
    "soft_srcc",
    "srcc_loss",
]
