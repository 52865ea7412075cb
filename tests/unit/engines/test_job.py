"""What engines share: where each process begins, how many there are, what options mean."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.config import PseudoLabelConfig
from distill.engines.job import begun_at
from distill.engines.local import processes
from distill.errors import ConfigError
from distill.labels import Chunk
from distill.options import RayConfig, decoding_workers


@given(st.integers(0, 40), st.integers(0, 1000))
def test_every_process_tries_every_chunk_once(count: int, number: int) -> None:
    chunks = [Chunk(at, b"") for at in range(count)]
    mine = begun_at(chunks, number)
    assert sorted(chunk.start for chunk in mine) == list(range(count))
    assert begun_at(chunks, 0) == chunks


def test_processes_begin_far_from_each_other() -> None:
    """However many there are, no gap between them is 2.2 times an even one."""
    chunks = [Chunk(at, b"") for at in range(2000)]
    starts = [begun_at(chunks, number)[0].start for number in range(32)]
    for count in range(1, 33):
        gaps = [b - a for a, b in itertools.pairwise([*sorted(starts[:count]), 2000])]
        assert max(gaps) < 2.2 * 2000 / count


def _gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    name = "distill.engines.local.pick_device"
    monkeypatch.setattr(
        name, lambda name: torch.device("cuda" if name == "auto" and count else name)
    )


@pytest.mark.parametrize(
    ("device", "devices", "expected"),
    [("auto", "auto", 4), ("auto", 2, 2), ("cuda:1", "auto", 1), ("cuda:1", 1, 1), ("cpu", 3, 3)],
)
def test_devices_of_a_machine_with_four_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, devices: str | int, expected: int
) -> None:
    _gpus(monkeypatch, 4)
    assert processes(PseudoLabelConfig(device=device, devices=devices)) == expected


@pytest.mark.parametrize(("device", "devices", "most"), [("auto", 5, 4), ("cuda:1", 2, 1)])
def test_more_devices_than_there_are(
    monkeypatch: pytest.MonkeyPatch, device: str, devices: int, most: int
) -> None:
    _gpus(monkeypatch, 4)
    with pytest.raises(ConfigError, match=f"devices={devices}: device={device} has {most}"):
        processes(PseudoLabelConfig(device=device, devices=devices))


def test_without_gpus_auto_is_one_process() -> None:
    assert processes(PseudoLabelConfig(device="cpu")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "precision='bf16' is not a choice; did you mean"),
        ({"engine": "dask"}, "engine='dask' is not a choice; choose one of local, ray"),
        ({"devices": "all"}, "devices=all: give auto or a number of processes"),
        ({"devices": 0}, "devices=0 must be at least 1"),
        ({"devices": 2, "engine": "ray"}, "devices=2 is for engine=local; give ray.workers"),
        ({"shard": 1}, "shard=1 needs a store.*store=FOLDER"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PseudoLabelConfig(**options)  # type: ignore[arg-type]


def test_options_of_ray_that_cannot_be() -> None:
    for name, value in (("workers", 0), ("cpus", 0.0), ("gpus", -1.0)):
        with pytest.raises(ConfigError, match=f"ray.{name}={value}"):
            RayConfig(**{name: value})  # type: ignore[arg-type]


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(12)), raising=False)
    assert [decoding_workers(None, n) for n in (1, 2, 4, 100)] == [8, 6, 3, 1]
    assert decoding_workers(5, 4) == 5
