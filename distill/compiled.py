"""A network through torch.compile, or as it is where that fails."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from distill.model import Prediction, QualityModel

log = logging.getLogger(__name__)


class Compiled:
    """Calls a network that torch compiles at the first batch; batches may be of any size.

    Args:
        model: shares its weights; may be moved to a device afterwards.
        option: that asked for it, for messages.
    """

    def __init__(self, model: QualityModel, option: str = "compile") -> None:
        self._model, self._option = model, option
        self._compiled = torch.compile(model)
        self._failed = self._tried = False

    def __call__(self, views: Mapping[str, Tensor]) -> Prediction:
        """Score a batch, see ``QualityModel.forward``."""
        if self._failed:
            return self._model(views)
        try:
            return self._call(views)
        except torch._dynamo.exc.TorchDynamoException as error:
            self._give_up(error)
            return self._model(views)

    def for_training(self, views: Mapping[str, Tensor]) -> Prediction:
        """Score a batch to learn from it; before the first, try the way back too.

        torch compiles that only when a gradient is asked for, outside of any call of this one. The
        trial leaves no gradient, no statistics of BatchNorm and no random number behind.
        """
        if not (self._tried or self._failed):
            self._tried = True
            buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
            devices = [d for d in {view.device for view in views.values()} if d.type == "cuda"]
            try:
                with torch.random.fork_rng(devices):
                    self._gradients(self._call(views))
            except Exception as error:  # also what a C++ compiler says; a network's own recurs
                self._give_up(error)
            for name, buffer in self._model.named_buffers():
                buffer.copy_(buffers[name])
        return self(views)

    def _call(self, views: Mapping[str, Tensor]) -> Prediction:
        for view in views.values():  # the last batch is smaller: no reason to compile again
            torch._dynamo.maybe_mark_dynamic(view, 0)
        prediction: Prediction = self._compiled(views)
        return prediction

    def _gradients(self, prediction: Prediction) -> None:
        scores = [prediction.score, *prediction.member_scores.values()]
        total = [score.sum() for score in scores if score.requires_grad]
        trained = [p for p in self._model.parameters() if p.requires_grad]
        if total and trained:
            torch.autograd.grad(sum(total), trained, allow_unused=True)  # type: ignore[arg-type]

    def _give_up(self, error: Exception) -> None:
        self._failed = True
        log.warning(
            "%s=true: torch cannot compile this network here; it runs uncompiled (%s: %s)",
            self._option, type(error).__name__, " ".join(str(error).split())[:200],
        )  # fmt: skip
