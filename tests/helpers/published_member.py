"""A member with a published score: the mean brightness of its frames, from one weight."""

import torch
from torch import Tensor, nn

from distill.data.views import View
from distill.weights import WeightsInfo
from teachers.member import Member

KIND = {"brightness": f"{__name__}.Brightness"}


class Brightness(Member):
    """Features are a frame's mean and half of it; the score is the mean, in levels."""

    feature_dim, own_dim, has_score = 2, 1, True
    own_scale = (100.0, 25.0)

    def __init__(self, view: View, weights: str = "auto", trainable: bool = False) -> None:
        source = "none" if weights == "none" else "file"
        super().__init__(view, WeightsInfo(source, "brightness.pth", "MIT"), trainable=trainable)
        self.gain = nn.Parameter(torch.ones(1))
        self.ready()

    def extract(self, view: Tensor) -> Tensor:
        if view.shape[-1] == 48:
            raise torch.OutOfMemoryError("Tried to allocate 20 GiB.\nmore")
        level = self.gain * view.float().mean((-3, -2, -1))
        return torch.stack([level, level / 2, level], dim=-1)

    def own_score(self, features: Tensor) -> Tensor:
        return features[..., -1].mean(1)
