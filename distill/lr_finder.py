"""A range test of the learning rates: a short training in which they rise until it breaks."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from distill import plots
from distill.data.datamodule import VQADataModule
from distill.errors import Interrupted, TrainingError
from distill.options import TrainingConfig
from distill.training import QualityModule, make_probe

log = logging.getLogger(__name__)
STEPS = 60
LOW, HIGH = 1e-3, 1e2  # times the rates as given: five decades, twelve steps each
_SMOOTH = 0.8  # of the running mean of the losses
_DIVERGED = 4.0  # times the lowest loss
_STILL = 12  # steps of the first decade: the rates are too small to move anything
_EARLIER = 10.0  # the rate is this far below the one at the lowest loss


@dataclass
class RangeTest:
    """Losses by factor on all learning rates.

    Attributes:
        factors: tried, rising.
        losses: of each; as many, or fewer where the test was ended early.
    """

    factors: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def smooth(self) -> list[float]:
        """The running mean of the losses, without the pull to zero at its start."""
        mean, out = 0.0, []
        for at, loss in enumerate(self.losses, 1):
            mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
            out.append(mean / (1 - _SMOOTH**at))
        return out

    def diverged(self) -> bool:
        """Whether the last losses are so far above the lowest that larger rates need no trial."""
        smooth = self.smooth()
        return smooth[-1] > _DIVERGED * min(smooth) > 0

    def choice(self) -> float | None:
        """The factor: a tenth of the one at which the smoothed loss is lowest.

        None where that loss is not clearly below the first ones: by less than their standard
        deviation, about three of the running mean's.

        Source: the test is Smith's (WACV 2017); a tenth of the rate at the minimum is fast.ai's
            rule ``minimum``.
        """
        if len(self.losses) <= _STILL:
            return None
        smooth, still = self.smooth(), self.losses[:_STILL]
        at = int(np.argmin(smooth))
        clear = smooth[at] < np.mean(still) - np.std(still)
        return self.factors[at] / _EARLIER if clear and at >= _STILL else None


class _Ramp(Callback):
    """Sets the rates of every step, notes its loss, ends a test that has diverged."""

    def __init__(self) -> None:
        self.found = RangeTest()
        self._loss, self._batches = 0.0, 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        factor = LOW * (HIGH / LOW) ** (trainer.global_step / (STEPS - 1))
        if len(self.found.factors) == trainer.global_step:
            self.found.factors.append(factor)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        # The first process speaks for all: to one that stops alone the others would wait forever.
        self._loss += trainer.strategy.broadcast(float(trainer.callback_metrics["train/loss"]))
        self._batches += 1
        if trainer.global_step == len(self.found.losses):  # within a step of several batches
            return
        self.found.losses.append(self._loss / self._batches)
        self._loss, self._batches = 0.0, 0
        trainer.should_stop = trainer.should_stop or self.found.diverged()


def range_test(trainer: pl.Trainer, module: QualityModule, datamodule: VQADataModule) -> RangeTest:
    """Train with rising rates; then the module is as it was before.

    Args:
        trainer: of ``make_probe``.
        module: gets its weights, buffers and random numbers back.
        datamodule: of its own.

    Raises:
        Interrupted: a signal; nothing is kept.
    """
    # Not its state dict, which leaves out what no checkpoint holds.
    before = {name: tensor.detach().cpu().clone() for name, tensor in _tensors(module)}
    ramp = _Ramp()
    trainer.callbacks.append(ramp)  # type: ignore[attr-defined]
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices), _stopped_by_signals():
        try:
            trainer.fit(module, datamodule=datamodule)
        except TrainingError as error:  # a loss that is no number is how a range test may end
            log.debug("the range test ended early: %s", error)
    with torch.no_grad():
        for name, tensor in _tensors(module):
            tensor.copy_(before[name])
    module.zero_grad(set_to_none=True)
    module.failed = {}
    return ramp.found


def _tensors(module: QualityModule) -> Iterator[tuple[str, torch.Tensor]]:
    """Everything that a training may move."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def find_factor(
    module: QualityModule, datamodule: VQADataModule, training: TrainingConfig, folder: Path
) -> float:
    """What all learning rates of a training are multiplied by; draws ``plots/lr_finder.png``.

    All of them by the same factor: new layers, backbones, and members with a rate of their own.

    Args:
        module, datamodule: see :func:`range_test`.
        training: settings.
        folder: of the run, or of this part of it.
    """
    trainer = make_probe(training, folder, STEPS)
    found = range_test(trainer, module, datamodule)
    factor = found.choice()
    if trainer.is_global_zero:
        picture = folder / "plots" / "lr_finder.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        plots.range_test(picture, found.factors, found.losses, found.smooth(), factor, training.lr)
    if factor is None:
        log.warning(
            "find_lr: in %d steps from %.1e to %.1e times the learning rates, the loss never fell"
            " clearly; the rates stay as given, lr %.3g and backbone_lr %.3g (plots/lr_finder.png)",
            len(found.losses), LOW, HIGH, training.lr, training.backbone_lr,
        )  # fmt: skip
        return 1.0
    log.info(
        "find_lr: %d steps; the learning rates are %.3g times those given: lr %.3g and"
        " backbone_lr %.3g (plots/lr_finder.png)",
        len(found.losses), factor, factor * training.lr, factor * training.backbone_lr,
    )  # fmt: skip
    return factor


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Lightning would end the process with a code of its own."""

    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        raise Interrupted(f"stopped by {name} during the search for a learning rate", number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
