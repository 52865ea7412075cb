"""Losses over all pairs of a batch: hinges on their order, and the fidelity of preferences."""

import torch
from torch import Tensor

from distill.losses.arithmetic import (
    check_flat,
    differences,
    kept,
    no_loss,
    pair_mean,
    root_phi,
    select,
)


def rank_hinge_loss(pred: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """FAST-VQA's pairwise hinge: by how much pairs are predicted in the wrong order.

    h_ij = relu((p_i - p_j) * sign(y_j - y_i)), averaged over all pairs i != j (tied labels cost 0),
    then divided by 1 + max h, through which the gradient flows: in [0, 1). It depends on the scale
    of ``pred``: collapsed predictions have almost no loss.

    Args:
        pred, target, weight: (B,); a pair weighs the product of its two; see the package.

    Source: FAST-VQA (Wu et al., ECCV 2022), ``rank_loss``.
    Differs: 0 instead of NaN for fewer than 2 samples.
    """
    p, y, w = select(pred, target, weight)
    if len(p) < 2:
        return no_loss(p)
    hinge = torch.relu(-differences(p) * differences(y).sign())
    return pair_mean(hinge, w) / (1 + hinge.max())


def rank_within_loss(
    pred: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    group: Tensor | None = None,
) -> Tensor:
    """Adaptive hinge over pairs of one content: which version of a video is better.

    h_ij = relu(|y_i - y_j| - sign(y_i - y_j) (p_i - p_j)), averaged over the pairs: how far the
    predicted difference falls short of that of the labels, in units of the labels, in
    [0, inf). A margin that adapts to the labels asks nothing of tied ones, and collapsed
    predictions cost the mean difference instead of nothing. Predictions spread too widely cost
    nothing: another term has to pin the scale from above.

    Args:
        pred, target, weight: (B,), predictions in units of the labels; a pair weighs the product
            of its two; see the package.
        group: (B,) integer, one for each content; None: each sample is a content of its own.

    Returns:
        Scalar; 0 where no two samples share a content.

    Source: SimpleVQA (Sun et al., ACM MM 2022), the rank part of its loss, after Wen and Wang
        (A strong baseline for image and video quality assessment, 2021).
    Differs: there over all pairs of a batch, whatever their contents. KVQ (CVPR 2024) reports its
        two accuracies over pairs of the same content and of different ones, hence the two terms.
    """
    return _adaptive_hinge(pred, target, weight, group, within=True)


def rank_across_loss(
    pred: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    group: Tensor | None = None,
) -> Tensor:
    """As :func:`rank_within_loss`, over the pairs of different contents."""
    return _adaptive_hinge(pred, target, weight, group, within=False)


def _adaptive_hinge(
    pred: Tensor, target: Tensor, weight: Tensor | None, group: Tensor | None, within: bool
) -> Tensor:
    p, y, w = select(pred, target, weight)
    check_flat("group", group, pred)
    if len(p) < 2:
        return no_loss(p)
    group = torch.arange(len(pred), device=pred.device) if group is None else group
    group = kept(group, weight)
    same = group[:, None] == group[None, :]
    gap = differences(y)
    hinge = torch.relu(gap.abs() - gap.sign() * differences(p))
    return pair_mean(hinge, w, same if within else ~same)


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
        pred, target, weight: (B,), predictions in units of the labels; see the package.
        sigma: the standard deviation of one opinion, > 0, in units of the labels; s of a label
            whose error is not known.
        hard: g is the order of the labels (1, 0, or 1/2 where tied) instead of a probability.
        error: (B,) of each label, >= 0; its s is then sqrt(sigma^2 + error^2), so that no label
            counts as surer than one that nobody has doubted. NaN or None where it is not known.

    Source: soft targets E-VQA stage 1; hard ones LIQE (Zhang et al., CVPR 2023). Both sigma 1 on
        paper; E-VQA's code has erf(d / sqrt 2), which is Phi(d), so sigma 0.71.
        Errors of single labels: UNIQUE (Zhang et al., IEEE TIP 2021), there the spread of opinions.
    Differs: UNIQUE's network predicts its own s for p; ours takes the label's, so that the best
        prediction is the label however its errors are mixed. UNIQUE's s is the spread of opinions
        alone; ours adds the label's error to it, since the members of a teacher agree more than
        people do (docs/losses.md). All pairs of the batch; no 1e-8
        under the roots, since log Phi keeps their gradient finite and a perfect prediction then
        costs 0.
    """
    p, y, w = select(pred, target, weight)
    check_flat("error", error, pred)
    if len(p) < 2:
        return no_loss(p)
    squared = torch.full_like(y, sigma**2)
    if error is not None:
        squared += kept(error, weight).detach().to(y.dtype).nan_to_num(0.0).square()
    scale = (squared[:, None] + squared[None, :]).sqrt()
    margin, truth = differences(p) / scale, differences(y) / scale
    if hard:
        root, other = ((1 + truth.sign()) / 2).sqrt(), ((1 - truth.sign()) / 2).sqrt()
    else:
        root, other = root_phi(truth), root_phi(-truth)
    return pair_mean(1 - root * root_phi(margin) - other * root_phi(-margin), w)
