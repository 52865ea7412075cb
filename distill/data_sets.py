"""Several studies in one training: their labels on one scale, and what is left between them.

Two studies asked other people other questions, so a label of one says nothing of a label of the
other (``WeightedLoss`` compares within a study only), and a network that learns from both needs a
scale and a shift between them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from distill.data.dataset import Example


def on_scale(examples: Sequence[Example], own: tuple[float, float], main: tuple[float, float],
             dataset: int) -> list[Example]:  # fmt: skip
    """Examples of a further study, in the units of the main one, so that every loss term fits.

    Args:
        examples: with targets, and perhaps errors, in the units of their study.
        own: mean and standard deviation of its targets, the latter > 0.
        main: those of the main set.
        dataset: its number, >= 1.
    """
    factor = main[1] / own[1]
    return [
        replace(
            example,
            target=main[0] + factor * (example.target - own[0]),
            error=factor * example.error,
            dataset=dataset,
        )
        for example in examples
    ]


class SetScales(nn.Module):
    """A learned scale and shift for each further study; the main one has none.

    With the labels of study k brought to the main scale by their means and deviations, a score s
    of the main scale is mean + exp(log_scale_k) (s - mean) + std * shift_k there: in the study's
    own units an affine map a_k s + b_k that starts at the ratio of the deviations. The exponential
    keeps it rising: a study may stretch an order, not turn it round.

    Args:
        sets: studies, the main one counted in; >= 1.
        mean, std: of the main set's labels.
    """

    def __init__(self, sets: int, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.log_scale = nn.Parameter(torch.zeros(sets - 1))
        self.shift = nn.Parameter(torch.zeros(sets - 1))

    def forward(self, score: Tensor, dataset: Tensor) -> Tensor:
        """Scores as the study of each video has them.

        Args:
            score: (B,), or (B, K) with ``dataset`` (B, 1), on the main scale.
            dataset: (B,) int64 in [0, sets).

        Returns:
            As ``score``; those of the main set are as they were, to the bit.
        """
        # The parameters take part whatever sets a batch has: DDP waits for every gradient.
        fixed = self.shift.new_zeros(1)
        scale = torch.cat([fixed, self.log_scale]).exp()[dataset]
        shift = torch.cat([fixed, self.shift])[dataset]
        moved = self.mean + scale * (score - self.mean) + self.std * shift
        return torch.where(dataset == 0, score, moved)
