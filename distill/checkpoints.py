"""The checkpoint that a stopped run goes on from."""

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from distill.errors import Interrupted


class LastCheckpoint(Callback):
    """Writes ``last.ckpt`` after every epoch, every few minutes, and when a signal asks to stop.

    The file is written under another name and then renamed, so that it is whole at any moment.
    After SIGINT or SIGTERM the step in work is finished, the checkpoint written, and
    ``Interrupted`` raised; a second SIGINT stops at once. During validation the signal waits for
    its end. A step is a batch, or the batches that the optimiser accumulates: no checkpoint lies
    between them, for it would lack the gradients of the first ones.

    Args:
        path: of ``last.ckpt``.
        every: minutes between two checkpoints within an epoch.
    """

    def __init__(self, path: Path, every: float) -> None:
        self.path, self.every = path, every
        self._signal: int | None = None
        self._validating = False
        self._handlers: dict[int, Any] = {}
        self._saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None and number == signal.SIGINT:
            self._raise(f"what came after the last checkpoint, {self.path}, is lost")
        self._signal = number
        phase = "validation" if self._validating else "step"
        text = f"finishing this {phase}, then writing a checkpoint (Ctrl-C again: stop now)"
        os.write(2, f"\n{signal.Signals(number).name}: {text}\n".encode())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validating = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validating = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any,
        batch_idx: int,
    ) -> None:  # fmt: skip
        # The last batch of an epoch is followed by validation and the checkpoint of the epoch.
        if batch_idx + 1 >= trainer.num_training_batches:
            return
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        stop = _any_rank(trainer, self._signal is not None)
        due = time.monotonic() - self._saved >= 60 * self.every
        if stop or _any_rank(trainer, due):
            self._save(trainer)
        if stop:
            self._raise(f"{self.path} holds everything up to the last step")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer)
        if _any_rank(trainer, self._signal is not None):
            self._raise(f"{self.path} holds everything up to the last step")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _save(self, trainer: pl.Trainer) -> None:
        whole = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(whole)
        if trainer.is_global_zero:
            os.replace(whole, self.path)
        self._saved = time.monotonic()

    def _raise(self, what: str) -> None:
        number = self._signal or signal.SIGTERM  # None: another process was told to stop
        raise Interrupted(
            f"stopped by {signal.Signals(number).name}; {what}; continue with the same command and"
            " resume=true",
            number,
        )


def _any_rank(trainer: pl.Trainer, value: bool) -> bool:
    if trainer.world_size == 1:
        return value
    return trainer.strategy.reduce_boolean_decision(value, all=False)
