"""A student as graphs: torch.export's program, and ONNX from the same program."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.data.views import View
from distill.deploy.exports import FILES, FRAME_SCORES, ONNX, SCORE, TORCH
from distill.errors import ConfigError, ExportError
from distill.model import QualityModel

EXTRA = ("onnx", "onnxruntime", "onnxscript")
_MOST = 1024  # videos of a batch


class Graph(nn.Module):
    """A model as graphs want it: tensors in the order of its views, raw scores out."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *views: Tensor) -> tuple[Tensor, ...]:
        """Score (B,), and where the model has them the scores of frames (B, T)."""
        says = self.model(dict(zip(self.model.views, views, strict=True)))
        return (says.score,) if says.frame_scores is None else (says.score, says.frame_scores)


def check_installed() -> None:
    """Refuse before any work what the exporter needs and is not here.

    Raises:
        ConfigError: a package of the extra ``onnx`` is missing.
    """
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"export needs {', '.join(missing)}: pip install 'distill-vqa[onnx]', or pip install"
            f" {' '.join(missing)}"
        )


def write_graphs(model: QualityModel, folder: Path) -> dict[str, Any]:
    """Write ``model.pt2`` and ``model.onnx``; batches may be of any size from 1 to 1024.

    Args:
        model: in evaluation mode, on the CPU. Its normalisation is part of its forward pass and so
            of the graphs.
        folder: exists.

    Returns:
        ``inputs`` (name -> shape), ``outputs`` (name -> shape) and ``opset``.

    Raises:
        ExportError: torch cannot export the network, as where its forward pass depends on the
            values of the views.
    """
    # Two videos: torch takes a size of 1 for a constant.
    example = tuple(_blank(view, 2) for view in model.views.values())
    batch = torch.export.Dim("batch", min=1, max=_MOST)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own insides
            says = Graph(model)(*example)
            sizes = (tuple({0: batch} for _ in example),)
            program = torch.export.export(Graph(model), example, dynamic_shapes=sizes)
            outputs = [SCORE, FRAME_SCORES][: len(says)]
            graph = torch.onnx.export(
                program, dynamo=True, input_names=list(model.views), output_names=outputs,
                dynamic_shapes=sizes, verbose=False,
            )  # fmt: skip
            assert graph is not None
            graph.save(folder / FILES[ONNX], external_data=False)
            # The example would go into the file pickled. Nothing needs it.
            program._example_inputs = None
            torch.export.save(program, folder / FILES[TORCH])
    except Exception as error:  # whatever the exporters throw is about the network
        first = " ".join(str(error).split())[:400]
        raise ExportError(
            f"torch {torch.__version__} cannot export {type(model).__name__}:"
            f" {type(error).__name__}: {first}"
        ) from error
    shapes = {name: ["batch", *view.shape] for name, view in model.views.items()}
    told = [["batch", *tensor.shape[1:]] for tensor in says]
    return {
        "inputs": shapes,
        "outputs": dict(zip(outputs, told, strict=True)),
        "opset": graph.model.opset_imports[""],
    }


def _blank(view: View, videos: int) -> Tensor:
    return torch.zeros((videos, *view.shape), dtype=torch.uint8)
