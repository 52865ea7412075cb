"""A fit of seconds: pictures of noise whose brightness is the label, and a network of one layer."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from distill.data.datamodule import VQADataModule
from distill.data.dataset import Example
from distill.data.manifest import Row
from distill.data.reader import VideoInfo
from distill.data.views import KeyFrames, View
from distill.errors import VideoError
from distill.losses import WeightedLoss
from distill.model import Prediction, QualityModel, full_precision
from distill.options import TrainingConfig
from distill.training import QualityModule, make_trainer


class Bright:
    """Frames of noise around a level, which the file's name gives; ``bad`` cannot be read."""

    name = "bright"

    def probe(self, path: Path) -> VideoInfo:
        return VideoInfo(20, 10.0, 24, 16)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        if path.stem.startswith("bad"):
            raise VideoError(path, self.name, "torn")
        level = int(path.stem)
        for index in indices:
            rng = np.random.default_rng([level, index])
            yield index, rng.integers(level, level + 60, (16, 24, 3), dtype=np.uint8)


class Toy(QualityModel):
    """One layer on frames' means, BatchNorm with moving statistics, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.views = {"frames": KeyFrames(4, 16, train_frames=2)}
        self.hidden, self.norm = nn.Linear(3, 16), nn.BatchNorm1d(16)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(16, 1)
        self.register_buffer("order", torch.arange(3), persistent=False)

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        colours = batch["frames"].float().mean((1, 3, 4)) / 100 - 1
        hidden = self.drop(self.norm(self.hidden(colours[:, self.order])).relu())
        with full_precision(hidden):
            return Prediction(self.head(hidden.float())[:, 0])


def examples(folder: Path, count: int, start: int = 0) -> list[Example]:
    """Videos of levels spread over 0..190; every target is the level / 50."""
    folder.mkdir(exist_ok=True)
    found = []
    for at in range(start, start + count):
        level = at * 37 % 190
        path = folder / f"{level:03}.mp4"
        path.write_bytes(str(level).encode())
        found.append(Example(Row(path.name, path, level / 50, group=path.stem), level / 50))
    return found


def module_of(training: TrainingConfig, model: QualityModel | None = None) -> QualityModule:
    """A module whose weights are always the same at the start."""
    torch.manual_seed(3)
    return QualityModule(model or Toy(), WeightedLoss({"plcc": 1, "mse": 1}), training, 0)


def data_of(
    folder: Path, training: TrainingConfig, views: Mapping[str, View], count: int = 22
) -> VQADataModule:
    """Training and validation videos."""
    return VQADataModule(
        examples(folder / "videos", count), examples(folder / "videos", 8, 100), views, Bright(),
        batch_size=training.batch_size, num_workers=0,
        batches_per_epoch=training.batches_per_epoch,
    )  # fmt: skip


def toy_fit(
    folder: Path, model: QualityModel | None = None, *, resume: bool = False, count: int = 22,
    callbacks: Sequence[pl.Callback] = (), **options: Any,
) -> tuple[QualityModule, pl.Trainer]:  # fmt: skip
    """Train; checkpoints go to ``folder/checkpoints``."""
    given = {"epochs": 3, "batch_size": 4, "accelerator": "cpu", "lr": 0.02, "ema_decay": 0.0}
    training = TrainingConfig(**{**given, **options})
    folder.mkdir(exist_ok=True)
    module = module_of(training, model)
    trainer = make_trainer(training, folder, [])
    trainer.callbacks += list(callbacks)  # type: ignore[attr-defined]
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(
        module, datamodule=data_of(folder, training, module.model.views, count), weights_only=True,
        ckpt_path=last if resume else None,
    )  # fmt: skip
    return module, trainer
