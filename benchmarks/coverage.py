"""How often 95% intervals over contents hold the true value, by method and number of contents.

    python benchmarks/coverage.py                              all methods: docs/evaluation.md
    python benchmarks/coverage.py --contents 3 5 8 10 12 16 60 --used       the one that is used
    python benchmarks/coverage.py --versions 1                 every video a content of its own
    python benchmarks/coverage.py --used --statistics krcc rmse --cases "SRCC 0.75" "SRCC 0.93"
    python benchmarks/coverage.py --used --statistics kvq      the challenge's score, with its pairs

Each simulation draws contents of KVQ's shape: a level per content, seven processing steps with
KVQ's mean MOS by step and a strength of their own per content, a MOS in 36ths. Two predictors err
by content and by video, share 60% of their errors' variance (95% where they are alike), and follow
the steps with a strength of their own; the second errs by ``better`` times as much. The true value
is that of 100,000 contents. A method is right where its interval holds the true value; simulations
in which it gives none, as where two models order all videos alike, do not count.

The challenge's ranked pairs are drawn anew in each simulation, as many as its test split has, and
ordered by the MOS with an error of 0.1 each.

Source: KVQ's train labels: means by step, deviations between contents (0.43) and within (0.33).
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

from distill.jackknife import jackknife_ends, paired_ends
from distill.kvq.files import Pair, RankedPairs
from distill.kvq.intervals import kvq_rows
from distill.weighted_statistics import STATISTICS, OfGroups, statistic_of_groups

STEPS = np.array([3.474, 3.488, 3.451, 3.363, 3.226, 2.972, 2.590])  # KVQ's mean MOS by step
Case = tuple[float, float, float, float]
CASES: dict[str, Case] = {
    # Errors by content and by video, in MOS; what the second predictor's are times those; what
    # share of their variance both have in common.
    "SRCC 0.75": (0.33, 0.21, 0.85, 0.6),
    "SRCC 0.85": (0.21, 0.14, 0.85, 0.6),
    "SRCC 0.93": (0.105, 0.07, 0.85, 0.6),
    "SRCC 0.85, as good": (0.21, 0.14, 1.0, 0.6),
    "SRCC 0.85, much better": (0.21, 0.14, 0.5, 0.6),
    "SRCC 0.75, alike": (0.33, 0.21, 0.85, 0.95),
}
COMPARED = ("srcc", "plcc")  # on whose scale all methods are
DIFFERENCES = (*COMPARED, "kvq")  # by which models are compared
RANKED = (169, 231)  # pairs of one content and of two
Ends = tuple[float, float]


def simulate(
    rng: np.random.Generator, contents: int, versions: int, case: Case
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions of two models and MOS, each (contents * versions,)."""
    by_content, by_video, better, share = case
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
            factor * scale * (np.sqrt(share) * s + np.sqrt(1 - share) * o)
            for scale, s, o in zip((by_content, by_video), shared, own, strict=True)
        )
        follows = strength * np.exp(0.25 * rng.standard_normal((contents, 1)))
        models.append((level + follows * steps + content + video).ravel())
    return models[0], models[1], mos.ravel()


def challenge(
    rng: np.random.Generator, mos: np.ndarray, codes: np.ndarray, counts: tuple[int, int]
) -> OfGroups:
    """KVQ's score with ranked pairs of one content and of two, so many of each."""
    felt = mos + 0.1 * rng.standard_normal(len(mos))
    pairs: list[list[Pair]] = []
    for same, count in zip((True, False), counts, strict=True):
        first = rng.integers(len(mos), size=20 * count)
        versions = len(mos) // (codes[-1] + 1)
        other = codes[first] * versions + rng.integers(versions, size=len(first))
        if not same:
            other = rng.integers(len(mos), size=len(first))
        apart = (first != other) & ((codes[first] == codes[other]) == same)
        chosen = zip(first[apart][:count].tolist(), other[apart][:count].tolist(), strict=True)
        pairs.append([(str(a), str(b), 1 if felt[a] >= felt[b] else 2) for a, b in chosen])
    return kvq_rows([str(row) for row in range(len(mos))], RankedPairs(Path(), *pairs))


def intervals(
    estimate: float, left_out: np.ndarray, drawn: np.ndarray, difference: bool
) -> Iterator[tuple[str, Ends]]:
    """Each method's ends.

    Args:
        estimate: of everything.
        left_out: (G,) of everything but one content.
        drawn: (B,) of bootstrap draws.
        difference: of two correlations, not a correlation.
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
    forward, back = (np.arctanh, np.tanh) if not difference else (np.positive, np.positive)
    safe = np.clip(drawn, -1 + 1e-12, 1 - 1e-12)
    error = np.sqrt(count / (count - 1)) * forward(safe).std(ddof=1)
    reach = student_t.ppf(tails, count - 1) * error
    yield "bootstrap error, t", tuple(back(forward(estimate) + reach))
    if difference:
        error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
        yield (
            "jackknife of the difference, t",
            tuple(estimate + student_t.ppf(tails, count - 1) * error),
        )


def run(
    contents: int, versions: int, case: Case, simulations: int, draws: int, names: Sequence[str]
) -> dict[tuple[str, str], np.ndarray]:
    """What happened, by method and statistic.

    Args:
        draws: of the bootstraps; 0 leaves out all methods but the one that is used.

    Returns:
        Rates of being right, of lying above and below the truth, mean width, the rate of telling
        two models apart, 1; of the simulations in which there was an interval.
    """
    rng = np.random.default_rng(0)
    truth = _truth(versions, case, names)
    codes = np.repeat(np.arange(contents), versions)
    found: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(6))
    for _ in range(simulations):
        first, second, mos = simulate(rng, contents, versions, case)
        drawn = rng.multinomial(contents, np.full(contents, 1 / contents), draws)
        taken = np.concatenate(
            [np.ones((1, contents)), 1 - np.eye(contents), drawn.astype(np.float64)]
        )
        for name in names:
            statistic = challenge(rng, mos, codes, RANKED) if name == "kvq" else name
            one = statistic_of_groups(statistic, first, mos, codes, taken)
            without = one[1 : contents + 1]
            of = {name: one}
            jackknife = {name: jackknife_ends(one[0], without, statistic)}
            if name in DIFFERENCES:
                two = statistic_of_groups(statistic, second, mos, codes, taken)
                both = two[1 : contents + 1], without
                of[f"{name} difference"] = two - one
                jackknife[f"{name} difference"] = paired_ends((two[0], one[0]), both, statistic)
            for what, values in of.items():
                drawn_values = values[contents + 1 :]
                drawn_values = drawn_values[np.isfinite(drawn_values)]
                left_out = values[1 : contents + 1]
                others = intervals(values[0], left_out, drawn_values, what != name)
                ends = [*(others if draws else ()), ("jackknife, t", jackknife[what])]
                for method, (low, high) in ends:
                    if np.isnan(low):
                        continue
                    right = low <= truth[what] <= high
                    told = what != name and (low > 0 or high < 0)
                    above, below = low > truth[what], high < truth[what]
                    found[method, what] += right, above, below, high - low, told, 1
    return {key: value / value[5] for key, value in found.items()}


def _truth(versions: int, case: Case, names: Sequence[str]) -> dict[str, float]:
    """The first predictor's statistics, and the second's minus these, of very many contents."""
    many = 100_000
    first, second, mos = simulate(np.random.default_rng(1), many, versions, case)
    codes, all_once = np.repeat(np.arange(many), versions), np.ones((1, many))

    ranked = challenge(np.random.default_rng(2), mos, codes, (many, many))

    def of(name: str, x: np.ndarray) -> float:
        statistic = ranked if name == "kvq" else name
        return float(statistic_of_groups(statistic, x, mos, codes, all_once)[0])

    found = {name: of(name, first) for name in names}
    both = [name for name in names if name in DIFFERENCES]
    return found | {f"{name} difference": of(name, second) - found[name] for name in both}


def main() -> None:
    """Print a table for each number of contents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contents", type=int, nargs="+", default=[16, 60, 122])
    parser.add_argument("--versions", type=int, choices=(1, 7), default=7)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=400, help="bootstrap draws")
    parser.add_argument("--used", action="store_true", help="no method but the one that is used")
    parser.add_argument(
        "--statistics", nargs="+", choices=(*STATISTICS, "kvq"), default=list(COMPARED)
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    if not options.used and not set(options.statistics) <= set(COMPARED):
        parser.error(f"methods are compared for {', '.join(COMPARED)}; for others: --used")
    draws = 0 if options.used else options.draws
    columns = [
        column
        for name in options.statistics
        for column in (name, *([f"{name} difference"] if name in DIFFERENCES else []))
    ]
    for contents in options.contents:
        versions, names, simulations = options.versions, options.statistics, options.simulations
        cases = {
            name: run(contents, versions, CASES[name], simulations, draws, names)
            for name in options.cases
        }
        print(f"\n{contents} contents of {options.versions}: % right (mean width); % told apart\n")
        print(f"| case | method | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
        for name, rates in cases.items():
            for method in dict.fromkeys(method for method, _ in rates):
                cells = [rates.get((method, what), np.full(6, np.nan)) for what in columns]
                told = " | ".join(
                    f"{100 * cell[0]:.1f} ({cell[3]:.3f})"
                    + f"; {100 * cell[4]:.1f}" * what.endswith("difference")
                    for what, cell in zip(columns, cells, strict=True)
                )
                print(f"| {name} | {method} | {told} |", flush=True)


if __name__ == "__main__":
    main()
