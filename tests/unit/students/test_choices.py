"""Every student of conf/student: composes with a budget, builds, scores a video as it costs."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor, nn

import conf
from distill.config import TrainStudentConfig, register_schemas, to_config
from distill.cost import profile
from distill.data.manifest import Row
from distill.data.reader import VideoInfo
from distill.inference import score_rows
from distill.model import QualityModel
from distill.stages.inputs import network, without_weights

CHOICES = sorted(
    path.stem
    for path in (Path(conf.__file__).parent / "student").glob("*.yaml")
    if "_target_: " in path.read_text()  # "fit" only chooses among the others
)
# As cheap as the options allow; what is left out keeps the value of the file.
CHEAP = {
    "compact": ["student.num_frames=2", "student.size=64", "student.grid=2"],
    "evqa": ["student.num_frames=2", "student.size=64"],
    "mixed_view": ["student.num_frames=2", "student.size=96", "student.whole=64"],
    "swin_t": ["student.num_frames=2", "student.size=64"],
}


def _student(choice: str, *words: str) -> tuple[type[QualityModel], dict[str, Any]]:
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("train_student", [f"student={choice}", "+budget=120", *words])
    checked: TrainStudentConfig = to_config(config, TrainStudentConfig)
    assert checked.budget == 120
    return network(checked.student, "student")


def _random(shape: tuple[int, ...]) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_none_is_forgotten() -> None:
    assert sorted(CHEAP) == CHOICES


@pytest.mark.parametrize("choice", CHOICES)
def test_files_name_every_option_but_what_training_sets(choice: str) -> None:
    target, kwargs = _student(choice)
    known = set(inspect.signature(target).parameters)
    assert known - set(kwargs) <= {"score_mean", "score_std", "fixed_batchnorm"}
    assert set(kwargs) <= known


@pytest.mark.parametrize("choice", CHOICES)
def test_videos_are_scored_alone_and_at_any_number_of_frames(choice: str) -> None:
    torch.manual_seed(0)
    target, kwargs = _student(choice, *CHEAP[choice])
    model = target(**without_weights(kwargs)).eval()
    batch = {name: _random((3, *view.shape)) for name, view in model.views.items()}
    with torch.no_grad():
        says = model(batch)
        assert says.score.shape == (3,)
        assert says.frame_scores is not None
        assert says.frame_scores.shape == (3, 2)
        assert len(set(says.score.tolist())) == 3
        alone = [model({n: v[i : i + 1] for n, v in batch.items()}).score for i in range(3)]
        torch.testing.assert_close(torch.cat(alone), says.score, rtol=1e-4, atol=1e-5)
        one = model({name: view[:, :1] for name, view in batch.items()})
        torch.testing.assert_close(one.score, says.frame_scores[:, 0], rtol=1e-4, atol=1e-5)


class _Tensors(nn.Module):
    """A student as an exporter wants it: tensors in, tensors out."""

    def __init__(self, model: QualityModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *views: Tensor) -> tuple[Tensor, Tensor | None]:
        says = self.model(dict(zip(self.model.views, views, strict=True)))
        return says.score, says.bin_logits


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
def test_it_exports_with_any_number_of_videos(choice: str) -> None:
    torch.manual_seed(0)
    head = ["student.temporal=attention", "student.bins=5", "student.train_frames=2"]
    target, kwargs = _student(choice, *CHEAP[choice], *head)
    student = target(**without_weights(kwargs))
    nn.init.normal_(student.pool.attention[-1].weight)  # type: ignore[union-attr,index,arg-type]
    model = _Tensors(student).eval()
    shapes = [view.shape for view in student.views.values()]
    videos = ({0: torch.export.Dim("videos")},) * len(shapes)
    two = tuple(_random((2, *shape)) for shape in shapes)
    exported = torch.export.export(model, two, dynamic_shapes=(videos,)).module()
    three = tuple(_random((3, *shape)) for shape in shapes)
    with torch.no_grad():
        for ours, theirs in zip(model(*three), exported(*three), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


class _Reader:
    """A video of noise."""

    name = "fake"

    def probe(self, path: Path) -> VideoInfo:
        return VideoInfo(num_frames=60, fps=25.0, width=120, height=100)

    def read(self, path: Path, indices: Any) -> Iterator[tuple[int, np.ndarray]]:
        for index in indices:
            rng = np.random.default_rng(index)
            yield int(index), rng.integers(0, 256, (100, 120, 3), dtype=np.uint8)


def _calls(model: QualityModel) -> list[tuple[str, tuple[tuple[int, ...], ...]]]:
    """Fills with every call of a module: its name and the shapes of its tensors."""
    calls: list[tuple[str, tuple[tuple[int, ...], ...]]] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            given = inputs[0].values() if not name else inputs
            calls.append((name, tuple(tuple(x.shape) for x in given if isinstance(x, Tensor))))

        return hook

    for name, module in model.named_modules():
        module.register_forward_pre_hook(note(name))
    return calls


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("test_views", [1, 2])
def test_scoring_runs_what_the_cost_was_counted_on(
    choice: str, test_views: int, tmp_path: Path
) -> None:
    """The same modules on the same shapes, once for each look: no tower runs uncounted."""
    target, kwargs = _student(choice, *CHEAP[choice])
    model = target(**without_weights(kwargs))
    calls = _calls(model)
    profile(model)
    counted = list(calls)
    assert counted[0][1] == tuple((1, *view.shape) for view in model.views.values())
    calls.clear()
    path = tmp_path / "video.mp4"
    path.write_bytes(b"a video")
    rows = [Row("video.mp4", path)]
    scored = list(score_rows(model, rows, _Reader(), test_views=test_views))  # type: ignore[arg-type]
    assert not scored[0].error
    assert calls == counted * test_views
