"""A teacher beside the student in training: its scores and features of the very same views.

A cached pseudo-label says how good a video is; here the teacher says how good the crop is that the
student sees at this step. Only training knows it: it is in no checkpoint, no average of weights,
no bundle and no cost.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.bundle import Bundle, shared_bundle
from distill.config import folder
from distill.data.dataset import Batch
from distill.errors import ConfigError
from distill.gather import gather_with_grad
from distill.label_options import GuideConfig
from distill.losses import WeightedLoss
from distill.matching import (
    matching_maps,
    matching_views,
    moving_views,
    told_differences,
    told_grids,
    told_views,
)
from distill.model import Prediction, QualityModel, full_precision

log = logging.getLogger(__name__)
Maps = list[Tensor]  # of a network's stages, each (F, C, H, W)


class Guide(nn.Module):
    """A frozen teacher, and what the student needs to be compared with it.

    A view of the teacher matches one of the student where both are of one kind and of one shape
    but for the number of frames (or clips, or patches). Of a teacher all of whose views match the
    score is learned, else the mean of the members that look at those that do. Feature maps are
    compared where their grids are of one size: the student's deepest of that size, through a
    1x1 convolution of its own, with each of the teacher's, by 1 - the cosine over the channels.

    Args:
        model: the student.
        teacher: bundle of the teacher.
        options: weights of the two terms.
        chunk: videos that the teacher sees at a time; None is the whole batch.

    Raises:
        ConfigError: no view matches, or no grid where ``options.features`` is above 0.

    Source: matching a function on identical views, Beyer et al., CVPR 2022; feature maps,
        FitNets (Romero et al., ICLR 2015).
    Differs: the teacher's views decide what can be matched; FitNets has one pair of stages, and a
        squared error, which would take on the scale of the teacher's activations.
    """

    def __init__(
        self, model: QualityModel, teacher: Bundle, options: GuideConfig, chunk: int | None = None
    ) -> None:
        super().__init__()
        self.options, self.chunk = options, chunk
        self._held = _Held(teacher)
        taught = teacher.model.requires_grad_(False).eval()
        own = moving_views(model)
        self.matches = matching_views(taught.views, own)
        members = type(taught).scores_of is not QualityModel.scores_of
        if not self.matches or not (members or self.matches.keys() == taught.views.keys()):
            many = "no view of this teacher is" if not self.matches else (
                "this teacher has no members that score by themselves, and not all of its views are"
            )  # fmt: skip
            raise ConfigError(
                f"guide.bundle={options.bundle}: {many} one of the student's. The teacher has"
                f" {told_views(taught.views)}; the student {told_views(own)}. Views must agree in"
                " kind and shape, except for the number of frames"
            )
        pairs = matching_maps(model, taught, self.matches) if options.features else {}
        if options.features and not pairs:
            raise ConfigError(
                f"guide.features={options.features:g}: no feature map of the teacher"
                f" ({told_grids(taught)}) has the grid of one of the student"
                f" ({told_grids(model)}); set guide.features=0, or choose student.size and"
                " student.stages so that one does"
            )
        self._pairs = list(pairs)
        self.projections = nn.ModuleList(nn.Conv2d(*sizes, 1) for sizes in pairs.values())
        self._seen: dict[str, list[Maps]] = {}

    @classmethod
    def of(
        cls, options: GuideConfig, model: QualityModel, chunk: int | None = None
    ) -> "Guide | None":
        """As the options have it; None where they name no bundle."""
        if options.bundle is None:
            return None
        return cls(model, shared_bundle(folder(options.bundle)), options, chunk)

    @property
    def bundle(self) -> Bundle:
        """Of the teacher."""
        return self._held.bundle

    def tell(self, model: QualityModel) -> None:
        """Log which views are compared, and what the teacher is not used to in them."""
        for name, own in self.matches.items():
            log.info("guide: the teacher's view %s sees the student's %s", name, own)
            views = self.bundle.model.views[name], model.views[own]
            if differences := told_differences(*views):
                log.warning(
                    "guide: the teacher learned its view %s with %s: its scores on the student's"
                    " view may be worth less", name, differences,
                )  # fmt: skip
        if self._pairs:
            log.info("guide: %d pairs of feature maps", len(self._pairs))

    @contextmanager
    def watch(self, model: QualityModel, views: Mapping[str, Tensor]) -> Iterator[None]:
        """Take note of the student's feature maps of matched views while it predicts."""
        wanted = {pair[1] for pair in self._pairs}
        viewers = [(view, view, network) for view, network in model.viewers().values()]
        with _noted([one for one in viewers if one[0] in wanted], views) as self._seen:
            yield

    def loss(
        self,
        prediction: Prediction,
        batch: Batch,
        loss: WeightedLoss,
        bins: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the student's prediction is away from the teacher, over the joint batch.

        Args:
            prediction: made under :meth:`watch`, (B,).
            batch: whose views it was made of; videos of weight 0 do not count.
            loss: of the scores.
            bins: of the prediction, as ``loss`` takes them.

        Returns:
            The weighted sum, and its parts, unweighted and detached.
        """
        score, maps = self._teach(batch.views)
        weight = (batch.weight > 0).to(prediction.score.dtype)
        total, parts = prediction.score[:0].sum(), {}
        if self.options.score:
            value, _ = loss(prediction.score, score, weight, group=batch.group, bins=bins)
            total, parts["guide_score"] = self.options.score * value, value.detach()
        if self.options.features:
            rows = torch.stack([self._distances(maps, len(batch)), weight], dim=1)
            distance, weight = gather_with_grad(rows).unbind(1)
            value = (distance * weight).sum() / weight.sum().clamp_min(1)
            total = total + self.options.features * value
            parts["guide_features"] = value.detach()
        return total, parts

    @torch.no_grad()
    def _teach(self, views: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Maps]]:
        """Calibrated scores (B,) of the teacher, and its members' maps by their names."""
        given = {name: views[own] for name, own in self.matches.items()}
        some = next(iter(given.values()))
        teacher, size = self.bundle.model.to(some.device), self.chunk or len(some)
        members = {pair[0] for pair in self._pairs}
        viewers = [(n, *viewer) for n, viewer in teacher.viewers().items() if n in members]
        scores = []
        with _noted(viewers, given) as seen:
            for start in range(0, len(some), size):
                part = {name: view[start : start + size] for name, view in given.items()}
                scores.append(self._score(part))
        raw = torch.cat(scores).float()
        calibration = self.bundle.calibration
        if calibration is not None:
            mos = np.asarray(calibration(raw.double().cpu().numpy()))
            raw = torch.as_tensor(mos, dtype=torch.float32, device=raw.device)
        return raw, {name: _whole(chunks) for name, chunks in seen.items()}

    def _score(self, given: Mapping[str, Tensor]) -> Tensor:
        teacher = self.bundle.model
        if given.keys() == teacher.views.keys():
            return teacher(given).score
        return torch.stack(list(teacher.scores_of(given).values())).mean(0)

    def _distances(self, maps: Mapping[str, Maps], videos: int) -> Tensor:
        """(B,) mean over pairs of maps, frames and positions."""
        mine = {name: _whole(chunks) for name, chunks in self._seen.items()}
        self._seen = {}
        found = []
        for (member, view, theirs, own), project in zip(
            self._pairs, self.projections, strict=True
        ):  # fmt: skip
            with full_precision(mine[view][own]):
                near = nn.functional.cosine_similarity(
                    project(mine[view][own].float()), maps[member][theirs].float(), dim=1
                )
            found.append(1 - near.reshape(videos, -1).mean(1))
        return torch.stack(found).mean(0)


class _Held:
    """Keeps the teacher out of the module's state, and whole where the module is copied."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Held":
        return self


@contextmanager
def _noted(
    viewers: Sequence[tuple[str, str, Any]], views: Mapping[str, Tensor]
) -> Iterator[dict[str, list[Maps]]]:
    """Maps that networks make of their views meanwhile: name -> one list of stages a pass.

    Args:
        viewers: name, view and network.
        views: view -> (B, ...), which may go through the network in parts.
    """
    seen: dict[str, list[Maps]] = {name: [] for name, _, _ in viewers}
    with ExitStack() as stack:
        for name, view, network in viewers:

            def note(frames: Tensor, maps: Maps, name: str = name, view: str = view) -> None:
                if _same_memory(frames, views[view]):  # one network may look at several views
                    seen[name].append(maps)

            network.taps.append(note)
            stack.callback(network.taps.remove, note)
        yield seen


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _whole(chunks: list[Maps]) -> Maps:
    """Maps of consecutive videos as those of all."""
    return [torch.cat(stage) for stage in zip(*chunks, strict=True)]
