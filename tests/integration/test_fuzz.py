"""Damaged files: frames or a VideoError, and nothing else; benchmarks/fuzz.py reads many more."""

import gc
from collections import Counter
from pathlib import Path

import psutil
import pytest

from distill.data.readers import make_reader
from distill.data.readers.isolated import IsolatedReader
from tests.helpers.fuzzing import KINDS, SEEDS, damaged_files, outcome

COUNT = 200


@pytest.mark.parametrize("name", ["pyav", "decord"])
def test_damaged_files_give_frames_or_a_reason(tmp_path: Path, name: str) -> None:
    reader = make_reader(name, time_limit=60)
    assert isinstance(reader, IsolatedReader)
    child = psutil.Process(reader._idle[0]._process.pid)
    kinds: Counter[str] = Counter()
    peaks: list[int] = []
    for file in damaged_files(tmp_path, COUNT):
        path = tmp_path / f"damaged-{file.number}{Path(file.source).suffix}"
        path.write_bytes(file.data)
        what, reason = outcome(reader, path)
        assert what in ("frames", "another size", "error"), f"{file}: {what}: {reason}"
        kinds[what] += 1
        path.unlink()
        peaks.append(child.memory_info().rss)
    assert kinds["frames"] >= 40 and kinds["error"] >= 40  # damage, and not only ruin
    assert 2 * len(KINDS) * len(SEEDS) <= COUNT
    assert max(peaks[100:]) - max(peaks[:100]) < 50 << 20
    assert child.is_running()  # the first child has read them all
    del reader
    gc.collect()
    assert not child.is_running()
