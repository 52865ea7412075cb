"""The student of the NTIRE 2025 winner, SharpMind, as far as it is public."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from distill.data.views import KeyFrames, View
from distill.errors import ConfigError
from distill.model import Prediction, full_precision
from students.head import Student, VideoPool
from teachers.timm_frames import TimmFrames

_CHANNELS = 768  # of Swin-T's last stage, to which the others are brought


class SwinTStudent(Student):
    """Swin-T on key frames; all four stages meet at the last one's resolution.

    Args:
        num_frames: T, key frames per video.
        train_frames: frames per video and step in training, drawn anew each time; None is T.
        size: side of the square cut in pixels, a multiple of 32; 224 and 448 waste no padding in
            the 7x7 windows.
        short_side: pixels to which the frame's short side is resized before the cut; None cuts
            at native resolution.
        hidden: width of the token MLP.
        temporal, bins: as in :class:`~students.head.VideoPool`; not SharpMind's.
        weights: as in :func:`distill.weights.load_backbone`.
        score_mean: mean of the labels; an untrained network's scores lie around it.
        score_std: standard deviation of the labels, > 0; the unit the network predicts in.

    Raises:
        ConfigError: a value is out of range.
        WeightsError: no Swin-T weights are to be had.

    Source: SharpMind, NTIRE 2025 challenge report (arXiv 2504.13131): key frames of 224, Swin-T,
        four stages brought to 768 channels and concatenated, token MLP 3072-384-1, frame MLP
        49-49-1; 47.39 G and 33.01 M.
    Differs: ours are, because nothing public says otherwise, 10 frames (the count that fits
        47.39 G), average pooling to 7x7 and a 3x3 convolution to bring stages 1-3 to 768
        channels, the LayerNorm before the token MLP, GELU, and the mean over frames. It
        measures 47.94 G and 33.35 M, so it is near the published network, not the same.
    """

    BACKBONE = "swin_tiny_patch4_window7_224"

    def __init__(
        self,
        num_frames: int = 10,
        train_frames: int | None = None,
        size: int = 224,
        short_side: int | None = None,
        hidden: int = 384,
        temporal: str = "mean",
        bins: int = 0,
        weights: str = "auto",
        score_mean: float = 0.0,
        score_std: float = 1.0,
    ) -> None:
        super().__init__()
        try:
            view: View = KeyFrames(num_frames, size, short_side, train_frames)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"SwinTStudent: {error}") from error
        if size % 32:
            raise ConfigError(f"SwinTStudent: size {size} is no multiple of 32")
        if hidden < 1:
            raise ConfigError(f"SwinTStudent: hidden must be >= 1, got {hidden}")
        self.views = {"frames": view}
        self.set_score_scale(score_mean, score_std)
        self.tower = TimmFrames(self.BACKBONE, weights, size, stages=(0, 1, 2, 3), trainable=True)
        self.project = nn.ModuleList(
            nn.Sequential(
                nn.AvgPool2d(2 ** (3 - stage)), nn.Conv2d(channels, _CHANNELS, 3, padding=1)
            )
            for stage, channels in enumerate(self.tower.channels[:-1])
        )
        self.token_score = nn.Sequential(
            nn.LayerNorm(4 * _CHANNELS),
            nn.Linear(4 * _CHANNELS, hidden),
            nn.GELU(),
            nn.Linear(hidden, 1),
        )
        tokens = (size // 32) ** 2
        self.pool = VideoPool(4 * _CHANNELS, temporal, bins, num_frames, train_frames)
        self.frame_score = nn.Sequential(
            nn.Linear(tokens, tokens), nn.GELU(), nn.Linear(tokens, self.pool.outputs)
        )

    def viewers(self) -> dict[str, tuple[str, nn.Module]]:
        """The tower."""
        return {"frames": ("frames", self.tower)}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score ``batch["frames"]``, (B, T, 3, size, size) uint8."""
        frames = batch["frames"]
        videos = frames.shape[0]
        *early, last = self.tower.maps(frames.reshape(-1, *frames.shape[-3:]))
        maps = [project(m) for project, m in zip(self.project, early, strict=True)]
        tokens = torch.cat([*maps, last], dim=1).flatten(2).transpose(1, 2)  # (BT, 49, 3072)
        with full_precision(tokens):
            outputs = self.frame_score(self.token_score(tokens.float()).squeeze(-1))
        features = tokens.mean(1).reshape(videos, -1, tokens.shape[-1])
        return self.predict(features, outputs.reshape(videos, -1, outputs.shape[-1]), "stages")
