"""The options of every command: types, ranges, and errors that name the nearest right one.

Hydra composes YAML files of ``conf/`` into these dataclasses. Hydra lets a few things pass that
a user did not mean (``+bugdet=120`` adds a key, ``budget=abc`` is a string); they stop here.
"""

import inspect
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distill.checks import above, as_list, at_least, between, one_of, unknown_option
from distill.errors import ConfigError

PRECISIONS = "auto 32-true bf16-mixed 16-mixed".split()  # "true" ones would cast a Batch


@dataclass
class DataConfig:
    """Which videos.

    Attributes:
        name: for messages and file names.
        manifest: a CSV, TSV or Parquet of videos; None is the embedded data set.
        root: folder that the table's paths start from; None is the table's own. A public data
            set's videos lie in it, in any sub-folders.
        columns: the table's own names for video, mos, mos_std, split and group; with braces a
            text made of its cells, as '"{vid}.mp4"' for video.
        group_regex: what it finds in the video's name is the group.
        adapter: module of distill/datasets that reads a public data set's label files.
        labels: its label file, or a folder that has it; None looks for it below root.
        options: the adapter's own.
        as_split: train, val or test: put every labelled video there; test scores a whole set.
        labelled_groups: keep the labels of so many train contents, hide the others'; None: all.
        val_share: share of train contents taken for validation where the table has no val split.
        num_workers: decoding processes; None chooses.
        prefetch: batches that each of them decodes ahead.
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
    val_share: float = 0.2
    num_workers: int | None = None
    prefetch: int = 2

    def __post_init__(self) -> None:
        at_least("data.labelled_groups", self.labelled_groups, 1)
        at_least("data.num_workers", self.num_workers, 0)
        at_least("data.prefetch", self.prefetch, 1)
        between("data.val_share", self.val_share, 0.01, 0.9)
        if self.as_split is not None:
            one_of("data.as_split", self.as_split, ("train", "val", "test"))
        if self.adapter and self.manifest:
            raise ConfigError(f"data={self.name} and the table {self.manifest}: give one of them")


@dataclass
class TrainingConfig:
    """How long, how fast, where.

    Attributes:
        epochs: passes over the training videos.
        batch_size: videos per step and device; the losses rank videos within the joint batch.
        lr: peak learning rate of new layers.
        backbone_lr: of layers that start from pretrained weights.
        weight_decay: AdamW's, on matrices only.
        warmup: share of all steps with rising learning rate; a half cosine follows.
        clip_norm: largest gradient norm.
        ema_decay: of the averaged weights that are evaluated and kept, per step; 0 turns it off.
        member_loss: weight of the loss of each teacher member's own head.
        pseudo_weight: weight of a pseudo-label against a MOS in the student's loss.
        batches_per_epoch: fewer than a whole pass, for trials.
        val_every: epochs from one validation to the next, lowered to a divisor of ``epochs`` so
            that the last is validated; the best of them is kept.
        precision: Lightning's; auto is bf16-mixed on a GPU and 32-true elsewhere.
        accelerator, devices: Lightning's.
        checkpoint_every: minutes of training that a SIGKILL may cost at the most.
        feature_cache: folder of the cached features of frozen members; auto is one below
            DISTILL_CACHE or ~/.cache, none computes them anew in each step.
    """

    epochs: int = 10
    batch_size: int = 8
    lr: float = 1e-3
    backbone_lr: float = 1e-4
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    ema_decay: float = 0.99
    member_loss: float = 0.3
    pseudo_weight: float = 1.0
    batches_per_epoch: int | None = None
    val_every: int = 1
    precision: str = "auto"
    accelerator: str = "auto"
    devices: Any = "auto"
    checkpoint_every: float = 5.0
    feature_cache: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batches_per_epoch", "val_every"):
            at_least(f"training.{name}", getattr(self, name), 1)
        at_least("training.batch_size", self.batch_size, 2)
        for name in ("lr", "clip_norm", "checkpoint_every"):
            above(f"training.{name}", getattr(self, name), 0)
        for name in ("backbone_lr", "weight_decay", "member_loss", "pseudo_weight"):
            at_least(f"training.{name}", getattr(self, name), 0)
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
        media: frames of the videos may be sent to W&B. Off: they stay in the run directory.
    """

    mode: str = "auto"
    project: str = "distill-vqa"
    entity: str | None = None
    media: bool = False

    def __post_init__(self) -> None:
        one_of("tracking.mode", self.mode, ("auto", "online", "offline", "off"))


@dataclass
class StageConfig:
    """What every command has.

    Attributes:
        data: which videos.
        reader: auto, decord or pyav.
        seed: of everything random.
        outputs: folder that run directories go to and are found in.
    """

    data: DataConfig = field(default_factory=DataConfig)
    reader: str = "auto"
    seed: int = 0
    outputs: str = "outputs"

    def __post_init__(self) -> None:
        one_of("reader", self.reader, ("auto", "decord", "pyav"))
        between("seed", self.seed, 0, 2**32 - 1)  # numpy's and Lightning's range
        if self.outputs.startswith("~"):
            raise ConfigError(f"outputs={self.outputs}: ~ is not expanded here; write it out")


@dataclass
class TrainTeacherConfig(StageConfig):
    """``python train_teacher.py``.

    Attributes:
        teacher: class and arguments of the network.
        loss: term name -> weight.
        training, tracking: see there.
        resume: true goes on with the newest unfinished run, a path with that one.
        dry_run: check everything, print the plan, exit.
    """

    teacher: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    resume: Any = False
    dry_run: bool = False


@dataclass
class PseudoLabelConfig(StageConfig):
    """``python pseudo_label.py``.

    Attributes:
        teacher_bundle: folder of a teacher's bundle; None takes the newest.
        pool: a folder of videos, a list or a table; None takes the pool rows of the data set.
        store: folder of the label store; None makes one in the run directory.
        batch_size: videos per forward pass.
        device: auto, cpu, cuda, cuda:1 ...
        retry_failed: try the videos again that failed before.
        tracking: see there.
        dry_run: check everything, print the plan, exit.
    """

    teacher_bundle: str | None = None
    pool: str | None = None
    store: str | None = None
    batch_size: int = 4
    device: str = "auto"
    retry_failed: bool = False
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("batch_size", self.batch_size, 1)


@dataclass
class TrainStudentConfig(StageConfig):
    """``python train_student.py +budget=120``.

    Attributes:
        student: class and arguments; swin_t where its weights can be had, else compact.
        budget: cap in GMACs a video (fvcore multiply-adds); None checks nothing.
        labels: folder of a label store; None takes the newest, ``none`` uses no pseudo-labels.
        loss: term name -> weight.
        training, tracking: see there.
        resume: true goes on with the newest unfinished run, a path with that one.
        dry_run: check everything, print the plan, exit.
    """

    student: dict[str, Any] = field(default_factory=dict)
    budget: Any = None
    labels: str | None = None
    loss: dict[str, float] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    resume: Any = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is None:
            return
        hint = "write the cap in GMACs a video, for example +budget=120"
        if isinstance(self.budget, bool) or not isinstance(self.budget, int | float):
            raise ConfigError(f"budget={self.budget} is not a number; {hint}")
        if not math.isfinite(self.budget) or self.budget <= 0:
            raise ConfigError(f"budget={self.budget:g} is not a positive finite number; {hint}")
        self.budget = float(self.budget)


@dataclass
class EvaluateConfig(StageConfig):
    """``python evaluate.py``.

    Attributes:
        bundles: bundle folders; empty takes the newest student, or else the newest teacher.
        manifests: tables of videos; empty takes ``data``.
        split: of the tables.
        batch_size: videos per forward pass.
        device: auto, cpu, cuda, cuda:1 ...
        draws: bootstrap draws of the intervals.
    """

    bundles: Any = field(default_factory=list)
    manifests: Any = field(default_factory=list)
    split: str = "test"
    batch_size: int = 4
    device: str = "auto"
    draws: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bundles, self.manifests = as_list(self.bundles), as_list(self.manifests)
        one_of("split", self.split, ("train", "val", "test"))
        at_least("batch_size", self.batch_size, 1)
        at_least("draws", self.draws, 100)


SCHEMAS: dict[str, type[StageConfig]] = {
    "train_teacher": TrainTeacherConfig,
    "pseudo_label": PseudoLabelConfig,
    "train_student": TrainStudentConfig,
    "evaluate": EvaluateConfig,
}


def register_schemas() -> None:
    """Tell Hydra the schemas; idempotent."""
    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=schema)


def to_config(cfg: DictConfig, schema: type[StageConfig]) -> Any:
    """A checked dataclass from what Hydra composed.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range.
    """
    _check_keys(cfg, schema, "")
    try:
        OmegaConf.resolve(cfg)
        return OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from error


def split_target(node: Mapping[str, Any], option: str) -> tuple[type, dict[str, Any]]:
    """Class and arguments of a ``_target_`` node, its argument names checked.

    Raises:
        ConfigError: no such class, or an argument that it does not take.
    """
    kwargs = {str(key): value for key, value in node.items() if key != "_target_"}
    target = str(node.get("_target_", ""))
    try:
        cls = get_class(target)
    except Exception as error:
        raise ConfigError(f"{option}._target_={target!r}: {error}") from error
    known = list(inspect.signature(cls).parameters)
    for name in kwargs:
        if name not in known:
            raise ConfigError(unknown_option(f"{option}.{name}", [f"{option}.{k}" for k in known]))
    return cls, kwargs


def _check_keys(node: Any, schema: Any, prefix: str) -> None:
    known = {f.name: f for f in fields(schema)}
    for key in node:
        if key not in known:
            names = [f"{prefix}{name}" for name in known]
            raise ConfigError(unknown_option(f"{prefix}{key}", names))
        inner = known[key].default_factory
        if is_dataclass(inner):
            _check_keys(node[key], inner, f"{prefix}{key}.")


def folder(path: str | Path) -> Path:
    """A path as the user means it: ``~`` expanded, relative to where the command was typed.

    In one spelling, without ``..``: held-out videos are kept from the student by their paths.
    """
    return Path(os.path.abspath(Path(path).expanduser()))
