"""Batches: who gets which video, in which order, with how many of each kind."""

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.batches import EpochBatches, Stream, batch_plan
from distill.errors import ConfigError

Keys = list[list[tuple[int, int]]]

batches_args = st.fixed_dictionaries(
    {
        "streams": st.lists(
            st.tuples(st.integers(1, 60), st.integers(1, 9)), min_size=1, max_size=3
        ),
        "seed": st.integers(0, 2**32),
        "world_size": st.integers(1, 4),
        "stop_after": st.one_of(st.none(), st.integers(1, 5)),
    }
)


def make(args: dict[str, Any], rank: int = 0, epoch: int = 0) -> EpochBatches:
    streams, first = [], 0
    for size, count in args["streams"]:
        streams.append(Stream(range(first, first + size), count))
        first += size
    batches = EpochBatches(**args | {"streams": streams}, rank=rank)
    batches.set_epoch(epoch)
    return batches


@given(batches_args, st.integers(0, 5))
def test_ranks_share_every_stream_evenly_and_no_visit_comes_twice(
    args: dict[str, Any], epoch: int
) -> None:
    ranks = [list(make(args, rank, epoch)) for rank in range(args["world_size"])]
    full = max(math.ceil(n / (count * args["world_size"])) for n, count in args["streams"])
    length = min(full, args["stop_after"] or full)
    assert (
        [len(keys) for keys in ranks]
        == [length] * args["world_size"]
        == [len(make(args))] * args["world_size"]
    )
    first = at = 0
    for size, count in args["streams"]:
        taken = [key for joint in zip(*ranks, strict=True) for batch in joint
                 for key in batch[at : at + count]]  # fmt: skip
        assert len(taken) == length * count * args["world_size"]
        assert all(first <= row < first + size for _, row in taken)
        whole = max(1, len(taken) // size) * size
        once = taken[:whole]
        assert len(set(once)) == len(once)  # whole passes: no video with the same draw again
        visits = Counter(row for _, row in once)
        assert max(visits.values()) - min(visits.values()) == 0
        # What fills the last joint batch is the start of what was drawn.
        assert taken[whole:] == [taken[k % whole] for k in range(whole, len(taken))]
        if len(taken) >= size:
            assert set(visits) == set(range(first, first + size))
        first, at = first + size, at + count


@given(batches_args, st.integers(0, 5))
def test_no_draw_of_an_epoch_comes_again_in_the_next(args: dict[str, Any], epoch: int) -> None:
    def keys(which: int) -> set[tuple[int, int]]:
        return {key for batch in make(args, 0, which) for key in batch}

    assert not keys(epoch) & keys(epoch + 1)


def test_order_differs_by_seed_epoch_and_stream() -> None:
    args = {"streams": [(50, 50), (50, 50)], "seed": 0, "world_size": 1}

    def orders(seed: int, epoch: int) -> list[tuple[int, ...]]:
        rows = [row for _, row in next(iter(make(args | {"seed": seed}, 0, epoch)))]
        assert sorted(rows) == list(range(100))
        return [tuple(rows[:50]), tuple(row - 50 for row in rows[50:])]

    found = [*orders(0, 0), *orders(0, 1), *orders(1, 0)]
    assert len({*found, tuple(range(50))}) == 7


@given(batches_args, st.integers(0, 3), st.data())
def test_resuming_anywhere_continues_exactly(
    args: dict[str, Any], epoch: int, data: st.DataObject
) -> None:
    unbroken: Keys = [b for e in (epoch, epoch + 1) for b in make(args, 0, e)]
    first = make(args, 0, epoch)
    taken = data.draw(st.integers(0, len(first)))
    iterator = iter(first)
    begun = [next(iterator) for _ in range(taken)]
    first.done = taken
    state = first.state_dict()

    second = make(args)
    second.load_state_dict(state)
    rolled = taken == len(first)
    assert second.epoch == epoch + rolled and second.done == (0 if rolled else taken)
    second.set_epoch(second.epoch)  # the trainer names the epoch again: nothing may be lost
    rest = list(second)
    if not rolled:
        second.set_epoch(epoch + 1)
        assert second.done == 0
        rest += list(second)
    assert begun + rest == unbroken


def test_state_round_trip() -> None:
    batches = EpochBatches([Stream(range(10), 2)], 0)
    assert batches.state_dict() == {"epoch": 0, "done": 0}
    batches.load_state_dict({"epoch": 3, "done": 4})
    assert batches.state_dict() == {"epoch": 3, "done": 4}
    batches.load_state_dict({"epoch": 3, "done": 5})
    assert batches.state_dict() == {"epoch": 4, "done": 0}


@pytest.mark.parametrize(
    ("streams", "rank"),
    [([], 0), ([Stream([], 1)], 0), ([Stream([0], 0)], 0), ([Stream([0], 1)], 1),
     ([Stream([0], 1)], -1)],
)  # fmt: skip
def test_nonsense_is_refused(streams: list[Stream], rank: int) -> None:
    with pytest.raises(ValueError, match=r"must (have a row|be in \[0, 1\))"):
        EpochBatches(streams, 0, rank=rank)


def test_a_plan_without_a_share_is_one_stream_of_all() -> None:
    assert batch_plan([False, True, True], 2, None) == [Stream(range(3), 2)]


def test_a_plan_with_a_share_has_as_many_of_each_kind() -> None:
    pseudo = [True, False, True, False, True]
    assert batch_plan(pseudo, 8, 0.75) == [Stream([1, 3], 2), Stream([0, 2, 4], 6)]


@pytest.mark.parametrize(
    ("pseudo", "share", "match"),
    [
        ([False, False], 0.5, "there are no pseudo-labelled videos"),
        ([True, True], 0.5, "there are no labelled videos"),
        ([True, False], 0.05, "a batch of 4 would have no pseudo-labelled video"),
        ([True, False], 0.95, "a batch of 4 would have no labelled video"),
    ],
)
def test_an_impossible_share_is_named(pseudo: list[bool], share: float, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as raised:
        batch_plan(pseudo, 4, share)
    assert f"training.pseudo_share={share:g}" in str(raised.value)
