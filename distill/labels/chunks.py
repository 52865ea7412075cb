"""Which videos are labelled together: the same chunks in every process that has the same pool."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from distill.labels.rows import KEY_BYTES, keys_of

if TYPE_CHECKING:
    from distill.labels.store import Index


@dataclass(frozen=True)
class Chunk:
    """A run of the pool's rows that is committed as one part.

    Attributes:
        start: position in the pool of its first row.
        keys: of all of its rows, 16 bytes each, see ``keys_of``.
        done: which of its rows need no label, counted from ``start``.
        round: parts that it has already. Its next part has this number, so that two processes
            that label the same rows want the same name, and one of them gets it.
    """

    start: int
    keys: bytes
    done: tuple[int, ...] = ()
    round: int = 0

    @property
    def id(self) -> str:
        """A hash of its rows and their order."""
        return hashlib.blake2b(self.keys, digest_size=16).hexdigest()

    @property
    def todo(self) -> list[int]:
        """Positions in the pool of the rows to label."""
        done = set(self.done)
        return [self.start + k for k in range(len(self)) if k not in done]

    @property
    def part(self) -> str:
        """File name of its next part."""
        return f"{self.id}-{self.round:04d}.parquet"

    def __len__(self) -> int:
        return len(self.keys) // KEY_BYTES

    def after(self, keys: np.ndarray) -> "Chunk":
        """The same chunk once a further part of it, with labels of ``keys``, is there."""
        mine = np.frombuffer(self.keys, dtype=f"V{KEY_BYTES}")
        found = np.flatnonzero(np.isin(mine, keys)).tolist()
        done = tuple(sorted({*self.done, *found}))
        return replace(self, done=done, round=self.round + 1)

    def positions(self, paths: list[str]) -> list[int]:
        """Places of paths among its rows, counted from ``start``; -1 for one that is not its."""
        places = {self.keys[k * KEY_BYTES :][:KEY_BYTES]: k for k in range(len(self))}
        return [places.get(key.tobytes(), -1) for key in keys_of(paths)]


def plan(keys: np.ndarray, index: "Index", size: int, retry_failed: bool = False) -> list[Chunk]:
    """The chunks of a pool that have work left, in the pool's order.

    Args:
        keys: (N,) of the pool's rows, each once, see ``keys_of``.
        index: what the store holds.
        size: rows of a chunk, >= 1; the last may have fewer.
        retry_failed: label those again that failed.

    Returns:
        Chunks of ``size`` consecutive rows, rows with labels among them, so that a chunk is the
        same whatever was labelled before.
    """
    done = np.isin(keys, index.done(retry_failed))
    return [
        replace(chunk, round=index.rounds.get(chunk.id, 0))
        for chunk in _runs(keys, done, size)
        if len(chunk.done) < len(chunk)
    ]


def _runs(keys: np.ndarray, done: np.ndarray, size: int) -> Iterator[Chunk]:
    for start in range(0, len(keys), size):
        ready = np.flatnonzero(done[start : start + size]).tolist()
        yield Chunk(start, keys[start : start + size].tobytes(), tuple(ready))
