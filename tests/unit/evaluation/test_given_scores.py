"""Scores of a file: on which scale they are, and what is said of them."""

import math

import numpy as np
import pytest

from distill.errors import ManifestError
from distill.evaluation.given_scores import given_scores, note_of, on_scale

MOS = np.linspace(1, 5, 101)
NOISE = np.random.default_rng(0).normal(0, 1, 101)


@pytest.mark.parametrize(
    ("scores", "mos", "same"),
    [
        (MOS, MOS, True),
        (6 - MOS, MOS, True),  # reversed, but still from 1 to 5
        (MOS + 0.6 * NOISE, MOS, True),  # its ends lie far outside
        (np.where(np.arange(101) == 7, 90, MOS), MOS, True),  # one wide error
        (np.full(101, 3.0), MOS, True),
        ((MOS - 1) / 4, MOS, False),  # 0 to 1 touches the range of the MOS
        (25 * (MOS - 1), MOS, False),
        (MOS * 2, MOS, False),  # 2 to 10
        (-MOS, MOS, False),
        ((MOS - 1) / 4, 25 * (MOS - 1), False),  # 0 to 1 lies within 0 to 100
        (MOS, 25 * (MOS - 1), False),
    ],
)
def test_the_scale_is_told_by_where_most_scores_lie(scores, mos, same: bool) -> None:
    assert on_scale(list(scores), list(mos)) is same


def test_what_is_said_of_a_file() -> None:
    plain = "scores from a file, taken as they are; what they were made from is not known"
    assert note_of(True, 0.9) == note_of(True, math.nan) == note_of(True, 0.1) == plain
    assert note_of(False, 0.9) == (
        f"{plain}; they are on a scale of their own, so only ranks and fitted numbers count"
    )
    assert note_of(True, -0.1).endswith("if less is better there, change their signs")


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(ManifestError, match="bundles= takes bundles and tables of scores"):
        given_scores(tmp_path / "none.csv")
