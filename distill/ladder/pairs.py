"""Ranking pairs as KVQ has them: which of two videos is better, of one content or of two."""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from distill.ladder.shots import LadderRow

# Pairs of one content and of two in KVQ's test set of 122 contents.
# Source: the published accuracies there are multiples of 1/169 and 1/231.
PER_CONTENTS = (169, 231)
CONTENTS = 122
COLUMNS = ("video1", "video2", "rank", "kind", "split")


@dataclass(frozen=True)
class Pair:
    """Two videos of one split.

    Attributes:
        video1, video2: as the manifest names them.
        rank: 1 where the first is better, 2 where the second is.
        kind: ``source`` for two versions of one shot, ``nonsource`` for two contents.
        split: the split of both.
    """

    video1: str
    video2: str
    rank: int
    kind: str
    split: str


def make_pairs(
    rows: Sequence[LadderRow],
    splits: Mapping[str, str],
    counts: tuple[int, int],
    margin: float,
    seed: int,
) -> list[Pair]:
    """Draw pairs within every split, no pair twice.

    Args:
        rows: of the ladder; those without a label are passed over.
        splits: split of every group.
        counts: pairs of one content and of two, per 122 contents of a split.
        margin: labels of a pair differ by more than this, on the MOS scale.
        seed: which are drawn.

    Returns:
        Split by split, ``source`` first. Fewer than asked for where there are not so many.
    """
    labelled: dict[str, list[LadderRow]] = defaultdict(list)
    for row in rows:
        if row.mos is not None:
            labelled[splits[row.group]].append(row)
    pairs = []
    for split in sorted(labelled):
        here = labelled[split]
        contents = len({row.group for row in here})
        draw = random.Random(f"{seed}/{split}")
        for kind, count, drawn in zip(
            ("source", "nonsource"), counts, (_source, _nonsource), strict=True
        ):
            wanted = round(count * contents / CONTENTS)
            for one, other in drawn(here, wanted, margin, draw):
                first, second = draw.sample((one, other), 2)
                rank = 1 if _mos(first) > _mos(second) else 2
                pairs.append(Pair(first.video, second.video, rank, kind, split))
    return pairs


def _source(
    rows: Sequence[LadderRow], wanted: int, margin: float, draw: random.Random
) -> Iterator[tuple[LadderRow, LadderRow]]:
    """A pair of every shot in turn, until there are enough."""
    shots: dict[str, list[LadderRow]] = defaultdict(list)
    for row in rows:
        shots[row.shot].append(row)
    left = []
    for shot in sorted(shots):
        pairs = [pair for pair in combinations(shots[shot], 2) if _differ(*pair, margin)]
        draw.shuffle(pairs)
        left.append(pairs)
    draw.shuffle(left)
    while wanted > 0 and any(left):
        for pairs in left:
            if pairs and wanted > 0:
                yield pairs.pop()
                wanted -= 1


def _nonsource(
    rows: Sequence[LadderRow], wanted: int, margin: float, draw: random.Random
) -> Iterator[tuple[LadderRow, LadderRow]]:
    """Any two of different contents; drawn, since a large split has millions of such pairs."""
    seen: set[frozenset[str]] = set()
    for _ in range(200 * wanted if len(rows) > 1 else 0):
        one, other = draw.sample(rows, 2)
        key = frozenset((one.video, other.video))
        if one.group != other.group and key not in seen and _differ(one, other, margin):
            seen.add(key)
            yield one, other
            if len(seen) == wanted:
                return


def _differ(one: LadderRow, other: LadderRow, margin: float) -> bool:
    return abs(_mos(one) - _mos(other)) > margin


def _mos(row: LadderRow) -> float:
    assert row.mos is not None  # make_pairs has seen to it
    return row.mos
