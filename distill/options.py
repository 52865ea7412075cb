"""The option groups that commands share: which videos, how to read and train on them, tracking."""

import os
from dataclasses import dataclass, field
from typing import Any

from distill.checks import above, as_list, at_least, between, one_of
from distill.data.readers import NAMES
from distill.errors import ConfigError

PRECISIONS = "auto 32-true bf16-mixed 16-mixed".split()  # "true" ones would cast a Batch


@dataclass
class DataConfig:
    """Which videos.

    Attributes:
        name: what the data set is called in messages and file names.
        manifest: a CSV, TSV or Parquet table of videos; null is the embedded data set.
        root: folder that the table's paths start from; null is the folder of the table. For a
            public data set: the folder of its videos, in any sub-folders.
        columns: the table's own names for video, mos, mos_std, split and group; with braces, a
            text made of the row's cells, as '"{vid}.mp4"' for video.
        group_regex: regular expression; what it finds in a video's path is the group.
        adapter: module of distill/datasets that reads a public data set's label files.
        labels: the public set's label file, or a folder that has it; null looks below data.root.
        options: options of the adapter.
        as_split: train, val or test: put every labelled video there; test scores a whole set.
        labelled_groups: keep the labels of this many train contents and hide all others; null
            keeps all.
        also: further tables whose labelled train videos are learned from as well, each with a
            scale and a shift of its own; nothing is chosen or tested on them.
        val_share: share of the train contents that is taken for validation if the table has no val
            split.
        num_workers: number of decoding processes; null is one per core, at most 8.
        prefetch: batches that each decoding process decodes ahead.
    """

    name: str = "demo"
    manifest: str | None = None
    root: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    group_regex: str | None = None
    adapter: str | None = None
    labels: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    as_split: str | None = None
    labelled_groups: int | None = None
    also: Any = field(default_factory=list)
    val_share: float = 0.2
    num_workers: int | None = None
    prefetch: int = 2

    def __post_init__(self) -> None:
        self.also = as_list(self.also)
        at_least("data.labelled_groups", self.labelled_groups, 1)
        at_least("data.num_workers", self.num_workers, 0)
        at_least("data.prefetch", self.prefetch, 1)
        between("data.val_share", self.val_share, 0.01, 0.9)
        if self.as_split is not None:
            one_of("data.as_split", self.as_split, ("train", "val", "test"))
        if self.adapter and self.manifest:
            raise ConfigError(f"data={self.name} and the table {self.manifest}: give one of them")


@dataclass
class ReaderConfig:
    """How videos are decoded; the arguments of ``make_reader``.

    Attributes:
        name: auto (what measured best: pyav), pyav, decord, torchcodec.
        threads: decoder threads for one video.
        time_limit: seconds that decoding one video may take before it is left out; null (or
            none) sets no limit, and decodes without the separate process that a limit needs.
        hdr: what to do with HDR videos: keep or refuse.
    """

    name: str = "auto"
    threads: int = 1
    time_limit: Any = 120.0
    hdr: str = "keep"

    def __post_init__(self) -> None:
        one_of("reader.name", self.name, NAMES)
        at_least("reader.threads", self.threads, 1)
        if self.time_limit == "none":  # as score.py has it
            self.time_limit = None
        if self.time_limit is not None:
            if isinstance(self.time_limit, bool) or not isinstance(self.time_limit, int | float):
                raise ConfigError(
                    f"reader.time_limit={self.time_limit}: give a number of seconds, or null"
                )
            above("reader.time_limit", self.time_limit, 0)
        one_of("reader.hdr", self.hdr, ("keep", "refuse"))


@dataclass
class TrainingConfig:
    """How long, how fast, where.

    Attributes:
        epochs: passes over the training videos; 0 (training=none) trains nothing: a teacher of
            published scores, or a student with init=BUNDLE, is only calibrated.
        batch_size: videos per batch and device; the losses rank videos within the joint batch.
        chunk: videos that go through the network at a time. A large batch then needs only the
            memory of a chunk, at the price of a second forward pass (gradient caching); the
            gradients are the same. null passes the whole batch.
        accumulate: batches whose gradients are averaged for one step of the optimiser. Each has a
            loss of its own, so videos are ranked within a batch, not within a step.
        lr: peak learning rate of new layers.
        backbone_lr: peak learning rate of layers that start from pretrained weights.
        find_lr: test learning rates before training: 60 steps from 0.001 to 100 times the given
            rates, which are then multiplied by the factor that the test chose. Not on resume.
        weight_decay: AdamW's weight decay, on matrices only.
        warmup: share of all steps in which the learning rate rises; a half cosine follows.
        clip_norm: gradients are clipped to this norm.
        ema_decay: decay per step of the averaged weights, which are those that are evaluated and
            kept; 0 averages none.
        average_last: also try the mean of the weights after each of this many last epochs (of the
            averaged weights, unless ema_decay=0), and keep it if it is better on validation than
            the best epoch; 0 does not.
        patience: stop after this many validations in a row without a new best; 0 never stops
            early. The learning rates follow the schedule of all epochs in any case.
        gradient_checkpointing: compute the activations of trained backbones twice instead of
            keeping them: slower, far less memory, the same gradients. BatchNorm statistics that
            are trained (fixed_batchnorm=false) move twice per step.
        member_loss: weight of the loss of each teacher member's own head.
        pseudo_weight: weight of a pseudo-label in the loss, where a MOS weighs 1.
        pseudo_share: share of pseudo-labelled videos in every batch, the others have a MOS; an
            epoch is then one pass over the kind that takes longer. null keeps the data's own share.
        label_noise: factor that makes mos_std the standard error of a MOS, that is
            1 / sqrt(raters): 0.236 for 18 raters. Noisy labels then weigh less, and the fidelity
            loss knows the error of each; 0 is off.
        batches_per_epoch: end each epoch after this many batches, for trials; null is a whole pass.
        val_every: epochs from one validation to the next, lowered to a divisor of ``epochs`` so
            that the last epoch is validated; the best validated epoch is kept.
        precision: Lightning's precision; auto is bf16-mixed on a GPU and 32-true elsewhere. Heads
            and losses stay float32.
        compile: let torch compile the network for the training steps; if it cannot, the run says
            so and continues without. Checkpoints and bundles are the same. Not together with chunk
            or a guide.
        accelerator, devices: Lightning's.
        checkpoint_every: minutes between checkpoints, the most training that a SIGKILL can cost.
        feature_cache: folder for the cached features of frozen members; auto is one below
            DISTILL_CACHE or ~/.cache, none computes them anew in each step.
    """

    epochs: int = 10
    batch_size: int = 8
    chunk: int | None = None
    accumulate: int = 1
    lr: float = 1e-3
    backbone_lr: float = 1e-4
    find_lr: bool = False
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    ema_decay: float = 0.99
    average_last: int = 0
    patience: int = 0
    gradient_checkpointing: bool = False
    member_loss: float = 0.3
    pseudo_weight: float = 1.0
    pseudo_share: float | None = None
    label_noise: float = 0.0
    batches_per_epoch: int | None = None
    val_every: int = 1
    precision: str = "auto"
    compile: bool = False
    accelerator: str = "auto"
    devices: Any = "auto"
    checkpoint_every: float = 5.0
    feature_cache: str = "auto"

    def __post_init__(self) -> None:
        at_least("training.epochs", self.epochs, 0)
        for name in ("accumulate", "batches_per_epoch", "val_every"):
            at_least(f"training.{name}", getattr(self, name), 1)
        at_least("training.batch_size", self.batch_size, 2)
        at_least("training.chunk", self.chunk, 1)
        if self.compile and self.chunk is not None:
            raise ConfigError(
                f"training.compile=true and training.chunk={self.chunk}: chunks are computed twice,"
                " and a compiled network moves BatchNorm statistics each time; give one of them"
            )
        for name in ("average_last", "patience"):
            at_least(f"training.{name}", getattr(self, name), 0)
        if self.epochs and self.average_last > self.epochs:
            raise ConfigError(
                f"training.average_last={self.average_last}: there are training.epochs="
                f"{self.epochs} epochs; give no more"
            )
        for name in ("lr", "clip_norm", "checkpoint_every"):
            above(f"training.{name}", getattr(self, name), 0)
        for name in ("backbone_lr", "weight_decay", "member_loss", "pseudo_weight", "label_noise"):
            at_least(f"training.{name}", getattr(self, name), 0)
        if self.pseudo_share is not None:
            between("training.pseudo_share", self.pseudo_share, 0.01, 0.99)
        between("training.warmup", self.warmup, 0, 0.99)
        between("training.ema_decay", self.ema_decay, 0, 0.99999)
        one_of("training.precision", self.precision, PRECISIONS)
        one_of("training.accelerator", self.accelerator, ("auto", "cpu", "gpu", "cuda", "mps"))


@dataclass
class TrackingConfig:
    """Where the numbers go besides the run directory.

    Attributes:
        mode: auto (W&B online with a key and network, else offline), online, offline, off.
        project, entity: W&B's.
        group: W&B's group of the run; null takes the group of what the run learns from, or else a
            new one.
        names: allow names of videos and contents, paths, this program's messages, and the names of
            machine, user and repository to be sent to W&B. false keeps them in the run directory.
        media: allow frames of the videos to be sent, and with them what ``names`` allows.
        upload_models: allow bundles to be sent, weights and all, with the paths in their
            provenance.
    """

    mode: str = "auto"
    project: str = "distill-vqa"
    entity: str | None = None
    group: str | None = None
    names: bool = False
    media: bool = False
    upload_models: bool = False

    def __post_init__(self) -> None:
        one_of("tracking.mode", self.mode, ("auto", "online", "offline", "off"))


@dataclass
class RayConfig:
    """Workers of ``engine=ray``, on all machines of a Ray cluster.

    Attributes:
        address: address of the cluster (auto, HOST:6379, ray://HOST:10001); null starts Ray on
            this machine and stops it at the end.
        workers: number of processes that label; null is one per GPU, or, without GPUs, as many as
            the cluster's CPUs allow with ``cpus`` each.
        cpus: CPUs that each worker asks Ray for, and decodes with unless ``data.num_workers`` says
            otherwise.
        gpus: GPUs that each worker asks Ray for; null is 1 if the cluster has GPUs, else 0.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1.0
    gpus: float | None = None

    def __post_init__(self) -> None:
        at_least("ray.workers", self.workers, 1)
        above("ray.cpus", self.cpus, 0)
        at_least("ray.gpus", self.gpus, 0)


def decoding_workers(given: int | None, processes: int = 1) -> int:
    """Decoding processes: as given, or one per core and at most 8.

    Args:
        given: the option.
        processes: that share the cores of this machine.
    """
    if given is not None:
        return given
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(8, (cores or 1) // processes))


def time_limit_option() -> dict[str, Any]:
    """``--time-limit`` of the commands that argparse reads, as its ``add_argument`` takes it."""
    given = ReaderConfig.time_limit
    text = f"seconds that decoding one video may take (default {given:g}; none: no limit)"
    return {"type": _seconds, "default": given, "metavar": "SECONDS", "help": text}


def _seconds(text: str) -> float | None:
    """A time limit as it is typed."""
    if text in ("none", "null"):  # null: as reader.time_limit has it
        return None
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"--time-limit {text}: give a number of seconds, or none") from None
    above("--time-limit", value, 0)
    return value
