"""The option groups of trainings that learn from what others labelled: which of it, and how."""

from dataclasses import dataclass, field
from typing import Any

from distill.checks import above, at_least, between, one_of
from distill.errors import ConfigError


@dataclass
class DoubtConfig:
    """What becomes of pseudo-labels that the teacher's members and folds disagree about.

    Attributes:
        rule: how a label is doubted: none; quantile or sigma, by its spread; rank_change, by the
            places that it would move in the ranking if it were drawn anew.
        action: drop leaves out labels beyond the limit; weigh gives every label the weight
            1 / (1 + (doubt/limit)^2).
        quantile: limit for rule=quantile: the spread that this share of the labels stays below.
        sigma: limit for rule=sigma, as a multiple of the median spread.
        rank_change: limit for rule=rank_change: places in the ranking, as a share of all labels.
        shrink: pull the contents' mean pseudo-labels together by this factor; the differences
            within a content stay. 1 is off; auto, if the pool names its contents, scales the
            differences between and within contents by what the teacher's were worth on its
            validation videos (docs/doubt.md).
    """

    rule: str = "none"
    action: str = "drop"
    quantile: float = 0.9
    sigma: float = 3.0
    rank_change: float = 0.1
    shrink: Any = "auto"

    def __post_init__(self) -> None:
        one_of("doubt.rule", self.rule, ("none", "quantile", "sigma", "rank_change"))
        one_of("doubt.action", self.action, ("drop", "weigh"))
        between("doubt.quantile", self.quantile, 0.01, 0.99)
        above("doubt.sigma", self.sigma, 0)
        between("doubt.rank_change", self.rank_change, 1e-6, 0.5)
        if self.shrink != "auto":
            if isinstance(self.shrink, bool) or not isinstance(self.shrink, int | float):
                raise ConfigError(f"doubt.shrink={self.shrink}: give auto or a number from 0 to 1")
            between("doubt.shrink", self.shrink, 0, 1)


@dataclass
class SelectConfig:
    """Which pseudo-labels are taken where there are more than wanted.

    Attributes:
        method: none takes all; histogram makes the histogram of the scores as flat as the pool
            allows; k_center spreads the choice over select.features.
        count: largest number of videos to take.
        bins: number of bins of the histogram.
        per_content: largest number of videos of one content; null sets no limit.
        features: what k_center spreads over: label (score, spread, duration, size) or members
            (their scores).
        duplicates: which videos are left out as copies of another: frames (the same decoded
            frames, in any container), bytes (the same file), none. Versions of one content are no
            copies.
    """

    method: str = "none"
    count: int | None = None
    bins: int = 10
    per_content: int | None = None
    features: str = "label"
    duplicates: str = "frames"

    def __post_init__(self) -> None:
        one_of("select.method", self.method, ("none", "histogram", "k_center"))
        for name in ("count", "bins", "per_content"):
            at_least(f"select.{name}", getattr(self, name), 1)
        one_of("select.features", self.features, ("label", "members"))
        one_of("select.duplicates", self.duplicates, ("frames", "bytes", "none"))
        if self.method == "none" and (self.count is not None or self.per_content is not None):
            raise ConfigError(
                "select.count and select.per_content need select.method=histogram or k_center; give"
                " one of them"
            )
        if self.method != "none" and self.count is None:
            raise ConfigError(f"select.method={self.method} needs select.count=NUMBER")


@dataclass
class FinetuneConfig:
    """A second stage of the student's training, on MOS alone, after one on all other labels.

    Attributes:
        epochs: epochs of the second stage; 0 trains in one stage, on MOS and pseudo-labels
            together.
        first: what the first stage learns from: pseudo (pseudo-labels, and the tables of
            data.also), or all (the MOS too).
        lr, backbone_lr: peak learning rates of the second stage; null is a tenth of training's.
        ema_decay: decay of the averaged weights in the second stage; null is training's.
        loss: weights of the loss terms in the second stage; loss@finetune.loss=NAME takes one of
            the choices of loss.
    """

    epochs: int = 0
    first: str = "pseudo"
    lr: float | None = None
    backbone_lr: float | None = None
    ema_decay: float | None = None
    loss: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at_least("finetune.epochs", self.epochs, 0)
        one_of("finetune.first", self.first, ("pseudo", "all"))
        for name in ("lr", "backbone_lr"):
            if (rate := getattr(self, name)) is not None:
                above(f"finetune.{name}", rate, 0)
        if self.ema_decay is not None:
            between("finetune.ema_decay", self.ema_decay, 0, 0.99999)


@dataclass
class GuideConfig:
    """A teacher beside the student in training, on the same views; see distill/guide.py.

    Attributes:
        bundle: folder of the teacher's bundle; null trains without a teacher beside the student.
        score: weight of the loss that compares the student's scores with the teacher's on the same
            views.
        features: weight of 1 - cosine between the two networks' feature maps of the same grid.
    """

    bundle: str | None = None
    score: float = 0.0
    features: float = 0.0

    def __post_init__(self) -> None:
        at_least("guide.score", self.score, 0)
        at_least("guide.features", self.features, 0)
        weights = self.score + self.features
        if self.bundle is None and weights:
            raise ConfigError(
                f"guide.score={self.score:g}, guide.features={self.features:g}: no teacher is"
                " named; give guide.bundle=FOLDER"
            )
        if self.bundle is not None and not weights:
            raise ConfigError(
                f"guide.bundle={self.bundle} teaches nothing; give guide.score or guide.features"
                " a weight, for example guide.score=1"
            )
