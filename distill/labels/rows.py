"""One row of a label store, as an object and as Parquet."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.data.places import place_of

KEY_BYTES = 16
SCHEMA = pa.schema(
    [
        ("video", pa.string()),
        ("path", pa.string()),
        ("content", pa.string()),
        ("group", pa.string()),
        ("status", pa.string()),
        ("score", pa.float64()),
        ("raw", pa.float64()),
        ("std", pa.float64()),
        ("members", pa.map_(pa.string(), pa.float64())),
        ("duration", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float64()),
        ("num_frames", pa.int32()),
        ("codec", pa.string()),
        ("seconds", pa.float64()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Label:
    """One row: a pseudo-label, or why there is none.

    Attributes:
        video, path, content, group: as the pool has it, and where it is, a path or a URL, which is
            its identity in a store; ``content`` is the content hash.
        status: ``ok`` or ``failed``.
        score: calibrated, on the MOS scale.
        raw: the network's.
        std: standard deviation over the members' scores; NaN with fewer than two.
        members: member -> score.
        duration: seconds. width, height: pixels. fps: frames a second. codec: FFmpeg's name.
        seconds: spent on it.
        reason: why it failed.
    """

    video: str
    path: str
    content: str = ""
    group: str = ""
    status: str = "ok"
    score: float = math.nan
    raw: float = math.nan
    std: float = math.nan
    members: dict[str, float] = field(default_factory=dict)
    duration: float = math.nan
    width: int = 0
    height: int = 0
    fps: float = math.nan
    num_frames: int = 0
    codec: str = ""
    seconds: float = 0.0
    reason: str = ""

    @property
    def place(self) -> Path:
        """``path``, as rows hold it."""
        return place_of(self.path)


def keys_of(paths: Iterable[str]) -> np.ndarray:
    """Videos as a store tells them apart: a 16-byte hash of each path.

    Returns:
        (N,), dtype ``V16``: 16 bytes a video, where a set of paths takes hundreds.
    """
    joined = b"".join(
        hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=KEY_BYTES).digest()
        for path in paths
    )
    return np.frombuffer(joined, dtype=f"V{KEY_BYTES}")


def to_parquet(labels: Sequence[Label]) -> bytes:
    """A whole Parquet file, made in memory: writing it then fails in one place only."""
    rows = [asdict(label) for label in labels]
    for row in rows:
        row["members"] = list(row["members"].items())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink)
    return sink.getvalue().to_pybytes()


def to_labels(table: pa.Table) -> list[Label]:
    """Rows of a table that has every column."""
    return [Label(**{**row, "members": dict(row["members"] or [])}) for row in table.to_pylist()]


def member_std(members: Iterable[float]) -> float:
    """Standard deviation over member scores; NaN with fewer than two."""
    values = list(members)
    if len(values) < 2:
        return math.nan
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
