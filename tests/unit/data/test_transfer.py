"""Batches on their way to a device: the same ones, in order, copied one ahead on a GPU."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from distill.data.dataset import Batch, collate
from distill.data.transfer import on_device


def _batch(value: int) -> Batch:
    batch = collate([])
    batch.views = {"frames": torch.full((2, 3), value)}
    batch.others = [{"frames": torch.full((2, 3), value + 100)}]
    return batch


@pytest.mark.parametrize("count", [0, 1, 4])
def test_elsewhere_nothing_changes_and_nothing_is_read_ahead(count: int) -> None:
    read: list[int] = []

    def source() -> Any:
        for at in range(count):
            read.append(at)
            yield _batch(at)

    for at, batch in enumerate(on_device(source(), torch.device("cpu"))):
        assert read == list(range(at + 1))
        assert batch.views["frames"].unique().tolist() == [at]
        assert batch.others[0]["frames"].unique().tolist() == [at + 100]
    assert len(read) == count


def test_on_a_gpu_the_next_copy_begins_before_a_batch_is_given_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a GPU that only notes what it is asked: the order of copies, events and uses."""
    log: list[str] = []
    copies, events = iter(range(9)), iter(range(9))

    class Event:
        def __init__(self) -> None:
            self.at = next(events)

        def record(self, stream: str) -> None:
            log.append(f"event {self.at} on {stream}")

    def moved(batch: Batch, device: object) -> Batch:
        log.append(f"copy {next(copies)}")
        return batch

    current = SimpleNamespace(wait_event=lambda event: log.append(f"wait for {event.at}"))
    kept: list[torch.Tensor] = []
    monkeypatch.setattr(Batch, "to", moved)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: "side")
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: kept.append(tensor))

    batches = [_batch(at) for at in range(3)]
    for at, batch in enumerate(on_device(iter(batches), torch.device("cuda"))):
        assert batch is batches[at]
        log.append(f"use {at}")
    assert log == [
        "copy 0", "event 0 on side", "copy 1", "event 1 on side", "wait for 0", "use 0",
        "copy 2", "event 2 on side", "wait for 1", "use 1", "wait for 2", "use 2",
    ]  # fmt: skip
    for batch in batches:  # the stream's memory of every tensor is kept until it was used
        views = [batch.views["frames"], batch.others[0]["frames"], batch.index, batch.target]
        assert all(any(view is tensor for tensor in kept) for view in views)
