"""Several looks at a video in evaluation: one decode, all frames, the mean of the scores."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.augment import MIRRORED
from distill.bundle import load_bundle, save_bundle
from distill.data.dataset import Example, VideoDataset, collate
from distill.data.identity import content_hash, seed_of
from distill.data.looks import Look, read_looks
from distill.data.manifest import Row
from distill.data.reader import VideoInfo
from distill.data.views import (
    Fragments,
    KeyFrames,
    MotionChunks,
    NativePatches,
    TexturePatches,
    View,
    at_full_count,
)
from distill.errors import BundleError, VideoError
from distill.features import feature_store, fill
from distill.inference import score_rows
from distill.model import FEATURES, Prediction, QualityModel
from teachers.ensemble import TeacherEnsemble

EVERY: dict[str, View] = {
    "frames": KeyFrames(4, 16, 24, train_frames=1),
    "clips": Fragments(2, 8, num_clips=2, clip_len=4, frame_interval=2, train_clips=1),
    "stills": Fragments(2, 8, num_clips=4, clip_len=1, train_clips=2),
    "chunks": MotionChunks(3, 4, 16, train_chunks=1),
    "native": NativePatches(3, 4, 16, 8, train_frames=1, train_patches=2),
    "texture": TexturePatches(3, 4, 16, train_frames=2, train_patches=1),
}


class Noise:
    """Frames made of a file's bytes; one that begins with ``bad`` cannot be read."""

    name = "noise"

    def __init__(self) -> None:
        self.reads: list[list[int]] = []

    def probe(self, path: Path) -> VideoInfo:
        return VideoInfo(60, 20.0, 48, 32)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        text = path.read_bytes()
        if text.startswith(b"bad"):
            raise VideoError(path, self.name, "torn")
        self.reads.append(list(indices))
        for index in indices:
            rng = np.random.default_rng([index, *text])
            yield index, rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)


class Means(QualityModel):
    """The mean of every view's pixels; the first view's member is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.views = {"still": KeyFrames(3, 16, train_frames=1), "live": EVERY["stills"]}
        self.net = nn.Flatten(2)

    def frozen_members(self) -> dict[str, tuple[str, nn.Module]]:
        return {"still": ("still", self.net)}

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        key = FEATURES + "still"
        features = batch[key] if key in batch else self.net(batch["still"])
        still, live = features.float().mean(2), batch["live"].float().mean((2, 3, 4, 5))
        return Prediction(still.mean(1) + live.mean(1), still, {"still": still.mean(1)})


def _rows(folder: Path, *contents: str) -> list[Row]:
    rows = []
    for at, content in enumerate(contents):
        path = folder / f"{at}.mp4"
        path.write_text(content)
        rows.append(Row(path.name, path))
    return rows


@pytest.mark.parametrize("name", EVERY)
def test_a_drawn_view_has_the_shape_of_evaluation_and_its_other_options(name: str) -> None:
    view = EVERY[name]
    full = at_full_count(view)
    for key, value in view.__dict__.items():
        assert getattr(full, key) == (None if key.startswith("train_") else value)
    info = VideoInfo(60, 20.0, 48, 32)
    for drawn, same in ((view, False), (full, True)):
        collector = drawn.begin(info, 3, True)
        for index in np.unique(collector.indices).tolist():
            collector.add(index, np.zeros((32, 48, 3), np.uint8))
        assert (tuple(collector.result().shape) == view.shape) is same


def test_all_looks_come_of_one_decode_and_the_first_is_the_evaluation_view(tmp_path: Path) -> None:
    (row,), reader = _rows(tmp_path, "a"), Noise()
    sample = VideoDataset([Example(row)], EVERY, reader, train=False, test_views=3)[0]
    assert len(reader.reads) == 1 and reader.reads[0] == sorted(set(reader.reads[0]))
    (plain,) = VideoDataset([Example(row)], EVERY, Noise(), train=False)
    assert plain.others == [] and len(sample.others) == 2
    content = content_hash(row.path)
    for name, view in EVERY.items():
        assert torch.equal(sample.views[name], plain.views[name])
        for number, look in enumerate(sample.others, 1):
            seed, alone = seed_of(content, "test view", number), at_full_count(view)
            look_alone = Look({name: alone}, seed, True, augment=MIRRORED)
            (expected,), _ = read_looks(row.path, Noise(), [look_alone])
            assert torch.equal(look[name], torch.from_numpy(expected[name]))
            assert not torch.equal(look[name], sample.views[name])
        assert not torch.equal(sample.others[0][name], sample.others[1][name])


def test_looks_are_of_the_content_alone_and_training_has_none(tmp_path: Path) -> None:
    (row,) = _rows(tmp_path, "a")
    copy = Row("b", Path(shutil.copy(row.path, tmp_path / "ü.mkv")))
    options: dict[str, Any] = {"train": False, "test_views": 2}
    one = VideoDataset([Example(row)], EVERY, Noise(), **options)[0]
    two = VideoDataset([Example(row), Example(copy)], EVERY, Noise(), seed=7, **options)[1]
    for name, view in one.others[0].items():
        assert torch.equal(view, two.others[0][name])
    drawn = VideoDataset([Example(row)], EVERY, Noise(), train=True, test_views=2)[0, 0]
    assert drawn.others == []


def test_broken_videos_leave_no_looks(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "bad", "a")
    data = VideoDataset([Example(r) for r in rows], EVERY, Noise(), train=False, test_views=2)
    batch = collate([data[0], data[1]])
    assert batch.failed == [(0, "noise: torn")] and batch.index.tolist() == [1]
    assert [{k: len(v) for k, v in look.items()} for look in batch.others] == [
        dict.fromkeys(EVERY, 1)
    ]
    assert collate([data[0]]).others == []
    moved = batch.to("meta")
    assert all(v.is_meta for look in moved.others for v in look.values())


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (2, 0), (4, 0), (2, 2)])
def test_a_score_is_the_mean_of_its_looks_whatever_the_batch(
    tmp_path: Path, batch_size: int, workers: int
) -> None:
    rows, model = _rows(tmp_path, "a", "b", "bad", "c"), Means()
    found = list(
        score_rows(model, rows, Noise(), batch_size=batch_size, num_workers=workers,
                   device="cpu", test_views=3)
    )  # fmt: skip
    assert found[2].error == "noise: torn"
    first = list(score_rows(model, rows, Noise(), batch_size=1, device="cpu"))
    for row, one, mean in zip(rows, first, found, strict=True):
        if mean.error:
            continue
        says = [one.raw]
        for number in (1, 2):
            seed = seed_of(one.content, "test view", number)
            drawn = {name: at_full_count(view) for name, view in model.views.items()}
            look = Look(drawn, seed, True, augment=MIRRORED)
            (views,), _ = read_looks(row.path, Noise(), [look])
            batch = {k: torch.from_numpy(v)[None] for k, v in views.items()}
            says.append(model(batch).score.item())
        assert mean.raw == pytest.approx(np.mean(says), abs=1e-5)
        assert mean.frame_scores == one.frame_scores
        assert mean.members["still"] != one.members["still"]
        assert len(set(says)) == 3


def test_cached_features_stand_for_the_first_look_alone(tmp_path: Path) -> None:
    rows, model, cpu = _rows(tmp_path, "a", "b"), Means(), torch.device("cpu")
    plain = [s.raw for s in score_rows(model, rows, Noise(), device="cpu", test_views=2)]
    store = feature_store(model, tmp_path / "cache", cpu)
    assert store is not None
    fill(store, model, rows, Noise(), batch_size=2, num_workers=0, device=cpu)
    options: dict[str, Any] = {"device": "cpu", "features": store}
    cached = [s.raw for s in score_rows(model, rows, Noise(), test_views=2, **options)]
    assert cached == pytest.approx(plain, abs=1e-4)


def test_a_bundle_keeps_its_looks_and_older_ones_have_one(tmp_path: Path) -> None:
    view = {"kind": "key_frames", "num_frames": 1, "size": 64}
    toy = {"backbone": "test_efficientnet", "trainable": True, "weights": "none", "view": view}
    kwargs = {"members": {"frames": toy}, "hidden": 4}
    model = TeacherEnsemble(**kwargs)
    prints = set()
    for looks in (1, 3):
        architecture = {"_target_": "teachers.ensemble.TeacherEnsemble", **kwargs}
        spec = save_bundle(
            tmp_path, model, role="teacher", architecture=architecture, calibration=None, cost={},
            provenance={}, licenses=[], metrics={}, test_views=looks,
        )  # fmt: skip
        assert load_bundle(tmp_path).test_views == looks
        prints.add(spec["fingerprint"])
    assert len(prints) == 2
    for found, expected in ((None, 1), (0, "test_views 0: must be"), ("2", "test_views '2'")):
        older = {k: v for k, v in spec.items() if k != "test_views"}
        changed = older if found is None else {**older, "test_views": found}
        (tmp_path / "spec.json").write_text(json.dumps(changed))
        if isinstance(expected, int):
            assert load_bundle(tmp_path).test_views == expected
        else:
            with pytest.raises(BundleError, match=expected):
                load_bundle(tmp_path)
