"""An export's ONNX graph in 8-bit integers."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.deploy.onnx_model import Seen
from distill.errors import ExportError


def quantise(graph: Path, target: Path, seen: Sequence[Seen]) -> None:
    """Write a graph's int8 form.

    Linear layers and matrix products are dynamic: the scale of what comes in is taken from each
    input as it comes. Convolutions are static: the scale is what ``seen`` shows, from the least to
    the largest value. Weights have a scale for each output channel. Convolutions of pixels and
    those with groups stay in float: one scale for all their channels, whose ranges differ most,
    was most of the error (docs/deploy.md), and they are a small part of the multiply-adds.

    Args:
        graph: the float graph.
        target: file to write.
        seen: real videos to calibrate with.

    Raises:
        ExportError: onnxruntime cannot quantise the graph.

    Source: onnxruntime's guide to quantisation: uint8 activations, int8 weights of 7 bits, because
        the sums of x86 processors without VNNI overflow with 8.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    weights: dict[str, Any] = {
        "per_channel": True, "weight_type": QuantType.QInt8, "reduce_range": True,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="distill-int8-") as folder, _quietly():
        ready, linear = Path(folder) / "ready.onnx", Path(folder) / "linear.onnx"
        try:
            quant_pre_process(graph, ready, skip_symbolic_shape=True)
            quantize_dynamic(ready, linear, op_types_to_quantize=["MatMul", "Gemm"], **weights)
            quantize_static(
                linear, target, _Views(seen), quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"], nodes_to_exclude=_delicate(ready),
                activation_type=QuantType.QUInt8, **weights,
            )  # fmt: skip
        except Exception as error:  # what a graph that it cannot take makes it throw has no base
            first = " ".join(str(error).split())[:300]
            raise ExportError(
                f"onnxruntime cannot quantise the graph: {type(error).__name__}: {first}"
            ) from error


def _delicate(graph: Path) -> list[str]:
    """Names of the convolutions with groups, and of those that take the three colours."""
    import onnx

    model = onnx.load(graph).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in model.initializer}
    names = []
    for node in model.node:
        if node.op_type != "Conv":
            continue
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        weight = shapes.get(node.input[1])  # (out, in / groups, height, width)
        if groups > 1 or (weight is not None and weight[1] == 3):
            names.append(node.name)
    return names


class _Views:
    """What onnxruntime calls a CalibrationDataReader: one video's inputs after another."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._left = [look for video in seen for look in video.looks]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The inputs of one video, batch 1; None at the end."""
        if not self._left:
            return None
        return {name: view[None] for name, view in self._left.pop(0).items()}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Onnxruntime advises on the root logger, and prints, about its own steps."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(before)
