"""A compiled network scores as it does uncompiled, in batches of any size, or runs as it is."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from distill.compiled import Compiled
from distill.data.views import KeyFrames
from distill.model import Prediction, QualityModel


class Toy(QualityModel):
    """One layer on frames' means."""

    def __init__(self) -> None:
        super().__init__()
        self.views = {"frames": KeyFrames(2, 16)}
        self.layer = nn.Linear(3, 1)

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        frames = self.layer(batch["frames"].float().mean((3, 4)))[..., 0]
        return Prediction(frames.mean(1), frames, {"twice": 2 * frames.mean(1)})


def _views(size: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(size)
    frames = torch.randint(0, 255, (size, 2, 3, 16, 16), generator=generator)
    return {"frames": frames.to(torch.uint8)}


@pytest.fixture(autouse=True)
def fresh() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@torch.inference_mode()
def _same(model: QualityModel, compiled: Compiled, *sizes: int) -> None:
    for size in sizes:
        found, expected = compiled(_views(size)), model(_views(size))
        torch.testing.assert_close(found.score, expected.score)
        torch.testing.assert_close(found.frame_scores, expected.frame_scores)
        torch.testing.assert_close(found.member_scores, expected.member_scores)


def test_batches_of_any_size_need_two_compilations(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = CompileCounter()  # a backend that counts and runs the graph
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    model = Toy().eval()
    _same(model, Compiled(model), 4, 3, 4, 7, 1, 2, 1)
    assert 1 <= counter.frame_count <= 2  # one video at a time is a case of its own


def test_torchs_own_compiler() -> None:
    """Or the network as it is, where there is no C++ compiler."""
    model = Toy().eval()
    _same(model, Compiled(model), 4, 3, 1)


def test_where_compiling_fails_it_runs_as_it_is_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    model = Toy().eval()
    _same(model, Compiled(model), 4, 3)
    (record,) = [r for r in caplog.records if r.name == "distill.compiled"]
    assert "compile=true: torch cannot compile this network here" in record.getMessage()
    assert "no compiler here" in record.getMessage()


def test_an_error_of_the_network_is_no_failed_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: model)
    with pytest.raises(KeyError, match="frames"):
        Compiled(Toy())({})
