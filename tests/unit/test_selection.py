"""Balanced selection: flat, capped, the same in any order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import ConfigError
from distill.labels import Label
from distill.selection import features_of, histogram, k_center, keys_of_videos


@st.composite
def _pools(draw: st.DrawFn) -> tuple[np.ndarray, list[str], int, int | None]:
    n = draw(st.integers(1, 40))
    score = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)), float)
    content = draw(st.lists(st.sampled_from("abcdef"), min_size=n, max_size=n))
    return score, content, draw(st.integers(1, 50)), draw(st.none() | st.integers(1, 5))


def _chosen(method: str, score: np.ndarray, content: list[str], key: list[int], count: int,
            per_content: int | None) -> np.ndarray:  # fmt: skip
    if method == "histogram":
        return histogram(score, content, key, count, 4, per_content)
    return k_center(score[:, None], content, key, count, per_content)


@pytest.mark.parametrize("method", ["histogram", "k_center"])
@given(pool=_pools(), random=st.randoms())
def test_caps_hold_nothing_more_was_to_be_had_and_order_makes_no_difference(
    method: str, pool: tuple[np.ndarray, list[str], int, int | None], random: object
) -> None:
    score, content, count, cap = pool
    key = [(7 * i + 3) % 101 for i in range(len(score))]
    taken = _chosen(method, score, content, key, count, cap)
    assert len(set(taken.tolist())) == len(taken) <= count
    given_ = Counter(content[i] for i in taken)
    assert all(n <= (cap or n) for n in given_.values())
    if len(taken) < count:
        most = sum(min(n, cap or n) for n in Counter(content).values())
        assert len(taken) == most
    order = list(range(len(score)))
    random.shuffle(order)  # type: ignore[attr-defined]
    again = _chosen(
        method, score[order], [content[i] for i in order], [key[i] for i in order], count, cap
    )
    assert sorted(order[i] for i in again) == taken.tolist()


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 40))
def test_histogram_is_as_flat_as_the_pool_allows(values: list[int], count: int) -> None:
    score = np.array(values, float)
    content = [str(i) for i in range(len(values))]
    taken = histogram(score, content, list(range(len(values))), count, 3)
    low, high = score.min(), score.max()
    edges = np.linspace(low, high if high > low else low + 1, 4)
    had, has = (np.histogram(s, edges)[0] for s in (score, score[taken]))
    for one in range(3):
        for other in range(3):
            # A bin that could have given more is not behind one that gave two more.
            assert has[one] == had[one] or has[other] - has[one] <= 1


def test_histogram_takes_from_many_contents() -> None:
    content = ["a"] * 50 + ["b", "c", "d"]
    taken = histogram(np.full(53, 3.0), content, list(range(53)), 8, 10)
    assert Counter(content[i] for i in taken) == {"a": 5, "b": 1, "c": 1, "d": 1}


def test_k_center_goes_from_the_middle_to_the_farthest() -> None:
    points = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])  # mean 4.8
    names = list("abcde")
    assert k_center(points, names, [0, 1, 2, 3, 4], 1).tolist() == [2]
    assert k_center(points, names, [0, 1, 2, 3, 4], 2).tolist() == [2, 4]
    assert k_center(points, names, [0, 1, 2, 3, 4], 3).tolist() == [0, 2, 4]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=9), st.integers(1, 3))
def test_k_center_is_within_twice_the_best(values: list[int], count: int) -> None:
    from itertools import combinations

    points = np.array(values, float)[:, None]
    names = [str(i) for i in range(len(values))]

    def radius(at: object) -> float:
        return float(np.abs(points - points[list(at), 0]).min(1).max())  # type: ignore[call-overload]

    taken = k_center(points, names, list(range(len(values))), count)
    best = min(radius(at) for at in combinations(range(len(values)), min(count, len(values))))
    assert radius(taken) <= 2 * best + 1e-9


def test_features_are_standardised_and_what_is_unknown_is_the_mean() -> None:
    labels = [
        Label("a", "a", score=1.0, std=0.1, duration=2.0, width=64, height=64),
        Label("b", "b", score=3.0, duration=2.0, width=128, height=128),
        Label("c", "c", score=5.0, std=0.3, duration=2.0),
    ]
    root = np.sqrt(1.5)
    np.testing.assert_allclose(
        features_of(labels, "label"), [[-root, -1, 0, -1], [0, 0, 0, 1], [root, 1, 0, 0]]
    )
    members = [
        Label("a", "a", members={"x": 1.0, "y": 2.0}), Label("b", "b", members={"y": 4.0, "x": 3.0})
    ]  # fmt: skip
    np.testing.assert_allclose(features_of(members, "members"), [[-1, -1], [1, 1]])


def test_members_that_differ_are_an_error() -> None:
    odd = [Label("a", "a", members={"x": 1.0}), Label("b.mp4", "b", members={"y": 1.0})]
    with pytest.raises(ConfigError, match=r"select.features=members: .*\['x', 'y'\]"):
        features_of(odd, "members")
    with pytest.raises(ConfigError, match=r"select.features=members: a has the members"):
        features_of([Label("a", "a")], "members")


def test_keys_are_the_videos_own() -> None:
    labels = [Label(str(i), f"/p/{i}", content=f"c{i}") for i in range(50)]
    keys = keys_of_videos(labels)
    assert len(set(keys)) == 50 and keys_of_videos(labels[::-1]) == keys[::-1]
    assert keys != sorted(keys)
