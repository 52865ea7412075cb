"""Networks whose cost can be told by hand."""

from dataclasses import dataclass

from torch import Tensor, nn

from distill.model import Prediction, QualityModel


@dataclass(frozen=True)
class Pixels:
    """A view by its shape alone; nothing here decodes."""

    shape: tuple[int, ...]


class Toy(QualityModel):
    """Runs ``body`` on each frame of a (T, 8, size) view, read as T x 8 tokens of ``size``."""

    def __init__(self, body: nn.Module, frames: int = 3, size: int = 4) -> None:
        super().__init__()
        self.views = {"pixels": Pixels((frames, 8, size))}  # type: ignore[dict-item]
        self.body = body

    def forward(self, batch: dict[str, Tensor]) -> Prediction:
        frame_scores = self.body(batch["pixels"].float().flatten(0, 1)).mean((1, 2))
        return Prediction(frame_scores.mean()[None], frame_scores[None])
