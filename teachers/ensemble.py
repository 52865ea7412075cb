"""A teacher of several feature extractors: features side by side, one small network on top."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.views import View, make_view
from distill.errors import ConfigError
from distill.model import FEATURES, Prediction, QualityModel, full_precision
from teachers.timm_frames import TimmFrames

_MEMBER_OPTIONS = {"backbone", "view", "stages", "trainable", "weights", "fixed_batchnorm"}


class TeacherEnsemble(QualityModel):
    """Members' features, averaged over frames and concatenated, through an MLP to the score.

    Args:
        members: name -> options of one member: ``backbone`` (timm's name), ``view`` (its
            ``kind`` and own options, see :func:`distill.data.views.make_view`), and optionally
            ``stages``, ``trainable``, ``weights``, ``fixed_batchnorm`` (see :class:`TimmFrames`).
            Members with equal views that are all frozen or all trainable share one view.
        hidden: width of the MLP.
        dropout: in [0, 1), before each last layer.
        score_mean: mean of the labels; an untrained network's scores lie around it.
        score_std: standard deviation of the labels, > 0; the unit the network predicts in.
        weights: ``none`` builds every member without weights, for a state dict that follows
            (frozen members refuse to run before it came); ``auto`` leaves it to each member's
            own option.

    ``member_scores`` come from one head per member, trained beside the fused score on features
    cut off from the gradient, so that they never move it. ``frame_scores`` exist where all
    members see as many frames as each other; the fused head applied to single frames.

    Source: RQ-VQA and SharpMind's teacher (NTIRE 2024, 2025): concatenated features of several
        networks, then a two-layer MLP.
    Differs: LayerNorm before the MLP and per-member heads are ours, and so is the choice of
        members: SlowFast, FAST-VQA, LIQE and DeQA need weights that no registry carries.
    """

    def __init__(
        self,
        members: Mapping[str, Mapping[str, Any]],
        hidden: int = 256,
        dropout: float = 0.1,
        score_mean: float = 0.0,
        score_std: float = 1.0,
        weights: str = "auto",
    ) -> None:
        super().__init__()
        if weights not in ("auto", "none"):
            raise ConfigError(f"weights: {weights!r}; a teacher takes auto or none, members more")
        if not members:
            raise ConfigError("members: give at least one, as name: {backbone: ..., view: ...}")
        if hidden < 1 or not 0 <= dropout < 1:
            raise ConfigError(f"hidden {hidden} must be >= 1, dropout {dropout} in [0, 1)")
        self.set_score_scale(score_mean, score_std)
        self.views: dict[str, View] = {}
        self.view_of: dict[str, str] = {}  # member -> view
        self.members = nn.ModuleDict()
        for name, options in members.items():
            view, member = _member(name, options, weights)
            self.members[name] = member
            self.view_of[name] = self._share(name, view, member.trainable)

        dims = {name: member.feature_dim for name, member in self._named()}
        self.norms = nn.ModuleDict({name: nn.LayerNorm(dim) for name, dim in dims.items()})
        self.head = _mlp(sum(dims.values()), hidden, dropout)
        self.member_heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.LayerNorm(dim), _mlp(dim, hidden, dropout))
                for name, dim in dims.items()
            }
        )

    def frozen_members(self) -> dict[str, tuple[str, nn.Module]]:
        """Members that do not train; a trainable member never shares their views."""
        frozen = [(name, member) for name, member in self._named() if not member.trainable]
        return {name: (self.view_of[name], member) for name, member in frozen}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score a batch of views (uint8), or of frozen members' cached features."""
        frames = {name: self._features(name, batch) for name in self.members}
        video = {name: features.mean(1) for name, features in frames.items()}
        frame_scores = None
        with full_precision(next(iter(video.values()))):
            if len({features.shape[1] for features in frames.values()}) == 1:
                frame_scores = self._fused(frames)
            return Prediction(
                score=self._fused(video),
                frame_scores=frame_scores,
                member_scores={
                    name: self._scores(head(video[name].detach()))
                    for name, head in self.member_heads.items()
                },
                features=video,
            )

    def _named(self) -> list[tuple[str, TimmFrames]]:
        return [(name, member) for name, member in self.members.items()]  # type: ignore[misc]

    def _share(self, name: str, view: View, trainable: bool) -> str:
        """The name of an equal view of a like member, or a new one."""
        for other, key in self.view_of.items():
            like = self.members[other].trainable == trainable
            if like and self.views[key] == view:
                return key
        self.views[name] = view
        return name

    def _features(self, name: str, batch: Mapping[str, Tensor]) -> Tensor:
        cached = batch.get(FEATURES + name)
        if cached is not None and not self.members[name].trainable:
            return cached.float()
        return self.members[name](batch[self.view_of[name]])

    def _fused(self, features: Mapping[str, Tensor]) -> Tensor:
        normed = [self.norms[name](features[name]) for name in self.members]
        return self._scores(self.head(torch.cat(normed, dim=-1)))

    def _scores(self, output: Tensor) -> Tensor:
        return self.scaled(output.float().squeeze(-1))


def _mlp(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
    )


def _member(name: str, options: Mapping[str, Any], weights: str) -> tuple[View, TimmFrames]:
    """Check one member's options and build its view and its network."""
    if not name.isidentifier() or hasattr(nn.ModuleDict, name):
        raise ConfigError(f"members: {name!r} cannot name a member; use letters, digits and _")
    unknown = sorted(set(options) - _MEMBER_OPTIONS)
    if unknown:
        raise ConfigError(f"members.{name}: unknown {unknown}; known are {sorted(_MEMBER_OPTIONS)}")
    for key in ("backbone", "view"):
        if key not in options:
            raise ConfigError(f"members.{name}: {key} is missing")
    arguments = {key: value for key, value in options.items() if key != "view"}
    view = make_view(options["view"], f"members.{name}.view")
    if weights == "none":
        arguments["weights"] = "none"
    if "stages" in arguments:
        arguments["stages"] = list(arguments["stages"])
    try:
        return view, TimmFrames(size=view.shape[-1], **arguments)
    except ConfigError as error:
        raise ConfigError(f"members.{name}: {error} (view {options['view']['kind']})") from error
