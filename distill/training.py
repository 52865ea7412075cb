"""The LightningModule that trains any quality model.

Network and loss are injected; nothing here knows a concrete one.
"""

import math
from contextlib import nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from distill.chunks import predict_in_chunks
from distill.compiled import Compiled
from distill.data.dataset import Batch
from distill.data.identity import seed_of
from distill.data_sets import SetScales
from distill.errors import ConfigError, TrainingError
from distill.guide import Guide
from distill.losses import WeightedLoss
from distill.metrics import CorrelationMetric
from distill.model import QualityModel
from distill.optimiser import WarmupCosine, parameter_groups
from distill.options import TrainingConfig
from distill.trainer import BEST, LAST, SELECT, best_select, make_probe, make_trainer

__all__ = [
    "BEST", "LAST", "SELECT", "QualityModule", "best_select", "make_probe", "make_trainer",
    "require_bins",
]  # fmt: skip


class QualityModule(pl.LightningModule):
    """Trains a quality model on MOS and pseudo-labels.

    Args:
        model: the network.
        loss: on the scores; also, with weight ``training.member_loss``, on each member's.
        training: learning rates and schedule.
        seed: dropout masks are a function of it and of the step, so that a resumed run repeats
            an unbroken one.
        sets: data sets of the training examples, the main one counted in.
        guide: a teacher of the same views; None trains without.

    Attributes:
        rate_factor: on all learning rates, until the optimiser is made.
        failed: videos that could not be decoded: position and reason.
    """

    def __init__(
        self,
        model: QualityModel,
        loss: WeightedLoss,
        training: TrainingConfig,
        seed: int,
        sets: int = 1,
        guide: Guide | None = None,
    ) -> None:
        super().__init__()
        require_bins(loss, model)
        if training.compile and guide is not None:
            raise ConfigError(
                "training.compile=true and guide.bundle: the guide looks into the network, and a"
                " compiled network does not allow that; give one of them"
            )
        self.model, self.loss = model, loss
        if training.gradient_checkpointing:
            model.checkpoint_gradients()
        # Not part of the model: a bundle scores on the main set's scale.
        self.scales = SetScales(sets, model.score_mean, model.score_std) if sets > 1 else None
        self.settings, self.seed, self.guide = training, seed, guide
        self._compiled: Compiled | None = None
        self.agreement = CorrelationMetric()
        self.failed: dict[int, str] = {}
        self.rate_factor = 1.0
        # Videos learned from in this epoch. None: it was resumed, and had some before perhaps.
        self._sound: int | None = None

    def on_train_start(self) -> None:
        # Not before: by now the averaged weights have their copy of this module. No submodule of
        # it, so that checkpoints know nothing of it.
        if self.settings.compile:
            self._compiled = Compiled(self.model, "training.compile")

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        loader = self.trainer.train_dataloader
        assert loader is not None
        # Not the optimiser's step: the batches that one accumulates have masks of their own.
        step = self.current_epoch * len(loader.batch_sampler) + batch_idx
        torch.manual_seed(seed_of(self.seed, "step", step, self.global_rank))
        loader.batch_sampler.done = batch_idx + 1  # what a checkpoint of this step resumes from
        self.log("train/data_wait", loader.waiting.share())
        rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        self.log("lr", max(rates))  # of new layers; pretrained ones keep their ratio to it

    def on_train_epoch_start(self) -> None:
        self._sound = 0

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if batch_idx + 1 < self.trainer.num_training_batches or self._sound is None:
            return
        learned = self._sound > 0
        if self.trainer.world_size > 1:
            learned = self.trainer.strategy.reduce_boolean_decision(learned, all=False)
        if not learned:
            reason = next(iter(self.failed.values()), "none was tried")
            raise TrainingError(
                f"epoch {self.current_epoch} learned from no video: not one could be decoded;"
                f" the first: {reason}"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.failed.update(batch.failed)
        if self._sound is not None:
            self._sound += len(batch)
        if len(batch) == 0:  # every rank must take part in the gathered losses: weight 0 does
            batch = self._weightless()
        network = self.model if self._compiled is None else self._compiled.for_training
        with self.guide.watch(self.model, batch.views) if self.guide else nullcontext():
            prediction = predict_in_chunks(network, batch.views, self.settings.chunk or len(batch))
        total, parts = self._loss(prediction.score, batch, prediction.bin_logits)
        for name, score in prediction.member_scores.items():
            member, _ = self._loss(score, batch)
            total = total + self.settings.member_loss * member
            parts[f"member_{name}"] = member.detach()
        if self.guide is not None:
            bins = self._bins(prediction.bin_logits)
            guided, told = self.guide.loss(prediction, batch, self.loss, bins)
            total, parts = total + guided, parts | told
        if not total.requires_grad:
            raise TrainingError(
                "the loss trains nothing: with teacher.fusion=late each member trains by itself, so"
                " training.member_loss must be above 0"
            )
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {float(value):.3g}" for name, value in parts.items())
            raise TrainingError(
                f"the loss is {total.item()} at step {self.global_step} ({values}); try a smaller"
                " training.lr and training.backbone_lr, or training.precision=32-true"
            )
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch))
        self.log_dict({f"train/{k}": v for k, v in parts.items()}, batch_size=len(batch))
        return total * self._share(batch_idx)

    def _share(self, batch_idx: int) -> float:
        """What makes the gradient of a step the mean over the batches that it has.

        Lightning divides by ``training.accumulate`` even where an epoch ends with fewer.
        """
        every = self.settings.accumulate
        if every == 1:
            return 1.0
        batches = int(self.trainer.num_training_batches)
        return every / min(every, batches - batch_idx // every * every)

    def _loss(
        self, score: Tensor, batch: Batch, bin_logits: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        bins = self._bins(bin_logits)
        if self.scales is not None:
            score = self.scales(score, batch.dataset)
            if bins is not None:  # bins of a further set lie where its scores do
                bins = (bins[0], self.scales(bins[1], batch.dataset[:, None]))
        return self.loss(
            score, batch.target, batch.weight, batch.error, batch.dataset, batch.group, bins
        )

    def _bins(self, logits: Tensor | None) -> tuple[Tensor, Tensor] | None:
        centres = self.model.bin_centres
        if logits is None or centres is None:
            return None
        return logits, centres.expand(logits.shape)

    def _weightless(self) -> Batch:
        views = {
            name: torch.zeros((1, *view.shape), dtype=torch.uint8, device=self.device)
            for name, view in self.model.views.items()
        }
        zero = torch.zeros(1, device=self.device)
        codes = zero.long()
        return Batch(views, codes, zero, zero, zero, zero.bool(), codes, codes, [], [], [])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if len(batch):
            self.agreement.update(self.model(batch.views).score.float(), batch.target)

    def on_validation_epoch_end(self) -> None:
        values = {name: value.float() for name, value in self.agreement.compute().items()}
        self.agreement.reset()
        self.log("val/srcc", values["srcc"], prog_bar=True)
        self.log("val/plcc", values["plcc"], prog_bar=True)
        # NaN where they are undefined: ModelCheckpoint puts that last.
        self.log(SELECT, (values["srcc"] + values["plcc"]) / 2)

    def on_train_end(self) -> None:
        if self.trainer.world_size > 1:  # the first process writes the report
            shares: list[dict[int, str]] = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(shares, self.failed)
            self.failed = {index: why for share in shares for index, why in share.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["failed"] = self.failed
        checkpoint["processes"] = self.trainer.world_size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse other processes than before: batches, seeds and schedule are made for as many."""
        now = self.trainer.world_size
        before = checkpoint.get("processes", now)
        if before != now:
            raise ConfigError(
                f"the run began with {before} processes, and now there are {now}: a joint batch"
                " would have other videos and the schedule another number of steps; resume it with"
                f" as many (training.devices={before} on one machine), or start a new run with"
                " init=BUNDLE"
            )
        self.failed = dict(checkpoint["failed"])

    def optimiser_steps(self) -> int:
        """Of the whole training, unless it is stopped early.

        Not ``trainer.estimated_stepping_batches``: it makes the loader before a checkpoint is
        restored, and the loader would then start its epoch anew.
        """
        batches = len(self.trainer.datamodule.epoch_batches())  # type: ignore[attr-defined]
        return self.settings.epochs * math.ceil(batches / self.settings.accumulate)

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self.model, self.settings)
        if self.scales is not None:
            rate = {"lr": self.settings.lr, "weight_decay": 0.0}
            groups.append({"params": list(self.scales.parameters()), **rate})
        if self.guide is not None and self.guide.options.features:
            groups.append({"params": list(self.guide.parameters()), "lr": self.settings.lr})
        for group in groups:
            group["lr"] *= self.rate_factor
        optimizer = torch.optim.AdamW(groups)
        schedule = WarmupCosine(self.optimiser_steps(), self.settings.warmup)
        scheduler = {"scheduler": LambdaLR(optimizer, schedule), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def require_bins(loss: WeightedLoss, model: QualityModel) -> None:
    """Raises ConfigError where a loss term wants a distribution that the model does not predict."""
    if loss.needs_bins and model.bin_centres is None:
        raise ConfigError(
            "loss.distribution compares distributions, and this network"
            f" ({type(model).__name__}) predicts only a score; give a student bins with"
            " student.bins=16, or choose another loss"
        )
