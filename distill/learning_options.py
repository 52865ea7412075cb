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
            no pseudo-labels, null (the student's default) takes the newest store.
        labels_root: folder that the names in such a CSV start from; null is the CSV's own.
        leak_check: how to find, and leave out, pseudo-labelled versions of val and test contents:
            none (by path and group), hash (by the files' bytes too), perceptual (by their looks
            too; decodes 8 frames of each video, once).
        doubt, select: what becomes of the pseudo-labels: the options doubt.* and select.* below
            (docs/doubt.md).
        init: folder of a bundle of the same network, whose weights training starts from, perhaps
            learned from other data (LSVQ before KVQ); null starts as the network's options say.
        loss: weights of the loss terms, and the terms' options (docs/losses.md).
        training, augment: how long, how fast and where to train, and what training changes in the
            videos: the options training.* and augment.* below (docs/training.md).
        tracking: W&B, and what may be sent there: tracking.* below (docs/tracking.md).
        test_views: how many times the bundle looks at each video that it scores, from the
            calibration on: the evaluation view, and others drawn as in training; the scores are
            averaged.
        resume: true continues the newest unfinished run, a path that one.
        dry_run: check everything, print the plan and exit.
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
        folds: train a committee of this many teachers, each on all but one fold of the training
            contents; 1 trains one teacher on all of them.
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
        student: class and arguments of the network; swin_t if its weights can be had, else compact.
        budget: cap in GMACs a video (fvcore multiply-adds); null sets no cap.
        max_params: cap on the parameters, in millions; null sets no cap.
        max_latency: cap on the milliseconds that the network alone takes for a video on this
            machine; null sets no cap.
        rounds: how many teachers label the pool, at most; 1 takes the labels as they are. Each
            further teacher learns from MOS and the pseudo-labels before it, until validation
            stops improving; the student learns from the best round's labels.
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
