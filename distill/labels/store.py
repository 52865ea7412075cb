"""The label store: ``meta.json``, ``parts/*.parquet``, and ``claims/`` while somebody labels.

A part is published in one step and never changed, so a reader never meets a torn file. What a store
says is a function of its parts alone, whatever the order they came in: of two rows of a video, one
with a score goes before a failed one.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.errors import LabelStoreError
from distill.labels.chunks import Chunk
from distill.labels.files import names, publish, replace, told, writing
from distill.labels.rows import SCHEMA, Label, keys_of, to_labels, to_parquet

META, PARTS, CLAIMS = "meta.json", "parts", "claims"
FORMAT = 2  # 1: parts named by number, beside meta.json; still read
DECISIVE = ("teacher", "views", "calibration", "test_views", "precision")


@dataclass(frozen=True)
class Index:
    """Which videos a store has, at one moment; 18 bytes a row.

    Attributes:
        parts: files. sizes: rows of each.
        keys: (N,) ``V16`` of all rows, part after part, see ``keys_of``.
        ok: (N,) bool: has a score.
        counts: (N,) bool: the row that stands for its video; others are of the same video.
        rounds: chunk id -> number of its next part.
    """

    parts: list[Path]
    sizes: list[int]
    keys: np.ndarray
    ok: np.ndarray
    counts: np.ndarray
    rounds: dict[str, int]

    def done(self, retry_failed: bool = False) -> np.ndarray:
        """Keys of the videos that need no more work."""
        return self.keys[self.counts & self.ok] if retry_failed else self.keys[self.counts]

    def union(self, keys: np.ndarray) -> int:
        """How many videos there are here and among ``keys`` together."""
        return len(self) + int((~np.isin(keys, self.keys)).sum())

    def __len__(self) -> int:
        return int(self.counts.sum())


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
        if found not in (1, FORMAT):
            raise LabelStoreError(f"{path}: format {found!r}; this program reads 1 and {FORMAT}")

    @classmethod
    def open(cls, folder: Path, meta: dict[str, Any]) -> "LabelStore":
        """Make a store, or go on with one that the same teacher began.

        Args:
            folder: made if missing.
            meta: whatever a reader should know, as JSON has it; what it says of ``DECISIVE``
                decides whether a store fits.

        Raises:
            LabelStoreError: another teacher or other settings began it; the text names each
                difference.
        """
        folder = Path(folder)
        try:
            (folder / PARTS).mkdir(parents=True, exist_ok=True)
            text = json.dumps({"format": FORMAT, **meta}, indent=2) + "\n"
            publish(folder / META, text.encode(), uuid.uuid4().hex)  # or somebody else did
        except OSError as error:
            raise told(error, folder) from error
        store = cls(folder)
        store.check(meta)
        if store.meta["format"] != FORMAT:  # its parts stay; older programs must not miss new ones
            store._write_meta({**meta, **store.meta, "format": FORMAT})
        return store

    def check(self, meta: Mapping[str, Any]) -> None:
        """Whether labels of ``meta`` may stand beside those here.

        Raises:
            LabelStoreError: no; the text names each difference.
        """
        mine: dict[str, Any] = json.loads(json.dumps(meta))
        differ = [
            f"{name}: was {was}, is {now}"
            for key in DECISIVE
            if key in self.meta  # older stores lack what nobody could choose then
            for name, was, now in _differences(key, self.meta[key], mine.get(key))
        ]
        if differ:
            same = self.meta.get("teacher") == mine.get("teacher")
            whose = "was begun with other settings" if same else "belongs to another teacher"
            raise LabelStoreError(
                f"{self.folder}: {whose}: {'; '.join(differ)}; give another store=FOLDER"
            )

    def expect(self, videos: int) -> None:
        """Note how many videos the store will hold once it is complete."""
        if self.meta.get("videos") != videos:
            self._write_meta({**self.meta, "videos": videos})

    def append(self, labels: Sequence[Label]) -> None:
        """Commit labels that nobody claimed, as one part."""
        if not labels:
            return
        chunk = Chunk(0, keys_of(label.path for label in labels).tobytes())
        while not self.commit(chunk, labels):
            chunk = chunk.after(keys_of([]))

    def commit(self, chunk: Chunk, labels: Sequence[Label], writer: str = "") -> bool:
        """Publish the part of a chunk, unless it is there already.

        Args:
            chunk: says the part's name.
            labels: of rows of the chunk; without some of them these stay to be labelled.
            writer: id of the process, for the temporary name.

        Returns:
            False: another process was first; its part stays, these labels are dropped.

        Raises:
            StoreFullError: no space; nothing of it is left.
            LabelStoreError: it cannot be written.
        """
        strange = [
            label.path
            for label, at in zip(labels, chunk.positions([x.path for x in labels]), strict=True)
            if at < 0
        ]
        if strange:
            raise ValueError(f"chunk {chunk.id} has no row {strange[0]}")
        path = self.folder / PARTS / chunk.part
        with writing(self.folder):
            return publish(path, to_parquet(labels), writer or uuid.uuid4().hex)

    def parts(self) -> list[Path]:
        """The committed parts; of one chunk, the oldest first."""
        old = [n for n in names(self.folder) if n.startswith("part-") and _is_part(n)]
        new = [n for n in names(self.folder / PARTS) if _is_part(n)]
        new.sort(key=lambda name: (_round(name), name))
        return [*(self.folder / n for n in old), *(self.folder / PARTS / n for n in new)]

    def index(self) -> Index:
        """Which videos are there; reads two columns of every part.

        Raises:
            LabelStoreError: a part cannot be read.
        """
        parts, sizes, keys, ok = self.parts(), [], [], []
        rounds: dict[str, int] = {}
        for part in parts:
            table = read_part(part, ["path", "status"])
            sizes.append(len(table))
            keys.append(keys_of(table["path"].to_pylist()))
            ok.append(np.array([status == "ok" for status in table["status"].to_pylist()], bool))
            if part.parent.name == PARTS:
                chunk = part.name.split("-")[0]
                rounds[chunk] = max(rounds.get(chunk, 0), _round(part.name) + 1)
        every = np.concatenate([keys_of([]), *keys])
        sound = np.concatenate([np.zeros(0, bool), *ok])
        return Index(parts, sizes, every, sound, _winners(every, sound), rounds)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows, each video once, part after part: as much memory as one part.

        Args:
            columns: of ``rows.SCHEMA``; None is all.

        Raises:
            LabelStoreError: a part cannot be read.
        """
        index, start = self.index(), 0
        for part, size in zip(index.parts, index.sizes, strict=True):
            counts = index.counts[start : start + size]
            start += size
            table = read_part(part, columns)
            yield table if counts.all() else table.filter(pa.array(counts))

    def read(self) -> list[Label]:
        """All labels, one per video, by path: in one order, however the work was shared.

        For stores of any size there is ``tables``.

        Raises:
            LabelStoreError: a part cannot be read.
        """
        labels = [label for table in self.tables() for label in to_labels(table)]
        return sorted(labels, key=lambda label: label.path)

    def tell_missing(self, labels: Sequence[Label]) -> None:
        """Warn of labels that name no file; those of a store were made from theirs."""

    def usable(self) -> list[Label]:
        """The labels to learn from."""
        return [label for label in self.read() if label.status == "ok"]

    def pairs(self) -> Iterator[tuple[str, float]]:
        """Path and score of every usable label, in no particular order; a part in memory."""
        for table in self.tables(["path", "status", "score"]):
            rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
            yield from ((path, score) for path, status, score in rows if status == "ok")

    def _write_meta(self, meta: dict[str, Any]) -> None:
        with writing(self.folder):
            replace(self.folder / META, (json.dumps(meta, indent=2) + "\n").encode())
        self.meta = meta


def read_part(part: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a part, in the order of the schema.

    Raises:
        LabelStoreError: it cannot be read.
    """
    wanted = [name for name in SCHEMA.names if columns is None or name in columns]
    try:
        # One file, not a dataset: the folder's name must not add columns.
        with pq.ParquetFile(part) as file:
            return file.read(wanted).select(wanted)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise LabelStoreError(
            f"{part}: cannot be read: {error}; delete it, and the next start labels its videos"
            " again"
        ) from error


def find_store(outputs: Path) -> Path | None:
    """The newest label store with labels below a folder of runs."""
    found = [
        path.parent
        for path in (
            *(outputs / "pseudo_label").glob(f"**/{META}"),
            *(outputs / "main_job").glob(f"*/labels/store/{META}"),
        )
    ]
    newest = {store: _newest_part(store) for store in found}
    return max((s for s in found if newest[s]), key=lambda s: newest[s], default=None)


def _newest_part(store: Path) -> int:
    parts = (*store.glob("part-*.parquet"), *(store / PARTS).glob("[!.]*.parquet"))
    return max((part.stat().st_mtime_ns for part in parts), default=0)


def _is_part(name: str) -> bool:
    return name.endswith(".parquet") and _round(name) >= 0


def _round(name: str) -> int:
    number = name.removesuffix(".parquet").split("-")[1:2]
    return int(number[0]) if number and number[0].isdigit() else -1


def _winners(keys: np.ndarray, ok: np.ndarray) -> np.ndarray:
    """(N,) bool: of each key the last row with a score, or else the last."""
    _, group = np.unique(keys, return_inverse=True)
    order = np.lexsort((np.arange(len(keys)), ok, group))  # the last key sorts first
    last = np.ones(len(keys), bool)
    last[:-1] = group[order][1:] != group[order][:-1]
    counts = np.zeros(len(keys), bool)
    counts[order[last]] = True
    return counts


def _differences(name: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """The leaves that differ: dotted name, old, new."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            yield from _differences(f"{name}.{key}", was.get(key, "absent"), now.get(key, "absent"))
    elif was != now:
        yield name, json.dumps(was), json.dumps(now)
