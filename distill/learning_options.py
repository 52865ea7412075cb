"""The options of the two training commands: types, defaults, ranges, and what goes together."""

import math
from dataclasses import dataclass, field
from typing import Any

from distill.augment import AugmentConfig
from distill.checks import at_least, one_of
from distill.errors import ConfigError
from distill.label_options import DoubtConfig, FinetuneConfig, GuideConfig, SelectConfig
from distill.options import TrackingConfig, TrainingConfig
from distill.stage_options import StageConfig


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
        doubt, select: what becomes of the pseudo-labels: the options doubt.* and select.* below
            (docs/doubt.md).
        init: folder of a bundle whose weights it starts from: the same network, perhaps of other
            data, as LSVQ before KVQ; None starts from what the network's own options say.
        loss: term name -> weight, and options of terms by their names (docs/losses.md).
        training, augment: how long, how fast, where; what training changes in the videos: the
            options training.* and augment.* below (docs/training.md).
        tracking: W&B, and what may be sent there: tracking.* below (docs/tracking.md).
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
        guide: a teacher beside the student in training: the options guide.* below
            (docs/losses.md).
        finetune: a second stage of training on MOS alone: finetune.* below (docs/budget.md).
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
