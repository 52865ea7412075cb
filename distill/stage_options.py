"""The options that every command has, and those of labelling and evaluation: types and ranges."""

from dataclasses import dataclass, field
from typing import Any

from distill.checks import above, as_list, at_least, between, one_of
from distill.errors import ConfigError
from distill.options import (
    DataConfig,
    RayConfig,
    ReaderConfig,
    TrackingConfig,
)


@dataclass
class StageConfig:
    """What every command has.

    Attributes:
        data: the videos: the options data.* below (docs/data.md).
        reader: how they are decoded: reader.* below (docs/video.md).
        seed: seed of everything that is drawn at random.
        outputs: folder that run directories are written to, and looked for in.
        report: write ``report.html`` into the run directory at the end (docs/report.md).
        report_frames: put small frames of some videos into that file, which stays on this machine.
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
class PseudoLabelConfig(StageConfig):
    """``python pseudo_label.py``.

    Attributes:
        teacher_bundle: folder of a teacher's bundle; null takes the newest.
        pool: a folder of videos, a list, a table, a tar archive, a pattern with ``*``, or a URL;
            null takes the data set's own unlabelled videos.
        store: folder of the label store; null makes one in the run directory.
        batch_size: videos per forward pass.
        device: auto, cpu, cuda, cuda:1 ...
        retry_failed: try again the videos that failed before.
        commit_every: videos that are committed together, the most that a SIGKILL can cost; must
            be the same for all processes that work on a store at the same time.
        lease: seconds without a sign of life after which a process on another machine counts as
            dead and its part is taken over; on the same machine, this happens as soon as it ends.
        sample: number of videos that a dry run labels, and on which bfloat16 is compared with
            float32.
        precision: float32 or bfloat16 for the networks (autocast; scores stay float32), one for
            the whole store. With bfloat16 the run reports how far its scores are from float32's.
        compile: let torch compile the networks: takes minutes at the start, then faster on a GPU.
        engine: local labels on this machine, ray on all machines of a Ray cluster.
        devices: for engine=local: number of processes, each on a GPU of its own or on the CPU;
            auto uses all GPUs, or one process if there is none.
        shard: where in the pool this command begins if several work on one store: its number,
            from 0. Each continues until nothing is left, so any numbers will do
            (docs/cluster.md).
        ray: workers for engine=ray: the options ray.* below (docs/cluster.md).
        tracking: W&B, and what may be sent there: the options tracking.* below (docs/tracking.md).
        dry_run: check everything, label a sample without writing it, estimate what the whole pool
            will take, and exit.
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
                raise ConfigError(f"devices={self.devices}: give auto or a number of processes")
            at_least("devices", self.devices, 1)
            if self.engine == "ray":
                raise ConfigError(f"devices={self.devices} is for engine=local; give ray.workers")
        if self.shard and self.store is None:
            raise ConfigError(
                f"shard={self.shard} needs a store that the others can find: store=FOLDER"
            )


@dataclass
class KvqConfig:
    """The KVQ challenge's score, beside the others.

    Attributes:
        pairs: the challenge's ranked pairs: an xlsx with the sheets source and nonsource, or a
            folder with source.csv and nonsource.csv; columns video1, video2, rank. null computes
            no such score.
    """

    pairs: str | None = None


@dataclass
class EvaluateConfig(StageConfig):
    """``python evaluate.py``.

    Attributes:
        bundles: bundle folders, or anybody's scores as a .csv, .tsv or .parquet with the columns
            filename (or video) and score; empty takes the newest student, or else the newest
            teacher.
        manifests: tables of videos, or public sets as NAME:FOLDER (konvid_1k:/data/konvid); empty
            takes ``data``.
        split: the split of the tables to score; data.as_split=test takes the whole of each.
        by: columns to break the scores down by, and to print: the tables' own, or resolution,
            orientation, fps, duration, file_size, which are in result.json in any case.
        resume: true continues the newest evaluation that was stopped, a path that one.
        worst: how many of the videos with the largest errors result.json lists for each table and
            bundle.
        show_worst: print these videos.
        intervals: jackknife (over contents), or percentile (bootstrap over contents, as before;
            too narrow with few contents, docs/evaluation.md).
        draws: number of bootstrap draws, for intervals=percentile.
        leak_check: how to find videos that a bundle has learned from: hash (path and bytes),
            perceptual (by their looks too; decodes 8 frames of each video, once), none.
        kvq: the KVQ challenge's score beside the others: kvq.pairs below (docs/evaluation.md).
        batch_size: videos per forward pass.
        device: auto, cpu, cuda, cuda:1 ...
        tracking: W&B, and what may be sent there: the options tracking.* below (docs/tracking.md).
    """

    bundles: Any = field(default_factory=list)
    manifests: Any = field(default_factory=list)
    split: str = "test"
    by: Any = field(default_factory=list)
    resume: Any = False
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
