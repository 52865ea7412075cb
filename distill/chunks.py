"""Large batches on small GPUs: the joint loss of a batch at the memory of a part of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from distill.model import Prediction


def predict_in_chunks(
    network: Callable[[Mapping[str, Tensor]], Prediction], views: Mapping[str, Tensor], size: int
) -> Prediction:
    """A prediction of the whole batch, whose gradient needs the memory of one chunk.

    Every chunk goes forward and leaves its scores alone; a loss on the scores of all has its exact
    gradient; going back, chunk after chunk is computed anew, with the dropout masks that it had,
    and differentiated. In place of gradient accumulation, whose losses compare videos of a chunk
    only. It costs one more forward pass.

    Args:
        network: a quality model, or what stands for it.
        views: name -> (B, ...).
        size: videos of a chunk, >= 1. A batch that fits is predicted as ever.

    Returns:
        As ``network`` of the whole batch says; a BatchNorm that trains normalises by the chunk.

    Source: gradient caching (Gao et al., RepL4NLP 2021).
    Differs: its cache of gradients of the scores is autograd's own: every chunk is a checkpoint,
        so that optimisation stays automatic and DDP waits for one backward pass. BatchNorm
        statistics move once a step.
    """
    count = len(next(iter(views.values())))
    if count <= size or not torch.is_grad_enabled():
        return network(views)
    again = partial(_first_and_again, network)
    return _join(
        [
            checkpoint(
                network,
                {name: view[start : start + size] for name, view in views.items()},
                use_reentrant=False,
                context_fn=again,
            )
            for start in range(0, count, size)
        ]
    )


def _join(parts: list[Prediction]) -> Prediction:
    """The predictions of consecutive videos as one."""
    return Prediction(
        **{
            one.name: _cat([getattr(part, one.name) for part in parts])
            for one in fields(Prediction)
        }
    )


def _cat(parts: list[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    if parts[0] is None:
        return None
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _first_and_again(
    network: Any,
) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _statistics_kept(network)


@contextmanager
def _statistics_kept(network: Any) -> Iterator[None]:
    """Running statistics of BatchNorm stay as they are; batches are normalised as before."""
    modules = network.modules() if isinstance(network, nn.Module) else ()
    moving = [m for m in modules if isinstance(m, _BatchNorm) and m.training]
    before = [(m, m.momentum, m.num_batches_tracked) for m in moving]
    try:
        for module in moving:  # without new statistics, and without a count of them
            module.momentum, module.num_batches_tracked = 0.0, None
        yield
    finally:
        for module, momentum, count in before:
            module.momentum, module.num_batches_tracked = momentum, count
