"""The Trainer of both training commands: devices, callbacks, checkpoints."""

import logging
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from distill.callbacks import EpochWeights, MovingAverage, Patience
from distill.checkpoints import LastCheckpoint
from distill.errors import ConfigError
from distill.options import TrainingConfig

BEST, LAST = "best.ckpt", "last.ckpt"
SELECT = "val/select"  # what the best checkpoint is chosen by: the mean of SRCC and PLCC


def _divisor(epochs: int, val_every: int) -> int:
    """The largest divisor of ``epochs`` up to ``val_every``: the last epoch is validated."""
    return max(n for n in range(1, min(epochs, val_every) + 1) if epochs % n == 0)


def make_trainer(training: TrainingConfig, folder: Path, loggers: list[Any]) -> pl.Trainer:
    """The Trainer of both training commands.

    Args:
        training: settings.
        folder: of the run; checkpoints go to ``folder/checkpoints``.
        loggers: Lightning's.

    Raises:
        ConfigError: no such device or precision here.
    """
    checkpoints = folder / "checkpoints"
    average = MovingAverage(training.ema_decay) if training.ema_decay > 0 else None
    before: list[Callback] = [average] if average is not None else []
    if training.patience:
        before.append(Patience(SELECT, training.patience))
    if training.average_last:
        before.append(EpochWeights(checkpoints, training.average_last, average))
    best = ModelCheckpoint(
        dirpath=checkpoints,
        filename=BEST.removesuffix(".ckpt"),
        monitor=SELECT,
        mode="max",
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )
    last = LastCheckpoint(checkpoints / LAST, training.checkpoint_every)
    checkpoints.mkdir(parents=True, exist_ok=True)
    # What a checkpoint tells of a step must have happened before it is written.
    return _trainer(
        training,
        folder,
        [*before, best, last],
        max_epochs=training.epochs,
        logger=loggers or False,
        check_val_every_n_epoch=_divisor(training.epochs, training.val_every),
    )


def make_probe(training: TrainingConfig, folder: Path, steps: int) -> pl.Trainer:
    """A Trainer of so many steps of the optimiser that validates, logs and writes nothing."""
    return _trainer(
        training, folder, [], max_epochs=-1, max_steps=steps, logger=False, limit_val_batches=0,
        enable_checkpointing=False,
    )  # fmt: skip


def best_select(trainer: pl.Trainer) -> float:
    """``val/select`` of the best checkpoint; NaN where it was never defined."""
    score = getattr(trainer.checkpoint_callback, "best_model_score", None)
    return math.nan if score is None else float(score)


def _trainer(
    training: TrainingConfig, folder: Path, callbacks: list[Callback], **options: Any
) -> pl.Trainer:
    # Lightning sets its own level on import; hints on its products are no news of a run.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    gpu = torch.cuda.is_available() and training.accelerator in ("auto", "gpu", "cuda")
    precision: Any = training.precision
    if precision == "auto":
        precision = "bf16-mixed" if gpu else "32-true"
    try:
        return pl.Trainer(
            accelerator=training.accelerator,
            devices=training.devices,
            precision=precision,
            gradient_clip_val=training.clip_norm,
            accumulate_grad_batches=training.accumulate,
            default_root_dir=folder,
            callbacks=[TQDMProgressBar(), *callbacks],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            deterministic="warn",
            enable_model_summary=False,
            **options,
        )
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"training.accelerator={training.accelerator}, training.devices={training.devices},"
            f" training.precision={training.precision}: {' '.join(str(error).split())}"
        ) from error
