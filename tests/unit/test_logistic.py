"""The 4-parameter logistic: recovery, shape, fallbacks, and its way through JSON."""

import json
import math
import warnings

import numpy as np
import pytest
import scipy.optimize

from distill.metrics import Logistic4, calibrate, fit_logistic4, plcc, rmse


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def logistic_data(n: int, noise: float, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x = rng.uniform(-2, 4, n)
    mos = 1.2 + 3.4 / (1 + np.exp(-(x - 0.7) / 0.6)) + noise * rng.normal(size=n)
    return x * scale + 5 * scale, mos


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_logistic_recovers_its_parameters(scale: float) -> None:
    x, mos = logistic_data(200, 0.0, scale)
    fit = fit_logistic4(x, mos)
    assert not fit.fallback
    expected = [4.6, 1.2, 5.7 * scale, 0.6 * scale]
    assert [fit.beta1, fit.beta2, fit.beta3, fit.beta4] == pytest.approx(expected, rel=1e-4)
    assert rmse(fit(x), mos) < 1e-5


CURVES = {
    "line": lambda x: 2 + 0.3 * x,
    "exponential": lambda x: np.exp(x / 2),
    "saturating": lambda x: 5 - np.exp(-x),
    "step": lambda x: np.where(x > 1, 4.5, 1.5),
    "reversed": lambda x: 5 - x,
    "noise": lambda x: 0 * x,
    "outlier": lambda x: np.where(x == x.max(), 1e4, x),
}


@pytest.mark.parametrize("n", [5, 30, 500])
@pytest.mark.parametrize("curve", CURVES)
def test_logistic_rises_and_is_no_worse_than_a_line(curve: str, n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.uniform(-2, 4, n)
    mos = CURVES[curve](x) + 0.1 * rng.normal(size=n)
    fit = fit_logistic4(x, mos)
    ordered = fit(np.sort(x))
    assert np.isfinite(ordered).all() and (np.diff(ordered) >= 0).all()
    assert ordered[-1] > ordered[0]
    slope, intercept = np.polyfit(x, mos, 1)
    best_line = rmse(max(slope, 0) * x + (intercept if slope > 0 else mos.mean()), mos)
    assert rmse(fit(x), mos) <= best_line * 1.006
    if curve == "reversed":
        assert fit.fallback == "the labels do not rise with the predictions"
        assert plcc(fit(x), mos) == pytest.approx(plcc(x, mos))  # the fit must not hide it


@pytest.mark.parametrize(
    ("pred", "mos", "reason"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 5], "4 distinct predictions, the logistic needs 5"),
        ([2, 2, 2, 2, 2, 2], [1, 2, 3, 4, 5, 6], "1 distinct predictions"),
        ([1, 2, 3, 4, 5, 6], [3.3] * 6, "the labels are constant"),
        ([1], [3], "1 distinct predictions"),
    ],
)
def test_logistic_falls_back_to_a_line_and_says_why(pred, mos, reason: str) -> None:
    fit = fit_logistic4(pred, mos)
    assert fit.fallback.startswith(reason)
    expected = np.polyval(np.polyfit(pred, mos, 1), pred) if len(set(pred)) > 1 else np.mean(mos)
    assert fit(pred) == pytest.approx(np.broadcast_to(expected, len(pred)))


def test_logistic_survives_a_solver_that_fails(monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("no")

    monkeypatch.setattr("scipy.optimize.least_squares", fail)
    x, mos = logistic_data(50, 0.1)
    fit = fit_logistic4(x, mos)
    assert fit.fallback == "no start did as well as a line"
    assert fit(x) == pytest.approx(np.polyval(np.polyfit(x, mos, 1), x))


def test_logistic_effort_is_bounded(monkeypatch) -> None:
    seen = []
    solve = scipy.optimize.least_squares

    def counted(*args, **kwargs):
        seen.append(solve(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr("scipy.optimize.least_squares", counted)
    for curve in CURVES.values():
        x = np.linspace(-2, 4, 50)
        fit_logistic4(x, curve(x))
    assert len(seen) <= 4 * len(CURVES) and max(found.nfev for found in seen) <= 200


def test_logistic_travels_as_json() -> None:
    for n in (4, 50):
        fit = fit_logistic4(*logistic_data(n, 0.1))
        assert Logistic4.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit
    x = np.array([[-1e300, 0.0], [2.0, 1e300]])
    assert fit(x).shape == (2, 2) and np.isfinite(fit(x)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta1": math.nan}, "finite numbers and beta4 > 0"),
        ({"beta4": 0.0}, "finite numbers and beta4 > 0"),
        ({"beta5": 0.0}, "Logistic4 needs"),
    ],
)
def test_logistic_refuses_damaged_values(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        Logistic4.from_dict(Logistic4().to_dict() | change)


def test_calibration_on_few_videos_is_a_line_and_never_a_step() -> None:
    rng = np.random.default_rng(0)
    fresh = np.linspace(-3, 3, 300)
    for videos in (5, 12, 29, 30, 60):
        for _ in range(40):
            x = rng.standard_normal(videos)
            y = 3 + 0.5 * x + rng.standard_normal(videos)
            found = calibrate(x, y)
            assert bool(found.fallback) or (videos >= 30 and found.beta4 >= 0.3 * x.std() - 1e-9)
            assert np.all(np.diff(found(fresh)) >= 0)
            if videos < 30:
                assert len(np.unique(found(fresh))) == 300


def test_calibration_on_many_videos_bends() -> None:
    x = np.linspace(-3, 3, 200)
    found = calibrate(x, 1 + 4 / (1 + np.exp(-(x - 0.3) / 0.8)))
    assert not found.fallback
    assert (found.beta1, found.beta2, found.beta3, found.beta4) == pytest.approx((5, 1, 0.3, 0.8))
