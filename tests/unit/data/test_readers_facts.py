"""What is kept of a file: few seek points, and how far each GOP has proved sound."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from distill.data.reader import VideoInfo
from distill.data.readers.facts import Facts, seek_points


def facts_of(starts: list[int]) -> Facts:
    return Facts(
        info=VideoInfo(60, 25.0, 128, 96),
        stream=0,
        container="mov",
        headless=0,
        unsafe="",
        all_enter=True,
        matrix=None,
        turn=0,
        starts=np.array(starts),
        stamps=np.array(starts),
        proven=np.zeros(len(starts), np.int32),
    )


@given(count=st.integers(1, 20_000))
def test_few_seek_points_are_kept_and_the_first_is_frame_0(count: int) -> None:
    points = seek_points(range(count))
    assert len(points) <= 2048 and points[0] == 0
    assert len(set(np.diff(points))) <= 1
    if count <= 2048:
        assert points.tolist() == list(range(count))


@given(
    starts=st.sets(st.integers(1, 50)).map(lambda s: [0, *sorted(s)]),
    proofs=st.lists(st.integers(0, 59), max_size=8),
    asked=st.lists(st.integers(0, 59), min_size=1, max_size=8),
)
def test_a_frame_is_proven_by_a_later_one_of_its_own_gop(
    starts: list[int], proofs: list[int], asked: list[int]
) -> None:
    known = facts_of(starts)
    for index in proofs:
        known.prove(known.gop(index), index)
    gop = [max(s for s in starts if s <= i) for i in range(60)]
    want = all(any(gop[p] == gop[i] and p >= i for p in proofs) for i in asked)
    assert known.are_proven(asked) == want
    for index in asked:
        number = known.gop(index)
        assert starts[number] <= index <= known.last(number)
