"""Samples, batches and the order of training, on synthetic frames through a counting reader."""

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from distill.data.dataset import Example, VideoDataset, collate
from distill.data.loading import eval_loader
from distill.data.looks import read_views
from distill.data.manifest import Row
from distill.data.reader import VideoInfo
from distill.data.readers import make_reader
from distill.data.views import Fragments, KeyFrames, View
from distill.errors import VideoError

VIEWS: dict[str, View] = {
    "frames": KeyFrames(4, 16, 24),
    "detail": KeyFrames(6, 16),
    "clips": Fragments(2, 8, num_clips=2, clip_len=4, frame_interval=2),
    "stills": Fragments(2, 8, num_clips=4, clip_len=1),
}


class FakeReader:
    """Frames made of the file's own bytes; files that begin with ``bad`` are broken."""

    name = "fake"

    def __init__(self) -> None:
        self.probed: list[str] = []
        self.reads: list[list[int]] = []

    def probe(self, path: Path) -> VideoInfo:
        self.probed.append(path.name)
        if path.read_bytes().startswith(b"bad probe"):
            raise VideoError(path, self.name, "no video stream")
        return VideoInfo(num_frames=30, fps=25.0, width=48, height=32)

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        self.reads.append(list(indices))
        text = path.read_bytes()
        for at, index in enumerate(indices):
            if at == 2 and text.startswith(b"bad read"):
                raise VideoError(path, self.name, "frame 3\n is torn")
            rng = np.random.default_rng([index, *text])
            yield index, rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)


def examples(folder: Path, *contents: bytes) -> list[Example]:
    found = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.mp4"
        path.write_bytes(content)
        found.append(Example(Row(path.name, path), target=float(number), pseudo=number % 2 == 1))
    return found


def test_many_views_decode_a_video_once(tmp_path: Path) -> None:
    reader = FakeReader()
    sample = VideoDataset(examples(tmp_path, b"a"), VIEWS, reader, train=False)[0]
    assert reader.probed == ["0.mp4"]
    assert len(reader.reads) == 1
    assert reader.reads[0] == sorted(set(reader.reads[0]))
    assert {name: tuple(v.shape) for name, v in sample.views.items()} == {
        name: view.shape for name, view in VIEWS.items()
    }
    assert sample.error == "" and sample.info is not None and len(sample.content) == 32
    # The union is exactly what the views want: each alone, together.
    alone = FakeReader()
    for name, view in VIEWS.items():
        read_views(tmp_path / "0.mp4", alone, {name: view}, 0, False)
    wanted = set().union(*alone.reads[:2], alone.reads[3])  # the clips are drawn by the seed
    assert wanted <= set(reader.reads[0])
    assert len(reader.reads[0]) <= len(wanted) + 8


@pytest.mark.parametrize("train", [False, True])
def test_a_view_does_not_change_when_another_joins(tmp_path: Path, train: bool) -> None:
    examples(tmp_path, b"a")
    together, _ = read_views(tmp_path / "0.mp4", FakeReader(), VIEWS, 7, train)
    for name, view in VIEWS.items():
        alone, _ = read_views(tmp_path / "0.mp4", FakeReader(), {name: view}, 7, train)
        np.testing.assert_array_equal(alone[name], together[name])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"bad probe", "fake: no video stream"),
        (b"bad read", "fake: frame 3 is torn"),
        (None, "No such file or directory"),
    ],
)
@pytest.mark.parametrize("train", [False, True])
def test_a_broken_video_is_a_sample_with_a_reason(
    tmp_path: Path, content: bytes | None, reason: str, train: bool
) -> None:
    (example,) = examples(tmp_path, content or b"")
    if content is None:
        example.row.path.unlink()
    sample = VideoDataset([example], VIEWS, FakeReader(), train=train)[0]
    assert sample.error == reason  # the row names the file
    assert sample.views == {} and sample.info is None and sample.index == 0
    batch = collate([sample])
    assert len(batch) == 0 and batch.views == {} and batch.failed == [(0, sample.error)]


def test_evaluation_does_not_depend_on_batches_workers_or_names(tmp_path: Path) -> None:
    videos = examples(tmp_path, b"a", b"bb", b"bad read", b"d", b"e")
    renamed = tmp_path / "ü, copy=1.mkv"
    shutil.copy(videos[1].row.path, renamed)
    videos.append(Example(Row(renamed.name, renamed)))

    def tensors(batch_size: int, workers: int) -> dict[int, dict[str, torch.Tensor]]:
        found: dict[int, dict[str, torch.Tensor]] = {}
        loader = eval_loader(
            videos, VIEWS, FakeReader(), batch_size=batch_size, num_workers=workers
        )
        failed = []
        for batch in loader:
            failed += batch.failed
            for at, index in enumerate(batch.index.tolist()):
                found[index] = {name: view[at] for name, view in batch.views.items()}
        assert failed == [(2, "fake: frame 3 is torn")]
        return found

    first = tensors(1, 0)
    assert sorted(first) == [0, 1, 3, 4, 5]
    for other in (tensors(4, 0), tensors(1, 2), tensors(4, 2)):
        assert sorted(other) == sorted(first)
        for index, views in first.items():
            assert all(torch.equal(views[name], other[index][name]) for name in VIEWS)
    assert all(torch.equal(first[1][name], first[5][name]) for name in VIEWS)
    assert not torch.equal(first[0]["clips"], first[1]["clips"])


def test_training_views_depend_on_seed_epoch_and_row_only(tmp_path: Path) -> None:
    videos = examples(tmp_path, b"same", b"same")

    def tensor(key: tuple[int, int], seed: int = 0) -> torch.Tensor:
        return VideoDataset(videos, VIEWS, FakeReader(), train=True, seed=seed)[key].views["frames"]

    assert torch.equal(tensor((3, 1)), tensor((3, 1)))
    for other in (tensor((4, 1)), tensor((3, 0)), tensor((3, 1), seed=1)):
        assert not torch.equal(tensor((3, 1)), other)


def test_collate_keeps_rows_together(tmp_path: Path) -> None:
    data = VideoDataset(
        examples(tmp_path, b"a", b"bad read", b"c"), VIEWS, FakeReader(), train=False
    )
    batch = collate([data[2], data[1], data[0]])
    assert len(batch) == 2
    assert batch.index.tolist() == [2, 0] and batch.target.tolist() == [2.0, 0.0]
    assert batch.target.dtype == batch.weight.dtype == torch.float32
    assert batch.pseudo.tolist() == [False, False] and batch.weight.tolist() == [1.0, 1.0]
    assert batch.contents == [data[2].content, data[0].content] and len(batch.infos) == 2
    assert torch.equal(batch.views["frames"][1], data[0].views["frames"])
    moved = batch.to("meta")
    assert {moved.views["clips"].device.type, moved.index.device.type} == {"meta"}
    assert (moved.failed, moved.contents, moved.infos) == (
        batch.failed,
        batch.contents,
        batch.infos,
    )
    assert math.isnan(Example(Row("x", tmp_path)).target)


def test_real_readers_give_the_same_batches_in_workers(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 48), fps=25, macro_block_size=16)
    writer.send(None)
    rng = np.random.default_rng(0)
    for _ in range(12):
        writer.send(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.close()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"text")
    videos = [Example(Row(p.name, p)) for p in (path, broken)]
    reader = make_reader("auto")
    batches = [
        next(iter(eval_loader(videos, VIEWS, reader, batch_size=2, num_workers=workers)))
        for workers in (0, 1)
    ]
    assert [b.index.tolist() for b in batches] == [[0], [0]]
    assert [len(b.failed) for b in batches] == [1, 1] and batches[0].failed[0][1]
    for name in VIEWS:
        assert torch.equal(batches[0].views[name], batches[1].views[name])


def test_frozen_views_are_evaluation_views_in_training_too(tmp_path: Path) -> None:
    data = examples(tmp_path, b"a", b"b")
    train = VideoDataset(data, VIEWS, FakeReader(), train=True, frozen_views=("clips",))
    evaluation = VideoDataset(data, VIEWS, FakeReader(), train=False)
    others = set(VIEWS) - {"clips"}
    for row in range(2):
        fixed = evaluation[row].views
        first, second = train[0, row].views, train[1, row].views
        assert torch.equal(first["clips"], fixed["clips"])
        assert torch.equal(second["clips"], fixed["clips"])
        assert any(not torch.equal(first[name], second[name]) for name in others)


def test_views_with_as_many_frames_take_the_same_ones() -> None:
    info = VideoInfo(300, 30.0, 400, 300)
    for train in (False, True):
        for seed in range(20):
            key = KeyFrames(4, 64, None).begin(info, seed, train)
            still = Fragments(2, 32, 4, clip_len=1).begin(info, seed, train)
            assert key.indices.tolist() == still.indices.tolist()


def test_a_strip_is_refused_before_it_is_enlarged(tmp_path: Path) -> None:
    class Strip(FakeReader):
        def probe(self, path: Path) -> VideoInfo:
            return VideoInfo(30, 25.0, 4096, 2)

    sample = VideoDataset(examples(tmp_path, b"a"), VIEWS, Strip(), train=False)[0]
    assert sample.error == "fake: pictures of 4096x2: more than 32 times as long as wide"
