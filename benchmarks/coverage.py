"""How often 95% intervals over contents hold the true value, by method and number of contents.

    python benchmarks/coverage.py                           the tables of docs/evaluation.md
    python benchmarks/coverage.py --contents 3 4 5 6 8 10 12 --draws 200    few contents
    python benchmarks/coverage.py --versions 1              every video a content of its own

Each simulation draws contents of KVQ's shape: a level per content, seven processing steps with
KVQ's mean MOS by step and a strength of their own per content, a MOS in 36ths. Two predictors err
by content and by video, share 60% of their errors' variance, and follow the steps with a strength
of their own; the second errs by ``better`` times as much. The true value is that of 100,000
contents. A method is right where its interval holds the true value.

Source: KVQ's train labels: means by step, deviations between contents (0.43) and within (0.33).
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

from distill.metrics import plcc, srcc
from distill.resampling import jackknife_ends
from distill.weighted_statistics import statistic_of_groups

STEPS = np.array([3.474, 3.488, 3.451, 3.363, 3.226, 2.972, 2.590])  # KVQ's mean MOS by step
CASES = {  # errors by content and by video, in MOS; what the second predictor's are times those
    "SRCC 0.75": (0.33, 0.21, 0.85),
    "SRCC 0.85": (0.21, 0.14, 0.85),
    "SRCC 0.93": (0.105, 0.07, 0.85),
    "SRCC 0.85, as good": (0.21, 0.14, 1.0),
}
STATISTICS = ("srcc", "plcc")
Ends = tuple[float, float]


def simulate(
    rng: np.random.Generator, contents: int, versions: int, case: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions of two models and MOS, each (contents * versions,)."""
    by_content, by_video, better = case
    shape = (contents, versions)
    steps = STEPS - STEPS.mean()
    if versions == 1:  # any one of the versions
        steps = rng.choice(steps, shape)
    level = STEPS.mean() + 0.38 * rng.standard_normal((contents, 1))
    strength = np.exp(0.35 * rng.standard_normal((contents, 1)))
    mos = np.round(36 * (level + strength * steps + 0.12 * rng.standard_normal(shape))) / 36
    shared = rng.standard_normal((contents, 1)), rng.standard_normal(shape)
    models = []
    for factor in (1.0, better):
        own = rng.standard_normal((contents, 1)), rng.standard_normal(shape)
        content, video = (
            factor * scale * (np.sqrt(0.6) * s + np.sqrt(0.4) * o)
            for scale, s, o in zip((by_content, by_video), shared, own, strict=True)
        )
        follows = strength * np.exp(0.25 * rng.standard_normal((contents, 1)))
        models.append((level + follows * steps + content + video).ravel())
    return models[0], models[1], mos.ravel()


def intervals(
    estimate: float, left_out: np.ndarray, drawn: np.ndarray, statistic: str
) -> Iterator[tuple[str, Ends]]:
    """Each method's ends.

    Args:
        estimate: of everything.
        left_out: (G,) of everything but one content.
        drawn: (B,) of bootstrap draws.
        statistic: ``srcc``, ``plcc`` or ``difference``.
    """
    count, tails = len(left_out), np.array([0.025, 0.975])
    low, high = np.quantile(drawn, tails)
    yield "percentile", (low, high)
    yield "basic", (2 * estimate - high, 2 * estimate - low)
    wider = norm.cdf(np.sqrt(count / (count - 1)) * student_t.ppf(tails, count - 1))
    yield "percentile, widened", tuple(np.quantile(drawn, wider))
    below = np.mean(drawn < estimate) + np.mean(drawn == estimate) / 2
    shift = norm.ppf(np.clip(below, 1e-3, 1 - 1e-3))
    gaps = left_out.mean() - left_out
    bend = (gaps**3).sum() / (6 * max((gaps**2).sum(), 1e-300) ** 1.5)
    z = shift + norm.ppf(tails)
    corrected = norm.cdf(shift + z / (1 - bend * z))
    yield "BCa", tuple(np.quantile(drawn, corrected)) if np.isfinite(bend) else (np.nan, np.nan)
    forward, back = (np.arctanh, np.tanh) if statistic != "difference" else (lambda v: v,) * 2
    safe = np.clip(drawn, -1 + 1e-12, 1 - 1e-12)
    error = np.sqrt(count / (count - 1)) * forward(safe).std(ddof=1)
    reach = student_t.ppf(tails, count - 1) * error
    yield "bootstrap error, t", tuple(back(forward(estimate) + reach))
    yield "jackknife, t", jackknife_ends(estimate, left_out, statistic)


def run(
    contents: int, versions: int, case: tuple[float, float, float], simulations: int, draws: int
) -> dict[tuple[str, str], np.ndarray]:
    """(method, what) -> rates of being right, of lying above and below the truth, mean width."""
    rng = np.random.default_rng(0)
    big = simulate(np.random.default_rng(1), 100_000, versions, case)
    true = {name: [f(x, big[2]) for x in big[:2]] for name, f in (("srcc", srcc), ("plcc", plcc))}
    codes = np.repeat(np.arange(contents), versions)
    found: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(4))
    for _ in range(simulations):
        first, second, mos = simulate(rng, contents, versions, case)
        drawn = rng.multinomial(contents, np.full(contents, 1 / contents), draws)
        taken = np.concatenate(
            [np.ones((1, contents)), 1 - np.eye(contents), drawn.astype(np.float64)]
        )
        for name in STATISTICS:
            one, two = (statistic_of_groups(name, x, mos, codes, taken) for x in (first, second))
            for what, kind, values, truth in (
                (name, name, one, true[name][0]),
                (f"{name} difference", "difference", two - one, true[name][1] - true[name][0]),
            ):
                drawn_values = values[contents + 1 :]
                drawn_values = drawn_values[np.isfinite(drawn_values)]
                ends = intervals(values[0], values[1 : contents + 1], drawn_values, kind)
                for method, (low, high) in ends:
                    right = low <= truth <= high
                    found[method, what] += right, low > truth, high < truth, high - low
    return {key: value / simulations for key, value in found.items()}


def main() -> None:
    """Print a table for each number of contents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contents", type=int, nargs="+", default=[16, 60, 122])
    parser.add_argument("--versions", type=int, choices=(1, 7), default=7)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=400, help="bootstrap draws")
    options = parser.parse_args()
    columns = list(itertools.chain.from_iterable((s, f"{s} difference") for s in STATISTICS))
    for contents in options.contents:
        cases = {
            name: run(contents, options.versions, case, options.simulations, options.draws)
            for name, case in CASES.items()
        }
        print(f"\n{contents} contents of {options.versions}: % right (mean width)\n")
        print(f"| case | method | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
        for name, rates in cases.items():
            for method in dict.fromkeys(method for method, _ in rates):
                cells = [rates[method, what] for what in columns]
                told = " | ".join(f"{100 * cell[0]:.1f} ({cell[3]:.3f})" for cell in cells)
                print(f"| {name} | {method} | {told} |", flush=True)


if __name__ == "__main__":
    main()
