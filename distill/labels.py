"""The label store: Parquet parts and ``meta.json``. It knows no engine; engines only call it.

A part is written under a temporary name and renamed, so a reader never meets a torn file, and a
kill costs the videos since the last part.
"""

import json
import math
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from distill.errors import LabelStoreError

META = "meta.json"
FORMAT = 1
_SCHEMA = pa.schema(
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
        video, path, content, group: identity; ``content`` is the content hash.
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


class LabelStore:
    """A folder of labels of one teacher.

    Args:
        folder: of the store.

    Raises:
        LabelStoreError: there is no store, or this program cannot read it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        path = self.folder / META
        if not path.is_file():
            raise LabelStoreError(f"{folder}: not a label store (no {META})")
        try:
            self.meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise LabelStoreError(f"{path}: not readable as JSON: {error}") from error
        found = self.meta.get("format") if isinstance(self.meta, dict) else None
        if found != FORMAT:
            raise LabelStoreError(f"{path}: format {found!r}, not {FORMAT}")

    @classmethod
    def open(cls, folder: Path, meta: dict[str, Any]) -> "LabelStore":
        """Make a store, or go on with one that the same teacher began.

        Args:
            folder: made if missing.
            meta: must hold ``teacher`` (fingerprint) and ``views``; they decide what fits.

        Raises:
            LabelStoreError: another teacher or other views began it; the text names both.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabelStoreError(
                f"{folder}: cannot be made a label store ({error.strerror}); give another"
                " store=FOLDER"
            ) from error
        path = folder / META
        with filelock.FileLock(folder / ".lock"):
            if not path.is_file():
                _replace_text(path, json.dumps({"format": FORMAT, **meta}, indent=2) + "\n")
        store = cls(folder)
        for key in ("teacher", "views"):
            if store.meta.get(key) != json.loads(json.dumps(meta[key])):
                raise LabelStoreError(
                    f"{folder}: belongs to another teacher: its {key} is"
                    f" {store.meta.get(key)!r}, this one's {meta[key]!r}; give another store=FOLDER"
                )
        return store

    def writer_lock(self) -> filelock.FileLock:
        """Held by the process that labels; a second one gets an error, not a mess."""
        return filelock.FileLock(self.folder / ".writer.lock", timeout=0)

    def expect(self, videos: int) -> None:
        """Note how many videos the store will hold once it is complete; call under the lock."""
        self.meta["videos"] = videos
        _replace_text(self.folder / META, json.dumps(self.meta, indent=2) + "\n")

    def append(self, labels: Sequence[Label]) -> None:
        """Commit labels as one part."""
        if not labels:
            return
        rows = [asdict(label) for label in labels]
        for row in rows:
            row["members"] = list(row["members"].items())
        # After the newest, not the count: a part that a user removed must not reorder the rest.
        parts = self.parts()
        number = int(parts[-1].name.split("-")[1]) + 1 if parts else 0
        name = f"part-{number:06d}-{uuid.uuid4().hex[:8]}.parquet"
        whole = self.folder / f".{name}.tmp"
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), whole)
        os.replace(whole, self.folder / name)

    def parts(self) -> list[Path]:
        """The committed parts, oldest first."""
        return sorted(self.folder.glob(f"part-{'[0-9]' * 6}-*.parquet"))

    def read(self) -> list[Label]:
        """All labels, one per video: a later row of a video replaces an earlier one.

        Raises:
            LabelStoreError: a part cannot be read.
        """
        labels: dict[str, Label] = {}
        for part in self.parts():
            try:
                rows = pq.read_table(part, schema=_SCHEMA).to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise LabelStoreError(f"{part}: cannot be read: {error}") from error
            for row in rows:
                label = Label(**{**row, "members": dict(row["members"] or [])})
                labels[label.path] = label
        return list(labels.values())

    def done(self, retry_failed: bool = False) -> set[str]:
        """Paths that need no more work."""
        return {label.path for label in self.read() if label.status == "ok" or not retry_failed}

    def usable(self) -> list[Label]:
        """The labels to learn from."""
        return [label for label in self.read() if label.status == "ok"]


def find_store(outputs: Path) -> Path | None:
    """The newest label store with labels below a folder of runs."""
    found = [
        path.parent
        for path in (
            *(outputs / "pseudo_label").glob(f"**/{META}"),
            *(outputs / "main_job").glob(f"*/labels/store/{META}"),
        )
        if any(path.parent.glob("part-*.parquet"))
    ]
    return max(
        found, key=lambda p: max(part.stat().st_mtime_ns for part in p.glob("part-*")), default=None
    )


def _replace_text(path: Path, text: str) -> None:
    whole = path.with_suffix(".tmp")
    whole.write_text(text, encoding="utf-8")
    os.replace(whole, path)


def member_std(members: Iterable[float]) -> float:
    """Standard deviation over member scores; NaN with fewer than two."""
    values = list(members)
    if len(values) < 2:
        return math.nan
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
