"""A teacher of several feature extractors: features side by side, one small network on top."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.checks import one_of
from distill.data.views import View
from distill.errors import ConfigError
from distill.model import FEATURES, Prediction, QualityModel, full_precision
from teachers.member import Member
from teachers.members import make_member

FUSIONS = ("concat", "mean", "weighted", "late")
HEADS = ("new", "own")


class TeacherEnsemble(QualityModel):
    """Members' features, averaged over frames and fused to one score; each member has its own too.

    Args:
        members: name -> options of one member: see :func:`teachers.members.make_member`; besides,
            ``head``: ``new`` learns the member's score from its features, ``own`` takes the score
            that its network was published with. Members with equal views that are all frozen or
            all trainable share one view.
        fusion: ``concat`` puts an MLP on the features side by side; ``mean`` and ``weighted``
            average the members' scores, with weights that are learned and sum to 1, and train
            them for their average; ``late`` averages members that each train for themselves.
        hidden: width of the MLPs.
        dropout: in [0, 1), before each last layer.
        linear: no activation in the MLPs and no norm before them, as RQ-VQA and SimpleVQA have it.
        score_mean: mean of the labels; an untrained network's scores lie around it. None: 0, or
            the published mean where one member's own score is all there is.
        score_std: standard deviation of the labels, > 0; the unit the network predicts in. None:
            1, or the published one.
        weights: ``none`` builds every member without weights, for a state dict that follows
            (frozen members refuse to run before it came); ``auto`` leaves it to each member's
            own option.

    ``member_scores`` come from one head per member. Under ``concat`` these are trained beside the
    fused score on features cut off from the gradient, so that they never move it.
    ``frame_scores`` follow the first member's frames; a member with other ones gives its mean.

    Source: RQ-VQA and SharpMind's teacher (NTIRE 2024, 2025): concatenated features of several
        networks, then a two-layer MLP.
    Differs: LayerNorm before the MLP, its activation and per-member heads are ours.
    """

    def __init__(
        self,
        members: Mapping[str, Mapping[str, Any]],
        fusion: str = "concat",
        hidden: int = 256,
        dropout: float = 0.1,
        linear: bool = False,
        score_mean: float | None = None,
        score_std: float | None = None,
        weights: str = "auto",
    ) -> None:
        super().__init__()
        if weights not in ("auto", "none"):
            raise ConfigError(
                f"weights: {weights!r}; a teacher takes auto or none, members also files"
            )
        if not members:
            raise ConfigError("members: give at least one, as name: {backbone: ..., view: ...}")
        if hidden < 1 or not 0 <= dropout < 1:
            raise ConfigError(f"hidden {hidden} must be >= 1, dropout {dropout} in [0, 1)")
        one_of("fusion", fusion, FUSIONS)
        self.fusion = fusion
        self.views: dict[str, View] = {}
        self.view_of: dict[str, str] = {}  # member -> view
        self.members = nn.ModuleDict()
        self.norms, self.member_heads = nn.ModuleDict(), nn.ModuleDict()
        for name, options in members.items():
            member, head = _member(name, options, weights)
            self.members[name] = member
            self.view_of[name] = self._share(name, member)
            if fusion == "concat":
                self.norms[name] = _norm(member, linear)
            if head == "new":
                mlp = _mlp(member.feature_dim, hidden, dropout, linear)
                self.member_heads[name] = nn.Sequential(_norm(member, linear), mlp)

        dims = [member.feature_dim for _, member in self._named()]
        self.head = _mlp(sum(dims), hidden, dropout, linear) if fusion == "concat" else None
        self.shares = nn.Parameter(torch.zeros(len(dims))) if fusion == "weighted" else None
        alone = fusion in ("mean", "late") and len(dims) == 1 and not self.member_heads
        mean, std = self._named()[0][1].own_scale if alone else (0.0, 1.0)
        self.set_score_scale(
            mean if score_mean is None else score_mean, std if score_std is None else score_std
        )

    def frozen_members(self) -> dict[str, tuple[str, nn.Module]]:
        """Members that do not train; a trainable member never shares their views."""
        frozen = [(name, member) for name, member in self._named() if not member.trainable]
        return {name: (self.view_of[name], member) for name, member in frozen}

    def drop_frozen(self) -> None:
        """Keep of frozen members what their own scores need, none of their weights."""
        for _, member in self._named():
            if not member.trainable:
                member.hollow()

    def viewers(self) -> dict[str, tuple[str, nn.Module]]:
        """Every member."""
        return {name: (self.view_of[name], member) for name, member in self._named()}

    def scores_of(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As ``member_scores`` has them, of members whose views are there."""
        found = {n: self._features(n, batch) for n in self.members if self.view_of[n] in batch}
        with full_precision(next(iter(batch.values()))):
            return {name: self._member_score(name, x) for name, x in found.items()}

    def random_parts(self) -> list[str]:
        """Heads, and members without weights."""
        heads = ["the fused head"] if self.head is not None else []
        return [*heads, *(f"the head of {n}" for n in self.member_heads), *self.random_backbones()]

    def parts(self) -> dict[str, str]:
        """Every member has a cost of its own."""
        return {name: f"members.{name}" for name in self.members}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score a batch of views (uint8), or of frozen members' cached features."""
        frames = {name: self._features(name, batch) for name in self.members}
        video = {name: features.mean(1, keepdim=True) for name, features in frames.items()}
        length = next(iter(frames.values())).shape[1]
        aligned = {
            name: features if features.shape[1] == length else video[name].expand(-1, length, -1)
            for name, features in frames.items()
        }
        with full_precision(video[next(iter(video))]):
            members = {name: self._member_score(name, frames[name]) for name in self.members}
            if self.fusion == "concat":
                score, frame_scores = self._fused(video)[:, 0], self._fused(aligned)
            else:
                score, frame_scores = (
                    self._average(members),
                    self._average(
                        {name: self._frame_scores(name, aligned[name]) for name in self.members}
                    ),
                )
            dims = {name: member.feature_dim for name, member in self._named()}
            return Prediction(
                score=score,
                frame_scores=frame_scores,
                member_scores=members,
                features={name: video[name][:, 0, :dim] for name, dim in dims.items()},
            )

    def _named(self) -> list[tuple[str, Member]]:
        return [(name, member) for name, member in self.members.items()]  # type: ignore[misc]

    def _share(self, name: str, member: Member) -> str:
        """The name of an equal view of a like member, or a new one."""
        assert member.view is not None
        for other, key in self.view_of.items():
            like = self.members[other].trainable == member.trainable
            if like and self.views[key] == member.view:
                return key
        self.views[name] = member.view
        return name

    def _features(self, name: str, batch: Mapping[str, Tensor]) -> Tensor:
        member: Member = self.members[name]  # type: ignore[assignment]
        cached = batch.get(FEATURES + name)
        if cached is not None and not member.trainable:
            return cached.float()
        view = batch[self.view_of[name]]
        if self.training and not member.trainable:
            with full_precision(view):  # as the cache has them, and as evaluation sees them
                return member(view).float()
        return member(view).float()  # before the mean over frames

    def _fused(self, features: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) of every member -> (B, T)."""
        assert self.head is not None
        normed = [
            self.norms[name](features[name][..., : member.feature_dim].float())
            for name, member in self._named()
        ]
        return self._scores(self.head(torch.cat(normed, dim=-1)))

    def _member_score(self, name: str, features: Tensor) -> Tensor:
        """One member's score (B,) from its features (B, T, D)."""
        member: Member = self.members[name]  # type: ignore[assignment]
        features = features.float()
        if self.fusion == "concat":
            features = features.detach()
        if name not in self.member_heads:
            mean, std = member.own_scale
            return self.scaled((member.own_score(features) - mean) / std)
        return self._scores(self.member_heads[name](features.mean(1)[:, : member.feature_dim]))

    def _frame_scores(self, name: str, features: Tensor) -> Tensor:
        """(B, T) from (B, T, D), each frame as if it were a video."""
        each = self._member_score(name, features.reshape(-1, 1, features.shape[-1]))
        return each.reshape(features.shape[:2])

    def _average(self, scores: Mapping[str, Tensor]) -> Tensor:
        stacked = torch.stack(list(scores.values()), dim=-1)
        if self.fusion == "late":  # each has a loss of its own, and no part in the others'
            stacked = stacked.detach()
        if self.shares is None:
            return stacked.mean(-1)
        return (stacked * self.shares.float().softmax(0)).sum(-1)

    def _scores(self, output: Tensor) -> Tensor:
        return self.scaled(output.float().squeeze(-1))


def _norm(member: Member, linear: bool) -> nn.Module:
    if linear or not member.layer_norm:
        return nn.Identity()
    return nn.LayerNorm(member.feature_dim)


def _mlp(dim: int, hidden: int, dropout: float, linear: bool) -> nn.Sequential:
    between = nn.Identity() if linear else nn.GELU()
    return nn.Sequential(nn.Linear(dim, hidden), between, nn.Dropout(dropout), nn.Linear(hidden, 1))


def _member(name: str, options: Mapping[str, Any], weights: str) -> tuple[Member, str]:
    """Check what the ensemble itself asks of a member, and build it."""
    if not name.isidentifier() or hasattr(nn.ModuleDict, name):
        raise ConfigError(f"members: {name!r} cannot name a member; use letters, digits and _")
    head = str(options.get("head", "new")) if isinstance(options, Mapping) else "new"
    one_of(f"members.{name}.head", head, HEADS)
    member = make_member(name, options, weights)
    if head == "own" and not member.has_score:
        raise ConfigError(f"members.{name}.head=own: {member.title} was published without a score")
    if member.view is None:
        raise ConfigError(f"members.{name}: view is missing")
    return member, head
