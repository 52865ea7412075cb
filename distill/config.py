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

from distill.augment import AugmentConfig
from distill.checks import above, as_list, at_least, between, one_of, unknown_option
from distill.data.places import RemotePath, is_url
from distill.errors import ConfigError
from distill.label_options import DoubtConfig, FinetuneConfig, GuideConfig, SelectConfig
from distill.options import (
    DataConfig,
    RayConfig,
    ReaderConfig,
    TrackingConfig,
    TrainingConfig,
)


@dataclass
class StageConfig:
    """What every command has.

    Attributes:
        data: which videos.
        reader: how they are decoded.
        seed: of everything random.
        outputs: folder that run directories go to and are found in.
        report: write ``report.html`` into the run directory at the end (docs/report.md).
        report_frames: small frames of some videos in that file, which stays on this machine.
    """

    data: DataConfig = field(default_factory=DataConfig)
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    seed: int = 0
    outputs: str = "outputs"
    report: bool = True
    report_frames: bool = True

    def __post_init__(self) -> None:
        between("seed", self.seed, 0, 2**32 - 1)  # numpy's and Lightning's range
        if self.outputs.startswith("~"):
            raise ConfigError(f"outputs={self.outputs}: ~ is not expanded here; write it out")


@dataclass
class LearningConfig(StageConfig):
    """What both training commands learn from.

    Attributes:
        labels: folder of a label store, or a CSV with the columns filename and score; ``none`` uses
            no pseudo-labels. None takes the newest store (the student's default).
        labels_root: folder that the names of such a CSV start from; None is its own.
        leak_check: how pseudo-labelled versions of val and test contents are found and kept out:
            perceptual (by their looks, and all of the following; decodes 8 frames of each video,
            once), hash (by the files' content, path and group), none (by path and group).
        doubt, select: what becomes of the pseudo-labels; see there.
        init: folder of a bundle whose weights it starts from: the same network, perhaps of other
            data, as LSVQ before KVQ; None starts from what the network's own options say.
        loss: term name -> weight, and options of terms by their names (docs/losses.md).
        training, augment, tracking: see there.
        test_views: looks at each video whenever the bundle scores it, from the calibration on: the
            evaluation view, and others drawn as in training; their scores are averaged.
        resume: true goes on with the newest unfinished run, a path with that one.
        dry_run: check everything, print the plan, exit.
    """

    labels: str | None = None
    labels_root: str | None = None
    leak_check: str = "perceptual"
    doubt: DoubtConfig = field(default_factory=DoubtConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    init: str | None = None
    loss: dict[str, float] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    test_views: int = 1
    resume: Any = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("test_views", self.test_views, 1)
        one_of("leak_check", self.leak_check, ("perceptual", "hash", "none"))


@dataclass
class TrainTeacherConfig(LearningConfig):
    """``python train_teacher.py``.

    Attributes:
        teacher: class and arguments of the network.
        folds: train a committee of so many teachers, each on all but one fold of the training
            contents; 1 trains one teacher on all.
    """

    teacher: dict[str, Any] = field(default_factory=dict)
    labels: str | None = "none"
    folds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("folds", self.folds, 1)


@dataclass
class PseudoLabelConfig(StageConfig):
    """``python pseudo_label.py``.

    Attributes:
        teacher_bundle: folder of a teacher's bundle; None takes the newest.
        pool: a folder of videos, a list, a table, a tar archive, a pattern with ``*``, or a URL;
            None takes the pool rows of the data set.
        store: folder of the label store; None makes one in the run directory.
        batch_size: videos per forward pass.
        device: auto, cpu, cuda, cuda:1 ...
        retry_failed: try the videos again that failed before.
        commit_every: videos that are committed as one part: what a SIGKILL costs at the most.
            The same for all processes that work on a store at a time.
        lease: seconds without a sign of life after which what another machine's process began
            is taken over; on one machine, at once after its end.
        sample: videos that a dry run labels, and that bfloat16 is compared with float32 on.
        precision: of the networks, float32 or bfloat16 (autocast; scores in float32). A store has
            one; with bfloat16 the run tells how far its scores are from float32's.
        compile: let torch compile the networks: minutes at the start, faster then, on a GPU.
        engine: local labels on this machine, ray on all machines of a Ray cluster.
        devices: of engine=local: processes, each with a GPU of its own, or on the CPU; auto is
            all GPUs, or one process without any.
        shard: number of this command among those that work on one store, from 0: where in the pool
            it begins. Each goes on until nothing is left, so any numbers are right; see
            docs/cluster.md.
        ray: see there.
        tracking: see there.
        dry_run: check everything, label a sample without writing it, say what the whole pool will
            take, exit.
    """

    teacher_bundle: str | None = None
    pool: str | None = None
    store: str | None = None
    commit_every: int = 32
    lease: float = 600.0
    sample: int = 16
    batch_size: int = 4
    device: str = "auto"
    precision: str = "float32"
    compile: bool = False
    engine: str = "local"
    devices: Any = "auto"
    shard: int = 0
    ray: RayConfig = field(default_factory=RayConfig)
    retry_failed: bool = False
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("batch_size", self.batch_size, 1)
        at_least("commit_every", self.commit_every, 1)
        above("lease", self.lease, 0)
        at_least("sample", self.sample, 1)
        one_of("precision", self.precision, ("float32", "bfloat16"))
        one_of("engine", self.engine, ("local", "ray"))
        at_least("shard", self.shard, 0)
        if self.devices != "auto":
            if isinstance(self.devices, bool) or not isinstance(self.devices, int):
                raise ConfigError(f"devices={self.devices}: auto or a number of processes")
            at_least("devices", self.devices, 1)
            if self.engine == "ray":
                raise ConfigError(f"devices={self.devices} is for engine=local; give ray.workers")
        if self.shard and self.store is None:
            raise ConfigError(
                f"shard={self.shard} without a store: the others would not find it; store=FOLDER"
            )


@dataclass
class TrainStudentConfig(LearningConfig):
    """``python train_student.py +budget=120``.

    Attributes:
        student: class and arguments; swin_t where its weights can be had, else compact.
        budget: cap in GMACs a video (fvcore multiply-adds); None checks nothing.
        max_params: cap on the parameters, in millions; None checks nothing.
        max_latency: cap on the milliseconds that the network alone takes for a video here; None
            checks nothing.
        rounds: 2 or more: a new teacher learns from labels and pseudo-labels and labels the pool
            again, until validation stops improving; the student learns from the best one's labels.
        guide: a teacher beside the student in training; see there.
        finetune: a second stage of training on MOS alone; see there.
    """

    student: dict[str, Any] = field(default_factory=dict)
    budget: Any = None
    max_params: Any = None
    max_latency: Any = None
    rounds: int = 1
    guide: GuideConfig = field(default_factory=GuideConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.training.epochs == 0 and (self.init is None or self.finetune.epochs):
            raise ConfigError(
                "training.epochs=0 (training=none) calibrates a trained student anew, at another"
                " student.num_frames or test_views: it needs init=BUNDLE, and no finetune.epochs"
            )
        at_least("rounds", self.rounds, 1)
        if self.training.epochs == 0:
            self._learns_nothing()
        for name, example in (
            ("budget", "the cap in GMACs a video, for example +budget=120"),
            ("max_params", "the cap in millions, for example max_params=30"),
            ("max_latency", "the cap in milliseconds a video, for example max_latency=200"),
        ):
            cap = getattr(self, name)
            if cap is None:
                continue
            if isinstance(cap, bool) or not isinstance(cap, int | float):
                raise ConfigError(f"{name}={cap} is not a number; write {example}")
            if not math.isfinite(cap) or cap <= 0:
                raise ConfigError(
                    f"{name}={cap:g} is not a positive finite number; write {example}"
                )
            setattr(self, name, float(cap))

    def _learns_nothing(self) -> None:
        """Raises ConfigError for what training=none would take and not learn from."""
        for option, value, off in (
            ("labels", self.labels, (None, "none")),
            ("rounds", self.rounds, (1,)),
            ("data.also", self.data.also, ([],)),
            ("guide.bundle", self.guide.bundle, (None,)),
        ):
            if value not in off:
                raise ConfigError(
                    f"{option}={value}: training.epochs=0 (training=none) learns nothing; leave it"
                    " out"
                )


@dataclass
class KvqConfig:
    """The KVQ challenge's score, beside the others.

    Attributes:
        pairs: its ranked pairs: an xlsx with the sheets source and nonsource, or a folder with
            source.csv and nonsource.csv; columns video1, video2, rank. None: no such score.
    """

    pairs: str | None = None


@dataclass
class EvaluateConfig(StageConfig):
    """``python evaluate.py``.

    Attributes:
        bundles: bundle folders; empty takes the newest student, or else the newest teacher.
        manifests: tables of videos, or public sets as NAME:FOLDER (konvid_1k:/data/konvid); empty
            takes ``data``.
        split: of the tables; data.as_split=test takes the whole of each.
        by: columns to break the scores down by: the tables' own, or resolution, orientation, fps,
            duration, file_size, which are in result.json anyway. What is named here is printed.
        worst: videos with the largest errors that result.json has of each table and bundle.
        show_worst: print them.
        intervals: jackknife (over contents), or percentile (bootstrap over contents, as before;
            too narrow with few contents, docs/evaluation.md).
        draws: of intervals=percentile.
        leak_check: how videos are found that a bundle has learned from: hash (path and bytes),
            perceptual (by their looks too; decodes 8 frames of each video, once), none.
        kvq: see there.
        batch_size: videos per forward pass.
        device: auto, cpu, cuda, cuda:1 ...
        tracking: see there.
    """

    bundles: Any = field(default_factory=list)
    manifests: Any = field(default_factory=list)
    split: str = "test"
    by: Any = field(default_factory=list)
    worst: int = 10
    show_worst: bool = False
    intervals: str = "jackknife"
    draws: int = 2000
    leak_check: str = "hash"
    kvq: KvqConfig = field(default_factory=KvqConfig)
    batch_size: int = 4
    device: str = "auto"
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bundles, self.manifests = as_list(self.bundles), as_list(self.manifests)
        self.by = as_list(self.by)
        one_of("split", self.split, ("train", "val", "test"))
        one_of("intervals", self.intervals, ("jackknife", "percentile"))
        one_of("leak_check", self.leak_check, ("hash", "perceptual", "none"))
        at_least("worst", self.worst, 0)
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


def place(text: str) -> Path:
    """What names videos, as the user means it: a URL as it stands, or see ``folder``."""
    return RemotePath(text) if is_url(text) else folder(text)


def folder(path: str | Path) -> Path:
    """A path as the user means it: ``~`` expanded, relative to where the command was typed.

    In one spelling, without ``..``: held-out videos are kept from the student by their paths.
    """
    return Path(os.path.abspath(Path(path).expanduser()))
