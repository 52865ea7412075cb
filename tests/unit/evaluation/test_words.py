"""Names, verdicts and printed tables of an evaluation."""

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import ConfigError
from distill.evaluation.agreement import STATISTICS, agreement
from distill.evaluation.comparisons import compare, verdict
from distill.evaluation.names import short_names
from distill.evaluation.telling import BY_CHANCE, aligned, by_chance, notes_of, told, without_notes
from distill.metrics import plcc, srcc
from distill.resampling import FEW_CONTENTS, Interval

PART = st.sampled_from(["a", "b", "bundle", "manifest", "run", "train_student"])
PATH = st.lists(PART, min_size=1, max_size=5).map(lambda parts: Path("/", *parts))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/r/train_student/a/bundle", "/r/train_teacher/a/bundle"], "train_student train_teacher"),
        (["/r/train_student/a/bundle", "/r/train_student/b/bundle"], "a b"),
        (["/r/s/a/bundle", "/r/t/a/bundle", "/r/t/b/bundle"], "s/a t/a t/b"),
        (["/data/real/manifest"], "real"),
        (["/data/real/manifest", "/data/demo/manifest"], "real demo"),
        (["/data/real/manifest", "/data/real/other"], "real other"),
        (
            [
                "/r/train_student/2026-11-28_12-28-54-709551/bundle",
                "/r/train_teacher/2026-11-28_12-27-34-869164/bundle",
            ],
            "train_student train_teacher",
        ),
        (
            ["/r/s/2026-11-28_12-28-54/bundle", "/r/s/2026-11-29_12-28-54/bundle"],
            "2026-11-28_12-28-54 2026-11-29_12-28-54",
        ),
        (["/bundle"], "bundle"),
        (["/a/bundle", "/a"], "bundle a"),
    ],
)
def test_names_are_short(paths: list[str], names: str) -> None:
    assert short_names([Path(path) for path in paths], "bundles") == names.split()


@given(st.lists(PATH, min_size=1, max_size=6, unique=True))
def test_names_are_unique_and_none_is_empty(paths: list[Path]) -> None:
    names = short_names(paths, "bundles")
    assert len(set(names)) == len(paths) and all(names)


def test_a_path_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="manifests: /a/x is given twice"):
        short_names([Path("/a/x"), Path("/b"), Path("/a/x")], "manifests")


@pytest.mark.parametrize(
    ("low", "high", "contents", "text"),
    [
        (0.004, 0.021, 60, "A is better than B on X: SRCC +0.012 [0.004, 0.021] (paired, 95% over"),
        (-0.021, -0.004, 60, "B is better than A on X: SRCC +0.012 [0.004, 0.021] (paired, 95%"),
        (-0.004, 0.021, 60, "A and B are not told apart on X: SRCC +0.012 [-0.004, 0.021]"),
        (0.0, 0.0, 60, "A and B are not told apart on X: SRCC"),
        (0.004, 0.021, FEW_CONTENTS - 1, f"where {FEW_CONTENTS} are needed"),
        (math.nan, math.nan, 1, "of 1 content, where"),
    ],
)
def test_verdicts(low: float, high: float, contents: int, text: str) -> None:
    estimate = -0.012 if high < 0 else 0.012
    found = verdict("A", "B", "X", "srcc", Interval(low, high, estimate, contents))
    assert text in found
    if contents < FEW_CONTENTS:
        assert "better" not in found


def test_a_verdict_says_what_a_model_knows_of_the_table() -> None:
    scores, mos, groups = data(2)
    notes = {"m0": "m0 learned from 3 of these 84 videos", "m1": ""}
    for row in compare(scores, mos, groups, "X", notes):
        assert row["verdict"].startswith("m0 is better than m1 on X")
        assert row["verdict"].endswith("; but m0 learned from 3 of these 84 videos")
    alike = {"m0": mos, "m1": np.exp(mos).tolist()}
    text = compare(alike, mos, groups, "X")[0]["verdict"]
    assert text.endswith(
        "not told apart on X: SRCC +0.000 of 12 contents, and there is no interval"
    )


def test_constant_scores_are_told() -> None:
    _, mos, groups = data(1)
    assert agreement([3.0] * 84, mos, groups)["warning"] == "the scores or the MOS are constant"


def test_an_undefined_difference_is_no_verdict() -> None:
    nothing = Interval(math.nan, math.nan, math.nan, 9)
    assert "cannot be compared" in verdict("A", "B", "X", "plcc", nothing)


def data(models: int) -> tuple[dict[str, list[float]], list[float], list[str]]:
    rng = np.random.default_rng(5)
    mos = rng.normal(3, 0.6, 84)
    scores = {
        f"m{k}": (mos + (0.1 + 0.5 * k) * rng.normal(size=84)).tolist() for k in range(models)
    }
    return scores, mos.tolist(), [f"c{i // 7}" for i in range(84)]


def test_every_pair_is_compared_by_both_correlations() -> None:
    scores, mos, groups = data(3)
    rows = compare(scores, mos, groups, "X")
    wanted = [(*pair, s) for pair in combinations(scores, 2) for s in ("srcc", "plcc")]
    assert [(row["first"], row["other"], row["statistic"]) for row in rows] == wanted
    for row in rows:
        f = {"srcc": srcc, "plcc": plcc}[row["statistic"]]
        expected = f(scores[row["first"]], mos) - f(scores[row["other"]], mos)
        assert row["difference"] == pytest.approx(expected)
        assert row["low"] < row["difference"] < row["high"] and row["contents"] == 12
    assert rows[0]["verdict"].startswith("m0 is better than m1 on X: SRCC +")


def test_a_row_has_an_interval_of_every_number() -> None:
    scores, mos, groups = data(1)
    row = agreement(scores["m0"], mos, groups)
    assert set(row["intervals"]) == set(STATISTICS)
    for name, (low, high) in row["intervals"].items():
        assert low <= row[name] <= high, name
    assert [row["low"], row["high"]] == row["intervals"]["srcc"]
    assert row["rmse"] <= row["rmse_raw"] and row["warning"] == ""
    few = agreement(scores["m0"][:21], mos[:21], groups[:21])
    assert few["warning"].startswith("only 3 contents")


def test_a_verdict_that_depends_on_the_scale_says_so() -> None:
    scores, mos, groups = data(2)
    percent = {**scores, "m1": [20 * score for score in scores["m1"]]}
    plain = compare(scores, mos, groups, "X")
    found = compare(percent, mos, groups, "X", foreign=["m1"])
    assert [row["verdict"] for row in found] == [
        plain[0]["verdict"], f"{plain[1]['verdict']}; but m1 has another scale"
    ]  # fmt: skip
    both = compare(percent, mos, groups, "X", foreign=["m0", "m1"])[1]["verdict"]
    assert both.endswith("; but m0 and m1 have another scale")


def test_chance_is_told_of_several_pairs_with_intervals() -> None:
    scores, mos, groups = data(3)
    pairs = compare(scores, mos, groups, "X")
    assert by_chance(pairs) == f"6 comparisons, each with an interval of its own: {BY_CHANCE}"
    assert by_chance(pairs[:2]) == by_chance([]) == ""
    for pair in pairs[2:]:
        pair["low"] = math.nan
    assert by_chance(pairs) == ""


def test_tables_are_aligned() -> None:
    lines = aligned(["name", "n"], [["a", "1"], ["longer", "-10.5"]]).splitlines()
    assert lines == ["name        n", "a           1", "longer  -10.5"]


def test_a_note_names_its_model_whatever_that_is_called() -> None:
    rows = [{"name": "in", "table_name": "X", "notes": ["no interval"]}]
    rows += [{"name": "b", "table_name": "X", "notes": ["b learned from X"]}]
    assert notes_of(rows) == ["in on X: no interval", "b learned from X"]


def test_a_note_of_several_models_is_one() -> None:
    rows = [
        {"name": name, "table_name": "X", "notes": [f"{name} learned from X", "few contents"]}
        for name in ("a", "b", "c", "in")
    ]
    rows[2]["notes"] = ["few contents", "c knows X", "no interval"]
    rows[3]["notes"] = [
        "it is not known whether in has learned in X",
        "few contents",
        "no interval",
    ]
    assert notes_of(rows) == [
        "X: few contents", "Each of a, b learned from X", "c knows X",
        "Each of c, in on X: no interval", "it is not known whether in has learned in X",
    ]  # fmt: skip
    rows[0]["notes"] = ["it is not known whether a has learned in X"]
    assert "it is not known whether each of a, in has learned in X" in notes_of(rows)


def test_a_verdict_points_at_the_notes_that_it_repeats() -> None:
    notes = ["a learned from X", "b learned from X"]
    assert without_notes("a is better; but a learned from X; but b learned from X", notes) == (
        "a is better; but see the notes above"
    )
    assert without_notes("a is better", notes) == "a is better"
    assert without_notes("a is better; but z", notes) == "a is better; but z"


def test_of_several_pairs_the_sure_have_a_sentence_and_all_a_row() -> None:
    scores, mos, groups = data(3)
    pairs = compare(scores, mos, groups, "X")
    result = {"rows": [], "pairs": pairs, "breakdowns": [], "worst": []}
    for pair in pairs[2:]:
        pair |= {"difference": 0.25, "low": -0.125, "high": 0.5}
    pairs[-1] |= {"low": 0.125, "contents": FEW_CONTENTS - 1}
    sure = [pair["verdict"] for pair in pairs[:2]]
    lines = told(result, [], worst=False).splitlines()
    assert [line for line in lines if "is better than" in line] == sure
    rows = [line.split() for line in lines if line.startswith(("first", "m0", "m1"))][2:]
    assert rows[0][:3] == ["first", "minus", "table"] and len(rows) == 4
    assert rows[1][:3] == ["m0", "m1", "X"] and rows[1].count("*") == 2
    assert rows[2] == "m0 m2 X +0.250 [-0.125, 0.500] +0.250 [-0.125, 0.500]".split()
    assert rows[3] == "m1 m2 X +0.250 [-0.125, 0.500] +0.250 [0.125, 0.500]".split()
    result["pairs"] = pairs[2:]
    assert "\n\nno two models are told apart" in told(result, [], worst=False)


def test_what_is_printed() -> None:
    scores, mos, groups = data(3)
    rows = [
        {"name": name, "table_name": "X", "gmacs": 1.0, "plot": f"{name}.png", "calibrated": True}
        | agreement(values, mos, groups)
        for name, values in scores.items()
    ]
    for row in rows:
        row["notes"] = ["no column group"]
    rows[1]["notes"] += ["m1 learned from X", "no interval"]
    rows[2]["srcc"] = math.nan
    part = {"name": "m0", "table_name": "X", "column": "by", "value": "", "n": 3, "contents": 1,
            "srcc": math.nan, "low": math.nan, "high": math.nan, "plcc": math.nan,
            "rmse_raw": 0.5, "bias": -0.25, "warning": "only 3 videos"}  # fmt: skip
    bad = {"name": "m0", "table_name": "X", "video": "v.mp4", "mos": 3.0, "score": 1.0,
           "residual": -2.0}  # fmt: skip
    result = {"rows": rows, "pairs": compare(scores, mos, groups, "X"), "breakdowns": [part],
              "worst": [bad]}  # fmt: skip
    text = told(result, ["by"], worst=True)
    assert [line for line in text.splitlines() if line.startswith("note: ")] == [
        "note: X: no column group", "note: m1 learned from X", "note: m1 on X: no interval",
    ]  # fmt: skip
    for words in ( "m0 is better than m1", "(empty)", "-0.250",
                  "only 3 videos", "v.mp4", "plot: m2.png", "6 comparisons"):  # fmt: skip
        assert words in text
    assert "nan" not in text
    assert "by=kind: all videos of a table have one value" in told(result, ["kind"], worst=False)
    quiet = told(result | {"pairs": []}, [], worst=False)
    assert "v.mp4" not in quiet and "(empty)" not in quiet and "comparisons" not in quiet
