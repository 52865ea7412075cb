"""What the spread of opinions says of a label: its error, and how far it can be relied on."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from distill.data.dataset import Example

log = logging.getLogger(__name__)
_FLOOR = 0.1  # least share of the labels' variance that is taken for true differences


def weigh_by_noise(examples: Sequence[Example], factor: float, table: Path) -> list[Example]:
    """Labels of one study with their errors, each weighing as much as it can be relied on.

    Args:
        examples: with a MOS each.
        factor: error of a MOS in standard deviations of its opinions, so one over the root of the
            number of raters; 0 changes nothing.
        table: of the study, for messages.

    Returns:
        The same examples; ``error`` is factor * mos_std, ``weight`` is multiplied by
        :func:`reliability`.
    """
    if factor == 0:
        return list(examples)
    mos = np.array([example.target for example in examples])
    error = factor * np.array([example.row.mos_std for example in examples])
    share = reliability(mos, error)
    known = int(np.isfinite(error).sum())
    if known == 0:
        log.warning("%s: no mos_std, so training.label_noise=%g has no effect", table, factor)
        return list(examples)
    log.info(
        "%s: %d of %d labels have a mos_std; reliability %.3f on average, %.3f at least",
        table, known, len(share), share.mean(), share.min(),
    )  # fmt: skip
    return [
        replace(example, weight=example.weight * float(w), error=float(e))
        for example, w, e in zip(examples, share, error, strict=True)
    ]


def reliability(mos: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Share of true differences in the variance of each label: v / (v + error^2).

    Args:
        mos: (N,) labels of one study.
        error: (N,) standard deviations of their errors, >= 0; NaN where unknown.

    Returns:
        (N,) in (0, 1]; the mean of the others where the error is unknown. v, the variance of what
        the labels would be without errors, is that of the labels whose error is known less the
        mean error variance, at least a tenth of it: noise that looks like more than all there is
        would leave the training to a few labels.

    Source: the reliability of classical test theory, true over observed variance.
    """
    known = np.isfinite(error)
    if not known.any():
        return np.ones(len(mos))
    observed = float(np.var(mos[known]))
    noise = np.square(error[known])
    true = max(observed - float(noise.mean()), _FLOOR * observed)
    out = np.empty(len(mos))
    # Equal labels: nothing to tell apart, so nothing to weigh.
    out[known] = true / (true + noise) if true > 0 else 1.0
    out[~known] = out[known].mean()
    return out
