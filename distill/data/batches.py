"""Which videos a training step takes: a pure function of seed and epoch, resumable anywhere."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from distill.data.identity import seed_of
from distill.errors import ConfigError


@dataclass(frozen=True)
class Stream:
    """Positions of the data set that are drawn from together.

    Attributes:
        rows: positions, at least one.
        count: how many of them each batch of a rank takes, >= 1.
    """

    rows: Sequence[int]
    count: int


def batch_plan(pseudo: Sequence[bool], batch_size: int, pseudo_share: float | None) -> list[Stream]:
    """The streams that the batches of a training are made of.

    Args:
        pseudo: of each example, whether its target is a teacher's.
        batch_size: videos per rank and step.
        pseudo_share: share of each batch that is pseudo-labelled; None draws all examples from one
            stream, so that a batch has the share that the data has.

    Returns:
        One stream, or the labelled videos and then the pseudo-labelled ones.

    Raises:
        ConfigError: the share leaves no video of one kind in a batch, or there are none to take.
    """
    if pseudo_share is None:
        return [Stream(range(len(pseudo)), batch_size)]
    kinds = {kind: [at for at, is_pseudo in enumerate(pseudo) if is_pseudo == kind]
             for kind in (False, True)}  # fmt: skip
    counts = {True: round(pseudo_share * batch_size)}
    counts[False] = batch_size - counts[True]
    option = f"training.pseudo_share={pseudo_share:g}"
    for kind, name in ((False, "labelled"), (True, "pseudo-labelled")):
        if not kinds[kind]:
            raise ConfigError(f"{option}, but there are no {name} videos; leave it out")
        if not counts[kind]:
            raise ConfigError(
                f"{option}: a batch of {batch_size} would have no {name} video; take a share"
                " nearer to one half, or a larger training.batch_size"
            )
    return [Stream(kinds[kind], counts[kind]) for kind in (False, True)]


class EpochBatches:
    """Batches of (draw, position) keys: a pure function of seed and epoch, resumable anywhere.

    An epoch is one pass over the stream that takes most batches; shorter ones start anew within
    it. Every rank draws the same permutations and takes its own slice of each joint batch. The
    last joint batch is filled up from the start of the permutation, so that all are of one size: a
    rank loss on two videos says nothing. The draw number of a key is another one at every visit of
    a video but those that fill up: views are drawn anew by it.

    Args:
        streams: what a batch is made of, in this order.
        seed: of the run.
        rank, world_size: of this process.
        stop_after: joint batches per epoch at the most; None is all.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        stop_after: int | None = None,
    ) -> None:
        if not streams or any(s.count < 1 or not len(s.rows) for s in streams):
            raise ValueError("every stream must have a row, and a count >= 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
        self.streams, self.seed = list(streams), seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.done = 0  # joint batches of this epoch that training has taken
        total = max(math.ceil(len(s.rows) / (s.count * world_size)) for s in self.streams)
        self._length = min(total, stop_after) if stop_after else total
        self.sampler = self  # where Lightning looks for set_epoch

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; the position within it is kept only if it is the current one."""
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        keys = [self._keys(number, stream) for number, stream in enumerate(self.streams)]
        for batch in range(self.done, len(self)):
            taken: list[tuple[int, int]] = []
            for stream, order in zip(self.streams, keys, strict=True):
                start = (batch * self.world_size + self.rank) * stream.count
                taken += order[start : start + stream.count]
            yield taken

    def _keys(self, number: int, stream: Stream) -> list[tuple[int, int]]:
        """(draw, position) of all that the ranks take of a stream in this epoch."""
        wanted, rows = len(self) * stream.count * self.world_size, np.asarray(stream.rows)
        # Whole passes, each in an order of its own, that do not end within the first joint batch.
        passes = max(1, wanted // len(rows))
        keys: list[tuple[int, int]] = []
        for visit in range(passes):
            draw = self.epoch * passes + visit
            name = ("order", draw) if number == 0 else ("order", number, draw)
            order = np.random.default_rng(seed_of(self.seed, *name)).permutation(len(rows))
            keys += [(draw, int(row)) for row in rows[order]]
        return [keys[at % len(keys)] for at in range(wanted)]

    def state_dict(self) -> dict[str, int]:
        """Where training is: epoch, and batches of it that were taken."""
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go there; a finished epoch means the start of the next."""
        self.epoch, self.done = state["epoch"], state["done"]
        if self.done >= len(self):
            self.epoch, self.done = self.epoch + 1, 0
