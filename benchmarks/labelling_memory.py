"""Peak resident memory of a process that labels so many rows with a decoder that only pretends.

    python benchmarks/labelling_memory.py 100000

The loop of the command with the members of labelling.py: claims, the stream of rows, batches,
parts of the store. Views hold one number and features are random, so that what grows with the rows
is seen, and nothing else is. Prints MiB (VmHWM, libraries and networks included).
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from labelling import label_of, teacher

from distill.data.manifest import Row
from distill.data.pool import Pool
from distill.data.reader import VideoInfo
from distill.data.readers import make_reader
from distill.inference import score_rows
from distill.labelling import label_chunks
from distill.labels import Claims, LabelStore, keys_of, plan
from distill.model import FEATURES


def memory(count: int) -> None:
    """Label so many rows and print the peak in MiB."""
    torch.set_num_threads(1)
    model = teacher(torch.device("cpu"))
    info = VideoInfo(250, 25.0, 1280, 720, codec="h264", duration=10.0)

    def looks(path: Path, reader: Any, looks: Sequence[Any], place: Path) -> Any:
        return [{name: torch.zeros(1) for name in looks[0].views}], replace(info, path=str(place))

    def forward(views: Any) -> Any:
        some = next(iter(views.values()))
        return model({
            FEATURES + name: torch.rand(len(some), 4, member.feature_dim)
            for name, member in model.members.items()
        })  # fmt: skip

    rows = (Row(f"upload_{k:09}.mp4", Path(f"/pool/of/videos/{k % 997:03}/upload_{k:09}.mp4"))
            for k in range(count))  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="distill-memory-") as name:
        store = Path(name) / "store"
        LabelStore.open(store, {"teacher": "benchmark"})
        pool = Pool(rows)
        chunks = plan(keys_of(pool.paths()), LabelStore(store).index(), 32)
        score = partial(score_rows, model, reader=make_reader("pyav"), device="cpu",
                        batch_size=32, forward=forward)  # fmt: skip
        fakes = {"content_hash": lambda path: path.name, "read_looks": looks}
        with patch.multiple("distill.data.dataset", **fakes), Claims(store, chunks) as claims:
            label_chunks(claims, pool, score, label_of)
        assert len(LabelStore(store).index()) == count
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak[1]) / 1024 if peak else float("nan"))


if __name__ == "__main__":
    memory(int(sys.argv[1]))
