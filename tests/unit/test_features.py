"""Making the features of frozen networks: what is keyed, what is made anew, what training sees."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distill import features
from distill.data.dataset import _NO_FEATURES, Example, VideoDataset, collate
from distill.data.features import FeatureStore
from distill.data.manifest import Row
from distill.data.views import KeyFrames
from distill.features import feature_store, fill, fingerprint, missing
from distill.inference import score_rows
from distill.model import FEATURES, Prediction, QualityModel
from teachers.timm_frames import TimmFrames
from tests.helpers.grey_videos import Grey

CPU = torch.device("cpu")


class Means(nn.Module):
    """(B, T, 3, S, S) -> (B, T, 2): the mean times a weight, and the largest value."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0), requires_grad=False)
        self.register_buffer("offset", torch.zeros(3))

    def forward(self, frames: Tensor) -> Tensor:
        flat = frames.float().flatten(2)
        return torch.stack([flat.mean(-1) * self.weight, flat.amax(-1)], -1)


class HalfFrozen(QualityModel):
    """A frozen member on one view and a trainable weight on another."""

    def __init__(self) -> None:
        super().__init__()
        self.views = {"still": KeyFrames(2, 16), "live": KeyFrames(1, 16)}
        self.member, self.head = Means(), nn.Linear(2, 1)

    def frozen_members(self) -> dict[str, tuple[str, nn.Module]]:
        return {"means": ("still", self.member)}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        features = batch.get(FEATURES + "means")
        if features is None:
            features = self.member(batch["still"])
        live = batch["live"].float().mean((1, 2, 3, 4))
        return Prediction(self.head(features).mean((1, 2)) + 0.01 * live)


def _rows(folder: Path, *greys: str) -> list[Row]:
    rows = []
    for number, grey in enumerate(greys):
        path = folder / f"{number}.mp4"
        path.write_text(grey)
        rows.append(Row(path.name, path))
    return rows


def _fill(store: FeatureStore, model: QualityModel, rows: list[Row], reader: Grey) -> None:
    todo = missing(store, rows)
    fill(store, model, todo, reader, batch_size=2, num_workers=0, device=CPU)


def test_whatever_changes_features_changes_the_fingerprint() -> None:
    net, view = Means(), KeyFrames(2, 16)
    prints = {fingerprint(net, view, CPU)}
    assert prints == {fingerprint(Means(), replace(view), CPU)}
    prints.add(fingerprint(net, replace(view, num_frames=3), CPU))
    prints.add(fingerprint(net, replace(view, short_side=16), CPU))
    prints.add(fingerprint(net, view, torch.device("cuda")))
    net.weight += 1e-6
    prints.add(fingerprint(net, view, CPU))
    net.offset[2] = 1
    prints.add(fingerprint(net, view, CPU))
    prints.add(fingerprint(nn.Sequential(Means()), view, CPU))
    assert len(prints) == 7


def test_other_libraries_change_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    net, view = Means(), KeyFrames(2, 16)
    for name in ("torch", "timm", "numpy", "av"):
        before = fingerprint(net, view, CPU)
        with monkeypatch.context() as patch:
            patch.setattr(
                features,
                "version",
                lambda wheel, name=name: "9" if wheel == name else version(wheel),
            )
            assert fingerprint(net, view, CPU) != before


def test_the_code_of_every_part_belongs_to_the_fingerprint() -> None:
    files = {path.name for path in features._code(nn.Sequential(Means(), nn.Linear(1, 1)))}
    assert {"test_features.py", "container.py", "linear.py"} <= files
    assert {"dataset.py", "identity.py", "sampling.py", "key_frames.py", "pyav.py"} <= files


def test_the_code_of_base_classes_belongs_to_the_fingerprint() -> None:
    class Deeper(TimmFrames):
        pass

    net = Deeper("test_efficientnet", "none", 64)
    files = {path.name for path in features._code(net)}
    assert {"test_features.py", "timm_frames.py", "member.py"} <= files


def test_weights_can_be_restored_after_filling(tmp_path: Path) -> None:
    """As a checkpoint is: no tensor of the network may be left in inference mode."""
    rows, model = _rows(tmp_path, "1"), HalfFrozen()
    state = {key: value + 1 for key, value in model.state_dict().items()}
    moved = torch.nn.Module.to

    def to(self: nn.Module, device: torch.device) -> nn.Module:
        return self._apply(torch.clone) if self is model.member else moved(self, device)

    model.member.to = to.__get__(model.member)  # type: ignore[method-assign]
    store = feature_store(model, tmp_path / "cache", CPU)
    assert store is not None
    _fill(store, model, rows, Grey())
    model.load_state_dict(state)
    assert model.member.weight == 3


def test_options_of_a_timm_member_change_its_fingerprint() -> None:
    torch.manual_seed(0)
    options = {"weights": "none", "size": 64, "trainable": True}
    one = TimmFrames("test_efficientnet", stages=[3], **options)
    two = TimmFrames("test_efficientnet", stages=[1, 3], **options)
    two.load_state_dict(one.state_dict())  # the same weights: only what is read off them differs
    view = KeyFrames(2, 64)
    assert fingerprint(one, view, CPU) != fingerprint(two, view, CPU)


def test_a_model_without_frozen_members_has_no_store(tmp_path: Path) -> None:
    model = HalfFrozen()
    assert feature_store(QualityModel(), tmp_path, CPU) is None
    assert feature_store(model, tmp_path, CPU) is not None


def test_only_what_is_missing_or_damaged_is_made(tmp_path: Path) -> None:
    rows, model, reader = _rows(tmp_path, "1", "2", "3", "2", "-"), HalfFrozen(), Grey()
    store = feature_store(model, tmp_path / "cache", CPU)
    assert store is not None
    _fill(store, model, rows, reader)
    made = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(made) == 3  # twins share one, the broken one has none
    assert sorted(path.name for path in reader.read_paths) == ["0.mp4", "1.mp4", "2.mp4"]

    made[0].write_bytes(made[0].read_bytes()[:-1] + b"?")
    made[1].unlink()
    before = made[2].stat().st_mtime_ns
    reader.read_paths.clear()
    _fill(store, model, rows, reader)
    assert len(reader.read_paths) == 2 and made[2].stat().st_mtime_ns == before
    contents = {path.stem for path in made}
    assert all(store.load(content) is not None for content in contents)


def test_cached_features_are_what_the_network_computes(tmp_path: Path) -> None:
    rows, model, reader = _rows(tmp_path, "1", "20", "-", "3"), HalfFrozen(), Grey()
    plain = [s.raw for s in score_rows(model, rows, reader, batch_size=3)]
    store = feature_store(model, tmp_path / "cache", CPU)
    assert store is not None
    _fill(store, model, rows, reader)
    reader.frames_read = 0
    cached = list(score_rows(model, rows, reader, batch_size=3, features=store))
    assert [s.raw for s in cached] == pytest.approx(plain, abs=1e-5, nan_ok=True)
    assert reader.frames_read == 3  # of the trainable member's view alone
    assert cached[2].error == "grey: no picture" and cached[0].info is not None


def test_training_samples_hold_features_in_place_of_frozen_views(tmp_path: Path) -> None:
    rows, model, reader = _rows(tmp_path, "1", "-", "3"), HalfFrozen(), Grey()
    store = feature_store(model, tmp_path / "cache", CPU)
    assert store is not None
    _fill(store, model, rows[:2], reader)
    examples = [Example(row, target=1.0) for row in rows]
    dataset = VideoDataset(
        examples, model.views, reader, train=True, frozen_views=("still",), features=store
    )
    batch = collate([dataset[0, index] for index in range(3)])
    assert {name: tuple(value.shape) for name, value in batch.views.items()} == {
        "live": (1, 1, 3, 16, 16), "features/means": (1, 2, 2),
    }  # fmt: skip
    assert dict(batch.failed) == {
        1: "grey: no picture", 2: _NO_FEATURES,
    }  # fmt: skip


def test_nothing_is_decoded_where_all_is_cached(tmp_path: Path) -> None:
    rows, model, reader = _rows(tmp_path, "1"), HalfFrozen(), Grey()
    store = feature_store(model, tmp_path / "cache", CPU)
    assert store is not None
    _fill(store, model, rows, reader)
    reader.frames_read = 0
    views = {"still": model.views["still"]}
    dataset = VideoDataset(
        [Example(rows[0])], views, reader, train=False, frozen_views=("still",), features=store
    )
    sample = dataset[0]
    assert set(sample.views) == {"features/means"} and sample.info is not None
    assert reader.frames_read == 0
