"""Content and edges of frames, weighted by what the eye can see of them: HVS-5M's idea."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.views import View
from teachers.timm_frames import TimmFrames, pool

_LUMA = (0.299, 0.587, 0.114)  # BT.601
_HALF = 16.0  # levels of contrast that halve a place's weight: ours, not tuned


class HvsFrames(TimmFrames):
    """A frame and its edge map through one network; both maps weighted by contrast masking.

    Distortion hides in busy places, so flat ones weigh more. Features are mean and deviation of
    the weighted maps, of the frame's stages and then of its edges'. What else is in HVS-5M is
    elsewhere here: motion is the SlowFast member's, temporal hysteresis a head's.

    Args:
        backbone, weights, size, stages, trainable, view, lr: as of
            :class:`~teachers.timm_frames.TimmFrames`.

    Source: HVS-5M (Zhang et al., IEEE Transactions on Cybernetics, arXiv 2210.04158; its
        CNNfeatures_Spatial.py and convnext.py): one frozen ConvNeXt for content and for the edges
        of R, G and B; mean and deviation of its last map, weighted by saliency.
    Differs: weights there come from a saliency network (SAMNet), edges are Canny's (5, 140), 0 or
        255, and the network is ConvNeXt-XL of ImageNet-22k at the video's own size, with its last
        norm on means and deviations. Weights by contrast are ours; gradients in place of Canny's
        edges need no walk along the edge; norms are the teacher's.
    """

    def __init__(
        self,
        backbone: str = "convnext_tiny.fb_in22k",
        weights: str = "auto",
        size: int | None = None,
        stages: Sequence[int] = (-1,),
        trainable: bool = False,
        view: View | None = None,
        lr: float | None = None,
    ) -> None:
        super().__init__(backbone, weights, size, stages, trainable, view=view, lr=lr)
        self.feature_dim *= 2

    def extract(self, view: Tensor) -> Tensor:
        """Features of every frame of every video.

        Args:
            view: (B, T, 3, size, size) or (B, N, T, 3, size, size) uint8 RGB.

        Returns:
            (B, T, feature_dim), with N * T in the place of T for clips.
        """
        frames = view.reshape(-1, *view.shape[-3:])
        pooled = []
        for pictures in (frames, edges(frames)):
            for maps in self.maps(pictures):
                weights = visibility(frames, (maps.shape[-2], maps.shape[-1]))
                pooled.append(pool(maps.float() * weights))
        return torch.cat(pooled, dim=-1).reshape(view.shape[0], -1, self.feature_dim)


def edges(frames: Tensor) -> Tensor:
    """|dx| + |dy| of Sobel's 3x3 gradients, cut off at 255; the border is repeated.

    Args:
        frames: (F, C, H, W) uint8.

    Returns:
        (F, C, H, W) uint8, each channel by itself.
    """
    x = F.pad(frames.float(), (1, 1, 1, 1), mode="replicate")
    # Sums of slices, not convolutions: exact, under autocast too.
    rows = x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]
    columns = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    across = rows[..., 2:] - rows[..., :-2]
    down = columns[:, :, 2:] - columns[:, :, :-2]
    return (across.abs() + down.abs()).clamp(max=255).to(torch.uint8)


def visibility(frames: Tensor, grid: tuple[int, int]) -> Tensor:
    """How well distortion is seen in each cell: 1 / (1 + c / 16), c the deviation of its luma.

    Args:
        frames: (F, 3, H, W) uint8 RGB.
        grid: h, w: cells.

    Returns:
        (F, 1, h, w) float32, scaled to a mean of 1 over each frame.
    """
    weights = frames.new_tensor(_LUMA, dtype=torch.float32).view(3, 1, 1)
    luma = (frames.float() * weights).sum(1, keepdim=True)
    # Moments about the frame's mean: about 0 they would lose float32's last digits.
    luma = luma - luma.mean((2, 3), keepdim=True)
    mean = F.adaptive_avg_pool2d(luma, grid)
    variance = F.adaptive_avg_pool2d(luma.square(), grid) - mean.square()
    seen = 1 / (1 + variance.clamp(min=0).sqrt() / _HALF)
    return seen / seen.mean((2, 3), keepdim=True)
