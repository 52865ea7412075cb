"""Batches on their way to a device: one is copied while the one before it is computed."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from distill.data.dataset import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches with their tensors on a device, in order.

    On a GPU the next batch is copied on a stream of its own before the last one is given out, so
    that its copy and the computing of the last overlap; that takes the memory of one more batch,
    and copies from pinned memory, as the loaders here give it. Elsewhere nothing is read ahead.
    """
    if device.type != "cuda":
        yield from (batch.to(device) for batch in batches)
        return
    stream = torch.cuda.Stream(device)
    ahead: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            moved, copied = batch.to(device), torch.cuda.Event()
            copied.record(stream)
        if ahead is not None:
            yield _arrived(*ahead)
        ahead = moved, copied
    if ahead is not None:
        yield _arrived(*ahead)


def _arrived(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """A batch that the current stream uses only after its copy."""
    current = torch.cuda.current_stream(batch.index.device)
    current.wait_event(copied)
    # The memory belongs to the stream of the copies, which must not write there before this one
    # has done with it.
    for tensor in _tensors(batch):
        tensor.record_stream(current)
    return batch


def _tensors(batch: Batch) -> Iterator[Tensor]:
    yield from (value for value in vars(batch).values() if isinstance(value, Tensor))
    for views in (batch.views, *batch.others):
        yield from views.values()
