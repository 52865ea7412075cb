"""What happens at the ends of steps and epochs besides checkpoints: averages, early stopping."""

import logging
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, WeightAveraging
from torch import Tensor, nn

log = logging.getLogger(__name__)
_REACH = 2 / 3  # of a training, the most that a moving average reaches over


class _Moving:
    """Exponential moving average; in this form frozen weights keep their every bit."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        return mean.lerp(current, 1 - self.decay)


class MovingAverage(WeightAveraging):
    """The exponential moving average of the weights, after every step of the optimiser.

    It is what is validated and kept. Buffers are copied: an average of integers (Swin's position
    index) would be truncated.

    The average begins with the weights after the first step, which weigh decay^n after n more. So
    that a short training keeps little of them (0.22 at the most), it reaches over two thirds of the
    training's steps at the most: a decay that would reach further is lowered, and that is told.

    Args:
        decay: in (0, 1); reaches over 1 / (1 - decay) steps.
    """

    def __init__(self, decay: float) -> None:
        self._decay, self._moving = decay, _Moving(decay)
        super().__init__(use_buffers=False, avg_fn=self._moving)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """By now the number of steps is known."""
        steps: int = pl_module.optimiser_steps()  # type: ignore[operator]
        self._moving.decay = min(self._decay, max(0.0, 1 - 1 / (_REACH * steps)))
        if self._moving.decay < self._decay:
            log.info(
                "training.ema_decay=%g averages over %.0f steps, but training has only %d: %.4g"
                " is used instead",
                self._decay, 1 / (1 - self._decay), steps, self._moving.decay,
            )  # fmt: skip

    @property
    def averaged(self) -> nn.Module:
        """The module with the averaged weights; during ``fit`` only."""
        assert self._average_model is not None
        return self._average_model.module


class Patience(EarlyStopping):
    """Stops after so many validations in a row without a new best value.

    A value that is no number (correlations of constant scores) is no improvement on one that was;
    until the first that is one, nothing counts. A run that was stopped here and then killed does
    not train on when it is resumed.

    Args:
        monitor: what is validated; larger is better.
        patience: validations, >= 1.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        super().__init__(
            monitor, patience=patience, mode="max", check_finite=False,
            check_on_train_epoch_end=False,
        )  # fmt: skip

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """By now the counter of a resumed run is back."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics[self.monitor]
        if torch.isfinite(value) or torch.isfinite(self.best_score):
            super().on_validation_end(trainer, pl_module)


class EpochWeights(Callback):
    """Keeps the network's weights after each of the last epochs: the averaged ones, if there are.

    Has to run before the checkpoint of the epoch is written: whatever epochs that one counts then
    have their file, and an epoch that a kill undid writes its own anew.

    Args:
        folder: of the files ``epoch-NNNN.ckpt``; see ``distill.bundle.read_weights``.
        count: epochs, >= 1.
        average: where the averaged weights are; None takes those that are trained.
    """

    def __init__(self, folder: Path, count: int, average: MovingAverage | None) -> None:
        self.folder, self.count, self.average = folder, count, average

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        module = self.average.averaged if self.average is not None else pl_module
        network = {k: v for k, v in module.state_dict().items() if k.startswith("model.")}
        save_weights(network, self.folder / f"epoch-{trainer.current_epoch:04}.ckpt")
        for old in epoch_weights(self.folder)[: -self.count]:
            old.unlink()


def epoch_weights(folder: Path) -> list[Path]:
    """The files of ``EpochWeights``, the last epoch's last."""
    return sorted(folder.glob("epoch-*.ckpt"))


def save_weights(state: dict[str, Tensor], path: Path) -> None:
    """Write weights as a checkpoint that holds nothing else; whole at any moment."""
    whole = path.with_suffix(".tmp")
    torch.save({"state_dict": state}, whole)
    os.replace(whole, path)


def mean_weights(files: list[Path]) -> dict[str, Tensor]:
    """The mean of the floating-point weights of several checkpoints.

    Running statistics of BatchNorm are averaged like weights. (Here they stand still, unless
    ``fixed_batchnorm=false``.) What is no floating-point number is the last file's, and what is
    the same in all files keeps its every bit.

    Args:
        files: of :func:`save_weights`, of one network; at least one.

    Returns:
        The state dict, dtypes as they were.

    Source: averaging the weights of the end of a run: stochastic weight averaging (Izmailov et
        al., UAI 2018).
    Differs: SWA averages runs at a constant or cyclic rate and recomputes BatchNorm's statistics.
        Our rate falls to zero, so the last epochs lie close together.
    """
    states = [_state(file) for file in files]
    mean: dict[str, Tensor] = {}
    for name, last in states[-1].items():
        same = all(torch.equal(state[name], last) for state in states)
        if same or not last.is_floating_point():
            mean[name] = last
            continue
        total = torch.stack([state[name].double() for state in states]).mean(0)
        mean[name] = total.to(last.dtype)
    return mean


def _state(file: Path) -> dict[str, Any]:
    return torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
