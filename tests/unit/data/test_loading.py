"""Loaders: how long their user waits is measured, and shared memory that is too small is named."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from distill.data import loading
from distill.data.loading import Waiting, loader_options


def test_waiting_is_what_the_batches_take_and_not_their_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(loading.time, "perf_counter", lambda: clock[0])

    def source() -> Any:
        for number in range(3):
            clock[0] += 1.0  # decoding
            yield number
        clock[0] += 0.5  # finding out that there are no more

    waiting, got, shares = Waiting(), [], []
    for number in waiting.watch(source()):
        got.append(number)
        clock[0] += 3.0  # training
        shares.append(waiting.share())
    assert got == [0, 1, 2]
    assert shares == [0.25, 0.25, 0.25]
    assert waiting.seconds == 3.5 and waiting.share() == 1.0


@pytest.mark.parametrize(("mebibytes", "told"), [(64, True), (8192, False)])
def test_small_shared_memory_is_named_before_a_worker_dies_of_it(
    mebibytes: int, told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    status = SimpleNamespace(f_blocks=mebibytes * 256, f_frsize=4096)
    monkeypatch.setattr(loading.os, "statvfs", lambda folder: status)
    loading._check_shared_memory.cache_clear()
    with caplog.at_level(logging.WARNING):
        loader_options(num_workers=0, prefetch=2)
        assert not caplog.messages  # batches of this process need none
        for _ in range(2):
            loader_options(num_workers=1, prefetch=2)
    loading._check_shared_memory.cache_clear()
    assert len(caplog.messages) == told
    if told:
        assert "shared memory is 64 MiB" in caplog.text and "--shm-size" in caplog.text


def test_prefetch_needs_workers() -> None:
    assert loader_options(num_workers=0, prefetch=4)["prefetch_factor"] is None
    assert loader_options(num_workers=3, prefetch=4)["prefetch_factor"] == 4
