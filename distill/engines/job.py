"""What every engine's processes do: a loaded teacher that claims chunks, labels, and commits."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from distill.bundle import Bundle, load_bundle
from distill.compiled import Compiled
from distill.config import PseudoLabelConfig
from distill.data.loading import Waiting
from distill.data.pool import Pool
from distill.data.readers import make_reader
from distill.data.rows import Row
from distill.inference import score_rows
from distill.labelling import Score, label_chunks, label_of
from distill.labels import Chunk, Claims, Label
from distill.options import decoding_workers

log = logging.getLogger(__name__)
_POLL = 5.0  # seconds between looks at what other processes hold
_GOLDEN = 0.6180339887498949


class Told(NamedTuple):
    """What happened since a process told last.

    Attributes:
        done: videos it committed or will. failed: of these.
        elsewhere: videos of its chunks that processes of other commands labelled.
        waited: seconds it waited for videos, of the ``seconds`` that it worked.
    """

    done: int
    failed: int
    elsewhere: int
    waited: float
    seconds: float


Tell = Callable[[Told], None]


@dataclass(frozen=True)
class Job:
    """What a process must know, besides which videos; it is sent to other machines.

    Attributes:
        config: of the command.
        bundle, store: absolute paths, the same on every machine.
    """

    config: PseudoLabelConfig
    bundle: Path
    store: Path


class Labeller:
    """A teacher that is ready to label.

    Args:
        job: what to do.
        bundle: of the teacher, where it is loaded already.
        device: in place of the option.
        processes: that share this machine's cores.

    Attributes:
        bundle: of the teacher.
        score: videos -> results, see ``score_rows``.
    """

    def __init__(
        self, job: Job, bundle: Bundle | None = None, device: str | None = None, processes: int = 1
    ) -> None:
        config = job.config
        self.bundle = bundle or load_bundle(job.bundle)
        self._folder, self._lease = job.store, config.lease
        self._waiting = Waiting()
        self.score: Score = partial(
            score_rows,
            self.bundle.model,
            reader=make_reader(**vars(config.reader)),
            batch_size=config.batch_size,
            num_workers=decoding_workers(config.data.num_workers, processes),
            prefetch=config.data.prefetch,
            device=device or config.device,
            waiting=self._waiting,
            test_views=self.bundle.test_views,
            precision=config.precision,
            forward=Compiled(self.bundle.model) if config.compile else None,
        )

    def run(
        self, chunks: Sequence[Chunk], pool: Pool | Mapping[int, Row], tell: Tell,
        patient: bool = True,
    ) -> int:  # fmt: skip
        """Label chunks until none is left.

        Args:
            chunks: in the order to try them.
            pool: the videos of these chunks by position.
            tell: called after each video.
            patient: wait for chunks that others hold, and label what they do not commit.

        Returns:
            Chunks that others held at the end; 0 for a patient one.

        Raises:
            LabelStoreError: a part cannot be written.
        """
        with Claims(self._folder, chunks, self._lease) as claims:
            before = (0, self._waiting.seconds, time.monotonic())

            def since(done: int, failed: int) -> Told:
                nonlocal before
                now = (claims.elsewhere, self._waiting.seconds, time.monotonic())
                elsewhere, waited, seconds = (a - b for a, b in zip(now, before, strict=True))
                before = now
                return Told(done, failed, int(elsewhere), waited, seconds)

            def one(label: Label) -> None:
                tell(since(1, label.status != "ok"))

            label, said = partial(label_of, bundle=self.bundle), False
            while True:
                label_chunks(claims, pool, self.score, label, one)
                if not claims.waiting or not patient:
                    tell(since(0, 0))
                    return claims.waiting
                if not said:
                    holders = "; ".join(claims.holders()) or "others"
                    log.info("waiting for %d parts held by %s", claims.waiting, holders)
                    said = True
                rest(self._lease)


def rest(lease: float) -> None:
    """Wait before another look at what others hold; not in step with them."""
    time.sleep(min(_POLL, lease / 4) * random.uniform(0.5, 1))


def begun_at(chunks: Sequence[Chunk], number: int) -> list[Chunk]:
    """All chunks, in an order that starts elsewhere for every process, however many there are.

    Multiples of the golden ratio spread evenly for any count of them, so that no process needs to
    know how many share a store.
    """
    first = int(len(chunks) * (number * _GOLDEN % 1))
    return [*chunks[first:], *chunks[:first]]
