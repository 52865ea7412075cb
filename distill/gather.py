"""The joint batch of all ranks, with gradient."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _AllGather(torch.autograd.Function):
    """Equal tensors of all ranks, stacked; the gradient of each is summed over the ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


def gather_with_grad(tensor: Tensor) -> Tensor:
    """The joint batch of all ranks, in the order of ranks; itself without torch.distributed.

    A loss of the joint batch that every rank computes alike has, after DDP's mean over ranks,
    the gradient that one process has on the whole batch.

    Args:
        tensor: (B, ...) with B free to differ between ranks (0 included), the rest and the dtype
            the same. Every rank must call, and call backward, or none.

    Returns:
        (sum of B, ...).

    Differs: ``torch.distributed.nn.functional.all_gather`` does this for equal B, but warns at
        every call of torch 2.15 that it is deprecated.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    size = torch.tensor([len(tensor)], device=tensor.device)
    sizes = [torch.empty_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, size)
    counts = [int(count) for count in sizes]
    padding = tensor.new_zeros((max(counts) - len(tensor), *tensor.shape[1:]))
    parts = _AllGather.apply(torch.cat([tensor, padding]))
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
