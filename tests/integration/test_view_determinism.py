"""Views and scores of real test videos: the same over batch sizes, workers, readers and runs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from distill.data.dataset import Example
from distill.data.loading import eval_loader
from distill.data.manifest import Row, read_manifest
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.data.views import (
    Fragments,
    KeyFrames,
    MotionChunks,
    NativePatches,
    TexturePatches,
    View,
)
from distill.inference import score_rows
from students.frames import FramesStudent

# Every kind of view, small enough for 112 videos several times over.
VIEWS: dict[str, View] = {
    "key": KeyFrames(num_frames=4, size=160, short_side=160),
    "motion": MotionChunks(num_chunks=2, chunk_len=8, size=64),
    "fragments": Fragments(grid=5, patch=32, num_clips=2, clip_len=8),
    "patches": NativePatches(num_frames=2, num_patches=4, patch=96),
    "texture": TexturePatches(num_frames=2, num_patches=4, patch=64),
}


@pytest.fixture(scope="module")
def rows(shared_dir: Path) -> list[Row]:
    found = read_manifest(shared_dir / "realladder" / "manifest.csv").split("test")
    assert len(found) == 112
    return found


def _hashes(
    rows: Sequence[Row], reader: VideoReader, batch_size: int, num_workers: int
) -> list[dict[str, str]]:
    """Of each video's view tensors, in order."""
    loader = eval_loader(
        [Example(row) for row in rows], VIEWS, reader,
        batch_size=batch_size, num_workers=num_workers,
    )  # fmt: skip
    found = []
    for batch in loader:
        assert not batch.failed
        for at in range(len(batch)):
            tensors = {name: value[at].contiguous().numpy() for name, value in batch.views.items()}
            found.append({n: hashlib.blake2b(t.tobytes()).hexdigest() for n, t in tensors.items()})
    return found


@pytest.mark.slow
def test_view_tensors_are_bit_identical(rows: list[Row]) -> None:
    pyav, decord = make_reader("pyav"), make_reader("decord")
    reference = _hashes(rows, pyav, batch_size=1, num_workers=0)
    assert len({h["key"] for h in reference}) > 100  # the hash sees that videos differ
    assert _hashes(rows, pyav, batch_size=4, num_workers=2) == reference  # another run, too
    for _ in range(2):  # decord itself reads from the second time on
        assert _hashes(rows, decord, batch_size=4, num_workers=0) == reference


@pytest.mark.slow
def test_scores_agree(rows: list[Row]) -> None:
    torch.manual_seed(0)
    model = FramesStudent(
        backbone="test_efficientnet", weights="none", num_frames=2, size=64, short_side=64, grid=2,
        stages=[1, 3], hidden=16,
    )  # fmt: skip

    def scores(batch_size: int, num_workers: int) -> list[float]:
        reader = make_reader("pyav")
        results = score_rows(
            model, rows, reader, batch_size=batch_size, num_workers=num_workers, device="cpu"
        )
        return [scored.raw for scored in results]

    alone = scores(batch_size=1, num_workers=0)
    assert len(set(alone)) > 100
    assert scores(batch_size=1, num_workers=2) == alone
    assert scores(batch_size=4, num_workers=0) == pytest.approx(alone, abs=1e-5)
