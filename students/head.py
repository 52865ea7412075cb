"""What all students share: from an output per frame to the score of a video."""

import torch
from torch import Tensor, nn

from distill.checks import one_of
from distill.errors import ConfigError
from distill.model import Prediction, QualityModel, full_precision

TEMPORAL = ("mean", "attention")
_REACH = 3.0  # standard deviations of the labels that the bins reach to either side


def frame_mlp(dim: int, hidden: int, dropout: float, outputs: int) -> nn.Sequential:
    """A light head on the features of one frame, (..., dim) -> (..., outputs).

    Args:
        dim: features of a frame.
        hidden: width of the one hidden layer, >= 1.
        dropout: in [0, 1), before the last layer.
        outputs: 1, or the number of bins.

    Raises:
        ConfigError: ``hidden`` or ``dropout`` is out of range.
    """
    if hidden < 1 or not 0 <= dropout < 1:
        raise ConfigError(f"hidden {hidden} must be >= 1, dropout {dropout} in [0, 1)")
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )


class VideoPool(nn.Module):
    """Outputs of frames, pooled into those of their video, and what the outputs mean.

    Args:
        dim: D, features of a frame, which the attention looks at.
        temporal: ``mean``, or ``attention``: a weight for every frame, learned from its features.
            Weights begin equal, so that training begins at the mean.
        bins: 0: an output is a score. K >= 2: outputs are K logits of a distribution over K scores
            spaced evenly over three standard deviations of the labels to either side of their
            mean; the score is its expectation, and cannot leave these bounds.
        num_frames, train_frames: of the student's views, to refuse what could not learn.

    Raises:
        ConfigError: a value is out of range, or attention would see one of several frames at a
            time in training: any weight of a single frame is 1 after the softmax.

    Source: attention pooling, Ilse et al., ICML 2018, equation 8.
    """

    places: Tensor | None

    def __init__(
        self,
        dim: int,
        temporal: str = "mean",
        bins: int = 0,
        num_frames: int = 1,
        train_frames: int | None = None,
    ) -> None:
        super().__init__()
        one_of("temporal", temporal, TEMPORAL)
        if not isinstance(bins, int) or isinstance(bins, bool) or bins < 0 or bins == 1:
            raise ConfigError(f"bins={bins}: 0 for none, else an integer >= 2")
        if temporal == "attention" and train_frames == 1 < num_frames:
            raise ConfigError(
                "temporal=attention learns how much each frame counts, and train_frames=1 shows it"
                " one at a time; set train_frames to 2 or more, or temporal=mean"
            )
        self.outputs = bins or 1
        self.attention = _attention(dim) if temporal == "attention" else None
        # In standard deviations of the labels; the options say all of it, so it is not saved.
        places = torch.linspace(-_REACH, _REACH, bins) if bins else None
        self.register_buffer("places", places, persistent=False)

    def forward(self, features: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Pool.

        Args:
            features: (B, T, D) float32.
            outputs: (B, T, 1 or K) float32.

        Returns:
            Videos (B,) and frames (B, T), in standard deviations of the labels, and the videos'
            logits (B, K) or None.
        """
        if self.attention is None:
            pooled = outputs.mean(1)
        else:
            pooled = (self.attention(features).softmax(1) * outputs).sum(1)
        if self.places is None:
            return pooled.squeeze(-1), outputs.squeeze(-1), None
        videos, frames = ((x.softmax(-1) * self.places).sum(-1) for x in (pooled, outputs))
        return videos, frames, pooled


def _attention(dim: int) -> nn.Sequential:
    """(..., D) -> (..., 1), equal for all frames before training."""
    last = nn.Linear(64, 1, bias=False)  # the softmax takes a bias away
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 64), nn.Tanh(), last)


class Student(QualityModel):
    """A quality model that scores frames and pools them.

    Attributes:
        pool: set by the subclass.
    """

    pool: VideoPool

    @property
    def bin_centres(self) -> Tensor | None:
        """See :class:`~distill.model.QualityModel`."""
        return None if self.pool.places is None else self.scaled(self.pool.places)

    def predict(self, features: Tensor, outputs: Tensor, name: str = "frames") -> Prediction:
        """Score videos by what a head says of their frames.

        Args:
            features: (B, T, D).
            outputs: (B, T, 1 or K) of the head, float32.
            name: of the features' mean over the frames, in the prediction.
        """
        with full_precision(features):
            videos, frames, logits = self.pool(features.float(), outputs)
        return Prediction(
            self.scaled(videos),
            self.scaled(frames),
            features={name: features.mean(1)},
            bin_logits=logits,
        )
