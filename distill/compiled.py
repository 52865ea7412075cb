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
    """

    def __init__(self, model: QualityModel) -> None:
        self._model = model
        self._compiled = torch.compile(model)
        self._failed = False

    def __call__(self, views: Mapping[str, Tensor]) -> Prediction:
        """Score a batch, see ``QualityModel.forward``."""
        if self._failed:
            return self._model(views)
        for view in views.values():  # the last batch is smaller: no reason to compile again
            torch._dynamo.maybe_mark_dynamic(view, 0)
        try:
            return self._compiled(views)
        except torch._dynamo.exc.TorchDynamoException as error:
            self._failed = True
            log.warning(
                "compile=true: torch cannot compile this network here; it runs as it is (%s: %s)",
                type(error).__name__, " ".join(str(error).split())[:200],
            )  # fmt: skip
            return self._model(views)
