"""A light student with one tower on one image that shows the whole frame and patches of it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.data.views import MixedFrames
from distill.errors import ConfigError
from distill.model import Prediction, full_precision
from students.head import Student, VideoPool, frame_mlp
from teachers.timm_frames import TimmFrames, pool


class MixedViewStudent(Student):
    """Per frame: statistics of several stages, over the whole frame and over the patches.

    One pass of the tower sees what :class:`~students.frames.FramesStudent` needs two passes for.
    Every stage's map is pooled apart where the image shows the whole frame and where it shows
    patches, which costs no multiply-add of the tower.

    Args:
        backbone: as in :class:`~students.frames.FramesStudent`.
        num_frames: T, frames per video.
        train_frames: frames per video and step in training, drawn anew each time; None is T.
        size, whole, patch: of the image, in pixels; see
            :class:`~distill.data.views.MixedFrames`. Windows of a Swin straddle no border where
            ``size`` is 448 and ``whole`` 224.
        stages: stages of the backbone whose statistics are used. ``whole`` must be a multiple of
            the pixels to one position of each.
        hidden: width of the head.
        dropout: in [0, 1), before the head's last layer.
        temporal, bins: as in :class:`~students.head.VideoPool`.
        fixed_batchnorm: keep BatchNorm statistics as pretrained while training.
        weights: as in :func:`distill.weights.load_backbone`.
        score_mean: mean of the labels; an untrained network's scores lie around it.
        score_std: standard deviation of the labels, > 0; the unit the network predicts in.

    Raises:
        ConfigError: a value is out of range, or the backbone cannot take it.
        WeightsError: no such weights are to be had.
    """

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        num_frames: int = 4,
        train_frames: int | None = None,
        size: int = 224,
        whole: int = 128,
        patch: int = 32,
        stages: Sequence[int] = (1, 2, 3, 4),
        hidden: int = 128,
        dropout: float = 0.1,
        temporal: str = "mean",
        bins: int = 0,
        fixed_batchnorm: bool = True,
        weights: str = "auto",
        score_mean: float = 0.0,
        score_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.set_score_scale(score_mean, score_std)
        try:
            view = MixedFrames(num_frames, size, whole, patch, train_frames)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"MixedViewStudent: {error}") from error
        self.views = {"mixed": view}
        self._view = view
        self.tower = TimmFrames(
            backbone, weights, size, list(stages), True, fixed_batchnorm=fixed_batchnorm
        )
        for stage, pixels in zip(self.tower.stages, self.tower.reductions, strict=True):
            if size % pixels or whole % pixels:
                raise ConfigError(
                    f"MixedViewStudent: size {size} and whole {whole} must be multiples of"
                    f" {pixels}, the pixels to one position of stage {stage} of {backbone}"
                )
        dim = 2 * self.tower.feature_dim
        self.pool = VideoPool(dim, temporal, bins, num_frames, train_frames)
        self.head = frame_mlp(dim, hidden, dropout, self.pool.outputs)

    def viewers(self) -> dict[str, tuple[str, nn.Module]]:
        """The tower."""
        return {"mixed": ("mixed", self.tower)}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score ``batch["mixed"]``, (B, T, 3, size, size) uint8."""
        view = batch["mixed"]
        maps = self.tower.maps(view.reshape(-1, *view.shape[-3:]))
        pooled = torch.cat([self._pooled(each) for each in maps], dim=-1)
        features = pooled.reshape(view.shape[0], -1, pooled.shape[-1])
        with full_precision(features):
            outputs = self.head(features)
        return self.predict(features, outputs)

    def _pooled(self, maps: Tensor) -> Tensor:
        """(F, C, H, H) -> (F, 4C): statistics where the whole frame is, then of the patches."""
        edge = maps.shape[-1] * self._view.whole // self._view.size
        top, bottom = maps.split((edge, maps.shape[-2] - edge), dim=-2)
        whole, right = top.split((edge, maps.shape[-1] - edge), dim=-1)
        patches = torch.cat([right.flatten(2), bottom.flatten(2)], dim=-1)
        return torch.cat([pool(whole), pool(patches)], dim=-1)
