"""One process's share of a pool: claim, score, commit. Engines run it, as many as they like."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from distill.bundle import Bundle
from distill.data.manifest import Row
from distill.data.pool import Pool
from distill.errors import LabelStoreError
from distill.inference import Scored
from distill.labels import Chunk, Claims, Label, member_std

Score = Callable[[Iterable[Row]], Iterator[Scored]]  # in order, taking rows as it goes


def label_chunks(
    claims: Claims,
    pool: Pool | Mapping[int, Row],
    score: Score,
    label: Callable[[Scored], Label],
    tell: Callable[[Label], None] = lambda label: None,
) -> None:
    """Label all that can be claimed at this moment; each chunk is committed once it is scored.

    The next chunk is claimed while the last one is scored, so that decoding never stops between
    them. What is scored when something ends it, a signal say, is committed too.

    Args:
        claims: of this process, entered.
        pool: that the chunks were planned for, or their part of it.
        score: videos -> results, as ``score_rows`` gives them.
        label: a result as a row of the store.
        tell: called with each label, for progress.

    Raises:
        LabelStoreError: a part cannot be written; see ``Claims.commit``.
    """
    first = claims.claim_next()
    if first is None:
        return
    taken: deque[tuple[Chunk, list[Label]]] = deque()

    def rows() -> Iterator[Row]:
        chunk: Chunk | None = first
        while chunk is not None:
            taken.append((chunk, []))
            for at in chunk.todo:
                yield pool[at]
            chunk = claims.claim_next()

    try:
        for scored in score(rows()):
            chunk, labels = taken[0]
            labels.append(label(scored))
            tell(labels[-1])
            if len(labels) == len(chunk.todo):
                claims.commit(chunk, labels)
                taken.popleft()
    except LabelStoreError:
        raise
    except BaseException:
        if taken:
            claims.commit(*taken[0])
        raise


def label_of(scored: Scored, bundle: Bundle) -> Label:
    """A result as a row of the store, on the scale of MOS."""
    row, info = scored.row, scored.info
    if scored.error or info is None:
        return Label(
            row.video, str(row.path), group=row.group, status="failed", reason=scored.error,
            seconds=scored.seconds,
        )  # fmt: skip
    members = {name: bundle.calibrated(value) for name, value in scored.members.items()}
    return Label(
        video=row.video,
        path=str(row.path),
        content=scored.content,
        group=row.group,
        score=bundle.calibrated(scored.raw),
        raw=scored.raw,
        std=member_std(members.values()),
        members=members,
        duration=info.duration,
        width=info.width,
        height=info.height,
        fps=info.fps,
        num_frames=info.num_frames,
        codec=info.codec,
        seconds=scored.seconds,
    )
