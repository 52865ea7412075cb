"""Runs an export's ``model.pt2``, which holds the network as torch.export saw it."""

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from distill.deploy.exports import TORCH, Export
from distill.errors import BundleError
from distill.model import Prediction, QualityModel


class TorchProgram(QualityModel):
    """A program of torch.export as a network like any other; it cannot be trained.

    It runs where its batch is.

    Args:
        export: where it is.

    Raises:
        BundleError: there is no such graph, it is damaged, this torch cannot read it, or it holds
            pickled objects.
    """

    def __init__(self, export: Export) -> None:
        super().__init__()
        self.views = export.views
        path = export.graph(TORCH)
        try:
            check_no_pickle(path)
            with _weights_only():
                self._program = torch.export.load(path)
        except (RuntimeError, ValueError, OSError, zipfile.BadZipFile) as error:
            first = " ".join(str(error).split())[:300]
            raise BundleError(
                f"{path}: torch {torch.__version__} cannot read it ({first}); it was exported with"
                f" torch {export.spec['export'].get('torch')}"
            ) from error
        self._take(torch.device("cpu"))

    def _take(self, device: torch.device) -> None:
        # Wrapped, or it would be a part of this module, and it refuses train() and eval().
        self._run, self._device = partial(self._program.module()), device

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Score a batch of views (uint8)."""
        views = [batch[name] for name in self.views]
        if views[0].device != self._device:
            from torch.export.passes import move_to_device_pass

            self._program = move_to_device_pass(self._program, str(views[0].device))
            self._take(views[0].device)
        score, *frames = self._run(*views)
        return Prediction(score, frames[0] if frames else None)


def check_no_pickle(path: Path) -> None:
    """Refuse a ``.pt2`` that holds pickled objects.

    Raises:
        BundleError: it does.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.rpartition("/")[2]
            pickled = name.endswith(".pt") and entry.file_size  # sample inputs, if there are any
            if pickled or name.startswith(("custom_obj", "opaque_obj")):
                raise BundleError(f"{path}: holds a pickled object, {entry.filename}; refused")


@contextmanager
def _weights_only() -> Iterator[None]:
    """A weight of the file may ask torch to unpickle it; here it may not."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
