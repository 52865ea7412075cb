"""Metrics: worked examples, refusals, degenerate data and the logistic fit."""

import math
import warnings
from dataclasses import asdict

import numpy as np
import pytest
import torch

from distill.metrics import (
    CorrelationMetric,
    KvqScore,
    evaluate,
    fit_logistic4,
    krcc,
    kvq_score,
    pair_accuracy,
    plcc,
    rmse,
    srcc,
)

FUNCTIONS = [srcc, krcc, plcc, rmse, fit_logistic4, evaluate]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def noisy(n: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, and labels that rise with them along a logistic."""
    rng = np.random.default_rng(n)
    x = rng.uniform(-2, 4, n)
    return x + 5, 1.2 + 3.4 / (1 + np.exp(-(x - 0.7) / 0.6)) + noise * rng.normal(size=n)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("pred", "mos", "message"),
    [
        ([1.0, 2, 3], [1.0, 2], "pred has 3 rows and mos has 2"),
        ([1.0, math.nan], [1.0, 2], "pred must be finite, got nan in row 1"),
        ([1.0, 2], [math.inf, 2], "mos must be finite, got inf in row 0"),
        ([[1.0], [2]], [1.0, 2], r"pred must be 1-d and not empty, got shape \(2, 1\)"),
        ([], [], r"pred must be 1-d and not empty, got shape \(0,\)"),
        (["a"], [1], "could not convert"),
    ],
)
def test_unusable_data_is_refused(function, pred, mos, message) -> None:
    with pytest.raises(ValueError, match=message):
        function(pred, mos)


@pytest.mark.parametrize("function", [srcc, krcc, plcc])
def test_constants_have_no_correlation(function) -> None:
    for n in (1, 2, 3, 10, 1000):
        for constant in (0.1, 3.3, 1e9 + 0.1, -1e-9):
            values = np.arange(n) / 7
            assert math.isnan(function(np.full(n, constant), values))
            assert math.isnan(function(values, np.full(n, constant)))


def test_array_likes() -> None:
    assert srcc((1, 2, 3), torch.tensor([1.0, 2.0, 9.0])) == 1
    assert plcc(np.float32([1, 2, 3]), [3, 2, 1]) == -1
    assert rmse([1, 2, 3], [1, 4, 3]) == pytest.approx(math.sqrt(4 / 3))


def test_pair_accuracy_by_hand() -> None:
    groups = ["a", "a", "a", "b", "b", "c"]
    mos = [3.00, 3.04, 4.00, 2.0, 1.0, 5.0]
    pred = [0.2, 0.1, 0.3, 0.5, 0.5, 0.0]
    # a: 3.00 against 3.04 is no more than 0.04 apart and left out, the other two are right;
    # b: a tie counts half; c has one row only.
    assert pair_accuracy(pred, mos, groups) == pytest.approx(2.5 / 3)
    assert pair_accuracy(pred, mos, groups, min_gap=0.0) == pytest.approx(2.5 / 4)
    assert math.isnan(pair_accuracy(pred, mos, range(6)))


def test_kvq_score_by_hand() -> None:
    pred = [3.0, 1.0, 2.0, 2.0]
    mos = [4.0, 1.0, 3.0, 2.0]
    # Ranks 4 1 2.5 2.5 against 4 1 3 2: 4.5 / sqrt(4.5 * 5) = 0.948683.
    # Deviations 1 -1 0 0 against 1.5 -1.5 .5 -.5: 3 / sqrt(2 * 5) = 0.948683.
    nonsource = [(0, 1, 1), (1, 2, 2), (2, 0, 1), (2, 3, 1)]  # right, right, wrong, tie: right
    source = [(3, 2, 2), (1, 0, 2)]  # a tie is rank 1: wrong, right
    found = kvq_score(pred, mos, pairs_source=source, pairs_nonsource=nonsource)
    assert found.srcc == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert found.plcc == pytest.approx(3 / math.sqrt(2 * 5))
    assert (found.acc_nonsource, found.acc_source) == (0.75, 0.5)
    assert found.score == pytest.approx(0.9 * 0.9486833 + 0.05 * 0.75 + 0.05 * 0.5)


def test_kvq_score_of_the_published_winner() -> None:
    # RQ-VQA's row of the NTIRE 2024 table: the four figures and the final score.
    assert KvqScore(0.9361, 0.9359, 0.7792, 0.8284).score == pytest.approx(0.9228, abs=5e-5)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], r"pairs_source must be rows of \(first, second, rank\)"),
        ([(0, 1)], r"pairs_source must be rows of \(first, second, rank\), got \(1, 2\)"),
        ([(0, 1, 1), (0, 3, 1)], r"pairs_source row 1 is \[0, 3, 1\]"),
        ([(-1, 1, 1)], r"pairs_source row 0 is \[-1, 1, 1\]"),
        ([(0, 1, 0)], r"row numbers below 3 and the rank 1 or 2"),
    ],
)
def test_kvq_pairs_must_exist(pairs, message) -> None:
    with pytest.raises(ValueError, match=message):
        kvq_score([1, 2, 3], [1, 2, 3], pairs_source=pairs, pairs_nonsource=[(0, 1, 2)])


def test_evaluate_gathers_the_functions() -> None:
    x, mos = noisy(70, 0.2)
    groups = np.arange(70) // 7
    found = evaluate(x, mos, groups)
    fitted = fit_logistic4(x, mos)(x)
    assert asdict(found) == {
        "srcc": srcc(x, mos),
        "krcc": krcc(x, mos),
        "plcc": plcc(x, mos),
        "plcc_fitted": plcc(fitted, mos),
        "rmse": rmse(fitted, mos),
        "rmse_raw": rmse(x, mos),
        "n": 70,
        "pair_accuracy": pair_accuracy(x, mos, groups),
    }
    assert found.plcc_fitted > found.plcc and found.rmse < 0.3 < found.rmse_raw
    assert math.isnan(evaluate(x, mos).pair_accuracy)


def test_correlation_metric() -> None:
    x, mos = (torch.tensor(values).float() for values in noisy(40, 0.5))
    metric = CorrelationMetric()
    for start in range(0, 40, 16):
        metric.update(x[start : start + 16].requires_grad_(), mos[start : start + 16])
    found = metric.compute()
    assert found["srcc"].item() == pytest.approx(srcc(x.detach(), mos), abs=1e-6)
    assert found["plcc"].item() == pytest.approx(plcc(x.detach(), mos), abs=1e-6)

    metric.reset()
    metric.update(torch.tensor([1.0, 2, 3, 3]), torch.tensor([1.0, 3, 2, 2]), torch.arange(4))
    before = metric.compute()
    metric.update(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([0]))
    assert metric.compute() == before


def test_correlation_metric_of_nothing_and_of_nan_is_nan() -> None:
    metric = CorrelationMetric()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics: compute before update
        assert all(value.isnan() for value in metric.compute().values())
    metric.reset()
    metric.update(torch.tensor([1.0, math.nan, 3.0]), torch.tensor([1.0, 2, 3]))
    assert all(value.isnan() for value in metric.compute().values())
    with pytest.raises(ValueError, match=r"must be \(B,\) of one length, got \(3, 1\)"):
        metric.update(torch.zeros(3, 1), torch.zeros(3))
