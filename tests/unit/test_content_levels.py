"""Slopes between and within contents against scipy, and what levelling keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress, spearmanr

from distill.content_levels import LEAST_CONTENTS, ContentSlopes, level_contents

numbers = st.floats(-100, 100, allow_nan=False)


def test_levelling_by_hand() -> None:
    score, content = np.array([1.0, 2.0, 4.0, 5.0]), ["a", "a", "b", "b"]
    # Means 1.5 and 4.5 around 3 become 2.7 and 3.3.
    np.testing.assert_allclose(level_contents(score, content, 0.2), [2.2, 3.2, 2.8, 3.8])
    np.testing.assert_allclose(level_contents(score, content, 0.2, 2), [1.7, 3.7, 2.3, 4.3])
    np.testing.assert_array_equal(level_contents(score, content, 1.0), score)
    assert level_contents(np.array([]), [], 0.5).shape == (0,)


@given(st.lists(numbers, min_size=1, max_size=30), st.integers(1, 6), st.floats(0, 1.5),
       st.floats(0.5, 2))  # fmt: skip
def test_levelling_scales_both_levels_and_keeps_the_mean(
    values: list[float], contents: int, between: float, within: float
) -> None:
    score = np.array(values)
    content = [f"c{i % contents}" for i in range(len(score))]
    out = level_contents(score, content, between, within)
    assert out.mean() == pytest.approx(score.mean(), abs=1e-9)
    for name in set(content):
        inside = [i for i, c in enumerate(content) if c == name]
        np.testing.assert_allclose(np.diff(out[inside]), within * np.diff(score[inside]), atol=1e-9)
        before = score[inside].mean() - score.mean()
        assert out[inside].mean() - score.mean() == pytest.approx(between * before, abs=1e-9)


def _planted(contents: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """A teacher that knows versions well and contents badly."""
    draw = np.random.default_rng(seed)
    content = np.repeat(np.arange(contents), 7)
    source, version = draw.normal(0, 0.25, contents), draw.normal(0, 0.7, 7 * contents)
    mos = 3 + source[content] + version
    guess = source + draw.normal(0, 0.4, contents)
    score = 3 + guess[content] + 0.7 * version + draw.normal(0, 0.2, 7 * contents)
    return score, mos, [f"c{c}" for c in content]


def test_slopes_are_those_of_two_regressions() -> None:
    score, mos, content = _planted(12)
    names = np.array(content)
    means = np.array([[v[names == c].mean() for c in sorted(set(content))] for v in (score, mos)])
    inside = [np.concatenate([v[names == c] - v[names == c].mean() for c in sorted(set(content))])
              for v in (score, mos)]  # fmt: skip
    found = ContentSlopes.of(score.tolist(), mos.tolist(), content)
    assert found is not None and found.contents == 12
    assert found.between == pytest.approx(linregress(*means).slope)
    assert found.within == pytest.approx(linregress(*inside).slope)


def test_levelled_labels_are_nearer_the_truth_than_raw_ones() -> None:
    better = 0
    for seed in range(20):
        val = _planted(13, seed)
        slopes = ContentSlopes.of(val[0].tolist(), val[1].tolist(), val[2])
        assert slopes is not None
        score, mos, content = _planted(40, 100 + seed)
        levelled = level_contents(score, content, slopes.between, slopes.within)
        better += spearmanr(levelled, mos).statistic > spearmanr(score, mos).statistic
    assert better >= 19


def test_order_and_names_of_contents_do_not_matter_and_single_versions_do_not_count() -> None:
    score, mos, content = _planted(8)
    found = ContentSlopes.of(score.tolist(), mos.tolist(), content)
    order = np.random.default_rng(1).permutation(len(score))
    again = ContentSlopes.of(
        [*score[order], 99.0], [*mos[order], -5.0], [*(f"z{content[i]}" for i in order), "alone"]
    )
    assert found is not None and again is not None
    assert again.contents == found.contents
    np.testing.assert_allclose([again.between, again.within], [found.between, found.within])


@pytest.mark.parametrize("contents", [0, 1, LEAST_CONTENTS - 1])
def test_few_contents_have_no_slopes(contents: int) -> None:
    score, mos, content = _planted(contents) if contents else (np.array([]), np.array([]), [])
    assert ContentSlopes.of(score.tolist(), mos.tolist(), content) is None


def test_constant_scores_have_no_slopes_and_senseless_slopes_are_cut() -> None:
    score, mos, content = _planted(8)
    assert ContentSlopes.of([3.0] * len(score), mos.tolist(), content) is None
    reverse = ContentSlopes.of((-mos).tolist(), mos.tolist(), content)
    assert reverse == ContentSlopes(0.0, 0.5, 8)
    flat = ContentSlopes.of((3 + mos / 100).tolist(), mos.tolist(), content)
    assert flat == ContentSlopes(1.5, 2.0, 8)
