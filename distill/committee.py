"""A committee: K teachers of one kind, trained on K folds, that share their frozen members."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.errors import ConfigError
from distill.model import FEATURES, Prediction, QualityModel, network_class

FOLD = "fold_"  # names of the teachers among a committee's member scores


class Committee(QualityModel):
    """The mean of K teachers.

    Frozen members are run once and stand in the weights once, in the first teacher.

    Args:
        teacher: ``_target_`` and arguments of one teacher, any :class:`QualityModel` of teachers/.
        folds: K >= 2.
        weights: ``none`` builds the teachers without weights, for a state dict that follows;
            a committee is always filled from one.

    ``member_scores`` holds each member's score, its mean over the teachers, and each teacher's own
    under ``fold_1`` to ``fold_K``.
    """

    def __init__(self, teacher: Mapping[str, Any], folds: int, weights: str = "none") -> None:
        super().__init__()
        if not isinstance(folds, int) or folds < 2:
            raise ConfigError(f"folds: {folds}; a committee has at least 2 folds")
        cls, arguments = network_class(teacher)
        self.teachers = nn.ModuleList()
        for k in range(folds):
            one = cls(**{**arguments, "weights": weights})
            if k:  # at once, so that never more than two copies are in memory
                one.drop_frozen()
            self.teachers.append(one)
        self.views = self._first.views
        self.eval()

    def fill(self, states: Iterable[Mapping[str, Tensor]]) -> None:
        """Take over the weights of the trained teachers, one state dict after another."""
        for teacher, state in zip(self.teachers, states, strict=True):
            own = teacher.state_dict()
            teacher.load_state_dict({key: state[key] for key in own}, strict=True)

    @property
    def _first(self) -> QualityModel:
        return self.teachers[0]  # type: ignore[return-value]

    def _all(self) -> list[QualityModel]:
        return list(self.teachers)  # type: ignore[arg-type]

    def frozen_members(self) -> dict[str, tuple[str, nn.Module]]:
        """Those of the first teacher, which all have."""
        return self._first.frozen_members()

    def parts(self) -> dict[str, str]:
        """The members; trained ones once for each teacher."""
        found = {name: f"teachers.0.{path}" for name, path in self._first.parts().items()}
        for k, teacher in enumerate(self._all()[1:], start=2):
            frozen = self._first.frozen_members()
            mine = {name: path for name, path in teacher.parts().items() if name not in frozen}
            found |= {
                f"{name} {FOLD}{k}": f"teachers.{k - 1}.{path}" for name, path in mine.items()
            }
        return found

    def viewers(self) -> dict[str, tuple[str, nn.Module]]:
        """Those of the first teacher."""
        return self._first.viewers()

    def scores_of(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Means over the teachers."""
        members = self._first.frozen_members().items()
        known = {FEATURES + n: network(batch[v]) for n, (v, network) in members if v in batch}
        says = [teacher.scores_of({**batch, **known}) for teacher in self._all()]
        return {name: torch.stack([one[name] for one in says]).mean(0) for name in says[0]}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score a batch of views (uint8), or of frozen members' cached features."""
        batch = {**batch, **self._first.frozen_features(batch)}
        says = [teacher(batch) for teacher in self.teachers]
        frames = [one.frame_scores for one in says if one.frame_scores is not None]
        members = {
            name: torch.stack([one.member_scores[name] for one in says]).mean(0)
            for name in says[0].member_scores
        }
        members |= {f"{FOLD}{k}": one.score for k, one in enumerate(says, start=1)}
        return Prediction(
            score=torch.stack([one.score for one in says]).mean(0),
            frame_scores=torch.stack(frames).mean(0) if len(frames) == len(says) else None,
            member_scores=members,
        )
