"""Intervals and comparisons of the KVQ challenge's score, against its plain computation."""

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from distill.datasets.kvq import content_of
from distill.evaluation.telling import BY_CHANCE
from distill.kvq.__main__ import run
from distill.kvq.files import RankedPairs
from distill.kvq.intervals import kvq_rows
from distill.kvq.scoring import score_named
from distill.resampling import FEW_CONTENTS, difference_over_contents, interval_over_contents

CONTENTS = 12


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, float], dict[str, dict[str, float]], RankedPairs]:
    """Truth, three predictions and ranked pairs of 12 contents under KVQ's names."""
    rng = np.random.default_rng(0)
    names = [f"test/{number:04d}.mp4" for number in range(1, 7 * CONTENTS + 1)]
    truth = dict(zip(names, np.round(rng.uniform(1, 5, len(names)) * 36) / 36, strict=True))
    errors = rng.normal(size=len(names))
    predicted = {
        name: {
            video: round(mos + scale * error, 1)  # so that some are ties
            for (video, mos), error in zip(truth.items(), errors, strict=True)
        }
        for name, scale in (("good", 0.3), ("fair", 0.5), ("poor", 2.0))
    }
    every = list(combinations(names, 2))

    def ranked(same: bool) -> list[tuple[str, str, int]]:
        pairs = [pair for pair in every if (content_of(pair[0]) == content_of(pair[1])) == same]
        chosen = rng.choice(len(pairs), 60, replace=False)
        told = [pairs[at] for at in chosen]
        return [(one, two, 1 if truth[one] > truth[two] else 2) for one, two in told]

    return truth, predicted, RankedPairs(Path("pairs"), ranked(True), ranked(False))


def test_contents_of_names() -> None:
    names = {"test/0001.mp4": "test/0001", "test/0007.mp4": "test/0001", "val/0008": "val/0008"}
    assert {name: content_of(name) for name in names} == names
    assert content_of("0014.mp4") == "/0008" and content_of("clips/a.mp4") is None


def test_the_score_without_a_content_is_that_of_the_rest(made) -> None:
    truth, predicted, pairs = made
    names = list(truth)
    groups = [content_of(name) for name in names]
    codes = np.unique(groups, return_inverse=True)[1]
    x, mos = (np.array([column[name] for name in names]) for column in (predicted["fair"], truth))
    rows = kvq_rows(names, pairs)
    assert rows(x, mos, codes, np.ones((1, CONTENTS))) == pytest.approx(
        score_named(predicted["fair"], truth, pairs).score, abs=1e-12
    )
    left_out = rows(x, mos, codes, 1 - np.eye(CONTENTS))
    for code, found in enumerate(left_out):
        rest = {name: truth[name] for name, own in zip(names, codes, strict=True) if own != code}
        some = [
            [pair for pair in kind if pair[0] in rest and pair[1] in rest]
            for kind in (pairs.source, pairs.nonsource)
        ]
        assert len(some[1]) < len(pairs.nonsource)
        expected = score_named(predicted["fair"], rest, RankedPairs(pairs.path, *some)).score
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_content_that_is_drawn_twice_counts_twice(made) -> None:
    truth, predicted, pairs = made
    names = list(truth)
    codes = np.arange(len(names)) // 7
    x, mos = (np.array([column[name] for name in names]) for column in (predicted["poor"], truth))
    times = np.array([2, 0, 3, 1] + [1] * (CONTENTS - 4))
    found = kvq_rows(names, pairs)(x, mos, codes, times[None].astype(float))[0]
    copies = np.repeat(np.arange(len(names)), times[codes])
    at = {name: row for row, name in enumerate(names)}

    def share(kind, of_one_content: bool) -> float:
        """Each copy of a content holds its own pairs; two contents meet in all their copies."""
        right = []
        for one, two, rank in kind:
            a, b = times[codes[at[one]]], times[codes[at[two]]]
            told = (1 if predicted["poor"][one] >= predicted["poor"][two] else 2) == rank
            right += [told] * int(a if of_one_content else a * b)
        return float(np.mean(right))

    expected = 0.45 * stats.spearmanr(x[copies], mos[copies])[0]
    expected += 0.45 * stats.pearsonr(x[copies], mos[copies])[0]
    expected += 0.05 * (share(pairs.source, True) + share(pairs.nonsource, False))
    assert found == pytest.approx(expected, abs=1e-12)


def write(folder: Path, made) -> tuple[list[str], list[str]]:
    """Predictions, and the words that name truth and pairs."""
    truth, predicted, pairs = made
    for name, column in {**predicted, "truth": truth}.items():
        rows = "\n".join(f"{video},{value}" for video, value in column.items())
        (folder / f"{name}.csv").write_text(f"filename,score\n{rows}\n")
    for name in ("source", "nonsource"):
        rows = "\n".join(f"{one},{two},{rank}" for one, two, rank in getattr(pairs, name))
        (folder / f"{name}.csv").write_text(f"video1,video2,rank\n{rows}\n")
    files = [str(folder / f"{name}.csv") for name in predicted]
    return files, ["--truth", str(folder / "truth.csv"), "--pairs", str(folder)]


def test_the_command_compares_predictions(made, tmp_path: Path, capsys) -> None:
    truth, predicted, pairs = made
    files, words = write(tmp_path, made)
    assert run(["score", *files, *words]) == 0
    out = capsys.readouterr()
    lines = out.out.splitlines()
    assert lines[0].split()[:2] == ["prediction", "score"] and out.err == ""
    groups = [content_of(name) for name in truth]
    columns = {name: [column[video] for video in truth] for name, column in predicted.items()}
    rows = kvq_rows(list(truth), pairs)
    for line, (name, column) in zip(lines[1:4], columns.items(), strict=True):
        of = interval_over_contents(column, list(truth.values()), groups, rows)
        ends = [f"[{of.low:.3f},", f"{of.high:.3f}]"]
        assert line.split()[:4] == [f"{name}.csv", f"{of.estimate:.4f}", *ends]
    both = columns["good"], columns["poor"]
    of = difference_over_contents(*both, list(truth.values()), groups, rows)
    assert of.low > 0
    assert (
        f"good.csv is better than poor.csv on KVQ: KVQ score +{of.estimate:.3f} [{of.low:.3f},"
        f" {of.high:.3f}] (paired, 95% over 12 contents)"
    ) in lines
    assert f"9 comparisons, each with an interval of its own: {BY_CHANCE}" in lines
    assert lines[-1] == "84 videos of 12 contents, 60 pairs of different contents, 60 of the same"
    assert run(["score", *files, *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["rows"]] == ["good.csv", "fair.csv", "poor.csv"]
    assert len(found["pairs"]) == 9 and found["pairs"][3]["statistic"] == "kvq"


def test_one_prediction_has_an_interval(made, tmp_path: Path, capsys) -> None:
    (_, fair, _), words = write(tmp_path, made)
    assert run(["score", fair, *words, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["low"] < row["score"] < row["high"] and row["contents"] == CONTENTS > FEW_CONTENTS
    assert run(["score", fair, *words]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"score {row['score']:.4f} [{row['low']:.3f}, {row['high']:.3f}] = 0.45")


def test_other_names_have_no_interval_and_say_so(made, tmp_path: Path, capsys) -> None:
    files, words = write(tmp_path, made)
    for path in tmp_path.glob("*.csv"):
        path.write_text(path.read_text().replace("test/", "clip"))
    assert run(["score", *files[:2], *words, "--json"]) == 0
    out = capsys.readouterr()
    assert out.err == (
        "note: no intervals: 'clip0001.mp4' is no name of KVQ's, so nobody knows which videos"
        " share a source\n"
    )
    found = json.loads(out.out)
    assert found["pairs"] == [] and found["rows"][0]["low"] is None
    # Without a pair of a kind there is no score, as where no content but one has any.
    truth, _, pairs = made
    one = RankedPairs(pairs.path, pairs.source[:1], pairs.nonsource)
    codes = np.arange(len(truth)) // 7
    mos = np.array(list(truth.values()))
    without = kvq_rows(list(truth), one)(mos, mos, codes, 1 - np.eye(CONTENTS))
    assert sum(map(math.isnan, without)) == 1
