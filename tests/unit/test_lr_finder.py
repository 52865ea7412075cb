"""The choice of a range test on curves whose answer is known."""

import numpy as np
import pytest

from distill.lr_finder import HIGH, LOW, STEPS, RangeTest

FACTORS = np.geomspace(LOW, HIGH, STEPS)


def _curve(bottom: float) -> np.ndarray:
    """1 while rates are small, a parabola in log rate around the bottom, steep beyond."""
    away = np.log10(FACTORS / bottom)
    return np.where(away < -1, 1.0, 0.2 + 0.8 * away**2)


@pytest.mark.parametrize("bottom", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_tenth_of_the_rate_at_the_bottom(bottom: float, noise: float) -> None:
    losses = _curve(bottom) + noise * np.random.default_rng(1).standard_normal(STEPS)
    chosen = RangeTest(FACTORS.tolist(), losses.tolist()).choice()
    assert chosen is not None
    # The running mean lags by 1 / (1 - 0.8) - 1 = 4 steps, a third of a decade.
    assert bottom / 10 / 2 <= chosen <= bottom / 10 * 4


@pytest.mark.parametrize("seed", range(30))
def test_noise_without_a_fall_and_losses_that_only_rise_choose_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rising = 1 + 0.1 * rng.standard_normal(STEPS) + np.linspace(0, 3, STEPS)
    assert RangeTest(FACTORS.tolist(), rising.tolist()).choice() is None


@pytest.mark.parametrize("count", [0, 1, 12])
def test_too_few_losses_choose_nothing(count: int) -> None:
    assert RangeTest(FACTORS.tolist(), np.linspace(9, 1, count).tolist()).choice() is None


def test_the_running_mean_is_that_of_the_weights_by_hand() -> None:
    found = RangeTest([], [1.0, 2.0, 4.0]).smooth()
    weights = np.array([0.64, 0.8, 1.0])
    assert found == pytest.approx(
        [1.0, (0.8 + 2) / 1.8, float(weights @ [1, 2, 4]) / weights.sum()]
    )


def test_divergence_is_four_times_the_lowest() -> None:
    assert not RangeTest([], [1.0, 0.5, 0.6, 0.7]).diverged()
    assert RangeTest([], [1.0] * 5 + [30.0]).diverged()
    assert not RangeTest([], [-1.0] * 5 + [30.0]).diverged()  # a ratio says nothing here
