"""What one inference of one video costs: multiply-adds, parameters, time.

The unit is fvcore's: one multiply-add counts as one, over all frames, clips and branches of one
video, at batch 1, in evaluation mode. The field prints these GMACs as "GFLOPs", and the 120 of the
NTIRE 2025 challenge are of this kind; twice the number is what torch's own counter gives.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from torch import Tensor, nn

from distill.errors import ConfigError, DistillError
from distill.model import QualityModel

CONVENTION = "GMACs: fvcore, one multiply-add = 1, per video, all frames and branches, batch 1"

# These move numbers or work on each by itself; none multiplies matrices. Counting them would add
# 0.06-0.35%, as measured on Swin and vision transformers. Any other uncounted operator is refused.
_ELEMENTWISE = frozenset(
    """Bool Float FloatImplicit IntImplicit _shape_as_tensor abs adaptive_avg_pool1d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d add add_ addcmul alias
    amax amin argmax avg_pool1d avg_pool2d avg_pool3d bernoulli bernoulli_
    broadcast_tensors ceil ceil_ celu clamp_max clamp_min clone concat cos cumsum detach_
    div div_ dropout_ elu erf exp expand_as feature_dropout fill_ flip floor_ gelu glu
    group_norm_ hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ hsplit
    im2col index_select instance_norm_ is_nonzero item le leaky_relu leaky_relu_ lerp
    lift_fresh linalg_vector_norm linspace log log_softmax logical_and logical_not
    logical_or lt masked_fill_ max_pool1d max_pool2d max_pool2d_with_indices max_pool3d
    maximum mean meshgrid min minimum mish mish_ moveaxis movedim mul mul_ native_dropout
    ne neg norm normalize numel numpy_T ones_like pad pixel_shuffle pixel_unshuffle pow
    pow_ prelu prod reciprocal reflection_pad2d relu6 relu6_ repeat repeat_interleave
    replication_pad2d reshape_as round rsqrt rsub scalar_tensor selu sigmoid sigmoid_ sign
    silu silu_ sin softmax softplus sqrt square std std_mean sub sub_ sum swapaxes tanh
    tanh_ tensor_split tile tril triu true_divide unflatten unfold upsample_bicubic2d
    upsample_nearest1d upsample_nearest3d upsample_trilinear3d var var_mean view_as vsplit
    where zero_""".split()
)


@dataclass(frozen=True)
class Cost:
    """What one inference of one video takes.

    Attributes:
        gmacs: 1e9 multiply-adds, see the module's convention.
        params_m: 1e6 parameters of the model, whether trained or frozen, buffers left out.
        by_module: gmacs of the model's direct parts, largest first.
        by_operator: gmacs per operator (``linear``, ``conv``, ``matmul``), largest first.
        by_part: gmacs of what the model names as its parts (a teacher's members), largest first.
        latency_ms: of the network alone, where it was measured.
    """

    gmacs: float
    params_m: float
    by_module: dict[str, float] = field(default_factory=dict)
    by_operator: dict[str, float] = field(default_factory=dict)
    by_part: dict[str, float] = field(default_factory=dict)
    latency_ms: float | None = None

    @property
    def gflops(self) -> float:
        """Two operations per multiply-add."""
        return 2 * self.gmacs

    def times(self, passes: int) -> "Cost":
        """What so many inferences of a video take; the parameters are what they were."""

        def each(parts: Mapping[str, float]) -> dict[str, float]:
            return {name: passes * gmacs for name, gmacs in parts.items()}

        return replace(
            self,
            gmacs=passes * self.gmacs,
            by_module=each(self.by_module),
            by_operator=each(self.by_operator),
            by_part=each(self.by_part),
        )

    def taking(self, latency_ms: float) -> "Cost":
        """The same with a measured latency."""
        return replace(self, latency_ms=latency_ms)

    def __str__(self) -> str:
        took = "" if self.latency_ms is None else f", {self.latency_ms:.1f} ms (network alone)"
        return (
            f"{self.gmacs:.2f} GMACs a video (= {self.gflops:.2f} GFLOPs at two per multiply-add),"
            f" {self.params_m:.2f} M parameters{took}"
        )


class _OneVideo(nn.Module):
    """A model as fvcore wants it: tensors in, every tensor of the prediction out."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *views: Tensor) -> tuple[Tensor, ...]:
        says = self.model(dict(zip(self.model.views, views, strict=True)))
        rest = [out for out in (says.frame_scores, says.bin_logits) if out is not None]
        return (says.score, *rest, *says.member_scores.values(), *says.features.values())


def profile(model: QualityModel) -> Cost:
    """Count one inference of one video: batch 1, evaluation mode, every view.

    Raises:
        DistillError: the network uses an operator that may carry arithmetic and is not counted.
    """
    inputs, wrapped = _zeros(model), _OneVideo(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        count = FlopCountAnalysis(wrapped, inputs).set_op_handle(**_HANDLES)
        count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        count.tracer_warnings("none")
        with torch.no_grad():
            total = count.total()
        _refuse_uncounted(count, wrapped)
    finally:
        for module, training in modes.items():
            module.training = training
    children = {name: count.total(f"model.{name}") for name, _ in model.named_children()}
    return Cost(
        gmacs=total / 1e9,
        params_m=sum(p.numel() for p in model.parameters()) / 1e6,
        by_module=_giga(children),
        by_operator=_giga(count.by_operator()),
        by_part=_giga({name: count.total(f"model.{at}") for name, at in model.parts().items()}),
    )


def latency_ms(model: QualityModel, repeats: int = 5) -> float:
    """Median wall time of one inference of one video on the model's device, after one to warm up.

    Args:
        model: put into evaluation mode for the measurement, then back.
        repeats: inferences timed, >= 1.
    """
    if repeats < 1:
        raise ConfigError(f"repeats must be >= 1, got {repeats}")
    inputs = _zeros(model)
    batch = dict(zip(model.views, inputs, strict=True))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    times = []
    try:
        with torch.inference_mode():
            for _ in range(repeats + 1):
                start = time.perf_counter()
                model(batch)
                if inputs[0].is_cuda:
                    torch.cuda.synchronize(inputs[0].device)
                times.append(time.perf_counter() - start)
    finally:
        for module, training in modes.items():
            module.training = training
    return 1000 * median(times[1:])


def _zeros(model: QualityModel) -> tuple[Tensor, ...]:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return tuple(
        torch.zeros((1, *view.shape), dtype=torch.uint8, device=device)
        for view in model.views.values()
    )


def _giga(counts: Mapping[str, float]) -> dict[str, float]:
    ordered = Counter({name: float(count) for name, count in counts.items()}).most_common()
    return {name: count / 1e9 for name, count in ordered}


def _refuse_uncounted(count: FlopCountAnalysis, wrapped: nn.Module) -> None:
    odd = {
        kind: times
        for kind, times in count.unsupported_ops().items()
        if kind.removeprefix("aten::") not in _ELEMENTWISE
    }
    if not odd:
        return
    owners = [
        name
        for name, _ in wrapped.named_modules()
        if name.startswith("model.") and set(count.unsupported_ops(name)) & set(odd)
    ]
    # The innermost ones: a parent repeats what its children use.
    where = [
        name.removeprefix("model.")
        for name in owners
        if not any(other.startswith(f"{name}.") for other in owners)
    ]
    raise DistillError(
        f"cannot count {', '.join(sorted(odd))}"
        + (f" in {', '.join(where[:3])}" if where else "")
        + ": the total would be too low. Write attention with F.scaled_dot_product_attention "
        "instead of nn.MultiheadAttention or nn.TransformerEncoderLayer, whose fast path hides "
        "its products; for any other operator, add a handle to distill/cost.py or, if it works "
        "element by element, its name to the list there"
    )


def _attention(inputs: list[Any], outputs: list[Any]) -> float:
    """L*S*D for the scores and L*S*Dv for the values, per batch element and head."""
    query, key, value = (get_shape(tensor) for tensor in inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _matmul(inputs: list[Any], outputs: list[Any]) -> float:
    """Each element of the product takes one row; fvcore's own forgets a broadcast first factor."""
    return math.prod(get_shape(outputs[0])) * get_shape(inputs[0])[-1]


def _baddbmm(inputs: list[Any], outputs: list[Any]) -> float:
    return math.prod(get_shape(outputs[0])) * get_shape(inputs[1])[-1]


_HANDLES: dict[str, Callable[[list[Any], list[Any]], float]] = {
    "aten::scaled_dot_product_attention": _attention,
    "aten::matmul": _matmul,
    "aten::baddbmm": _baddbmm,
}
