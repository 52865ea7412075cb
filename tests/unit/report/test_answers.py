"""What the first screen says, from made results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from distill.report.answers import COMPARED, GOOD, NEXT, TRUST, of_evaluation
from distill.report.answers_of_runs import of_labels, of_sweep, of_training
from distill.report.blocks import Answers
from distill.report.folder import RunFolder, read_folder
from distill.report.headline import headline
from distill.report.subjects import Subject, Video
from distill.report.verdicts import comparisons
from distill.stages.overlap import told
from tests.helpers import report_folders as made


def model(name: str, srcc: float, gmacs: float = 2.0, **row: Any) -> Subject:
    """A model on table T, 40 videos of 20 contents, MOS 1 and 5, scores as it says."""
    videos = [Video(f"v{k}", "", f"c{k // 2}", 1.0 + 4 * (k % 2), 3.0) for k in range(40)]
    found = {"bundle": f"/runs/{name}/bundle", "srcc": srcc, "low": srcc - 0.1, "high": srcc + 0.05,
             "rmse_raw": 0.5, "gmacs": gmacs, "n": 40, "contents": 20, "notes": []}  # fmt: skip
    return Subject(name, "T", "test", found | row, videos)


def pair(first: str, other: str, low: float, high: float, contents: int = 20) -> dict[str, Any]:
    return {"first": first, "other": other, "table_name": "T", "statistic": "srcc",
            "difference": (low + high) / 2, "low": low, "high": high, "contents": contents,
            "verdict": ""}  # fmt: skip


def answers(subjects: list[Subject], *pairs: dict[str, Any], **result: Any) -> dict[str, str]:
    run = RunFolder(Path("/r"), "evaluate", {"pairs": list(pairs), **result}, subjects=subjects)
    return texts(of_evaluation(run))


def texts(found: Answers | None) -> dict[str, str]:
    assert found is not None
    assert [question for question, _ in found.items] == [GOOD, COMPARED, TRUST, NEXT]
    return {question: " ".join(map(str, sentences)) for question, sentences in found.items}


def test_a_model_that_is_shown_to_be_better_is_deployed() -> None:
    found = answers([model("a", 0.7), model("b <i> c", 0.9)], pair("a", "b <i> c", -0.3, -0.1))
    assert found[GOOD].startswith("b <i> c, SRCC 0.900 [0.800, 0.950], typical error 0.50 MOS")
    assert "b <i> c is shown to be better than a." in found[COMPARED]
    assert "The mean MOS for every video would be an error of 2.00" in found[COMPARED]
    assert found[TRUST] == "40 videos of 20 contents; the 95% interval of an SRCC is 0.15 wide."
    line = "python export.py --bundle &#39;/runs/b &lt;i&gt; c/bundle&#39;"
    assert f"<code>{line}</code>" in found[NEXT]


def test_the_score_of_the_challenge_comes_first() -> None:
    rows = [
        {"name": name, "table_name": table, "score": score, "low": 0.81, "high": 0.93}
        for name, table, score in (("a", "T", 0.85), ("b", "T", 0.88), ("c", "other", 0.99))
    ]
    subjects = [model("a", 0.9), model("b", 0.8)]
    found = answers(subjects, kvq=[*rows, rows[0] | {"score": None}])[GOOD]
    assert found.startswith("b, KVQ score 0.8800 [0.810, 0.930]. a, SRCC 0.900")
    assert "KVQ" not in answers(subjects)[GOOD]


def test_scores_of_a_file_are_not_deployed() -> None:
    theirs = model("theirs.csv", 0.9, float("nan"), role="scores", calibrated=False, rmse_raw=90.0)
    found = answers([model("a", 0.7), theirs], pair("a", "theirs.csv", -0.3, -0.1))
    assert found[GOOD] == "theirs.csv, SRCC 0.900 [0.800, 0.950]."  # no error, no cost
    assert "theirs.csv is shown to be better than a." in found[COMPARED]
    assert "export.py" not in found[NEXT] and "mean MOS" not in found[COMPARED]


def test_a_model_without_srcc_is_not_comparable() -> None:
    constant = pair("a", "const.csv", 0, 0) | dict.fromkeys(("difference", "low", "high"))
    subjects = [model("a", 0.9), model("const.csv", 0.1, low=None), model("b", 0.5)]
    subjects[1].row["srcc"] = None
    found = answers(subjects, constant, pair("a", "b", 0.1, 0.3))
    assert "a is shown to be better than b, and not comparable with const.csv." in found[COMPARED]
    assert "told apart" not in found[COMPARED] and "export.py" in found[NEXT]
    run = RunFolder(Path("/r"), "evaluate", {"pairs": [constant]}, subjects=subjects)
    run.result["pairs"] *= 3  # more than sentences: a table
    assert {row[-1].text for row in comparisons(run)[0].rows} == {"not defined"}


@pytest.mark.parametrize("low", [-0.05, 0.0])
def test_a_model_that_may_order_nothing_is_not_deployed(low: float) -> None:
    found = answers([model("a", 0.2, low=low)])[NEXT]
    assert "export.py" not in found and "a is not shown to order videos as people do" in found
    assert "export.py" in answers([model("a", 0.2, low=0.01)])[NEXT]


def test_intervals_of_several_widths_are_told_by_the_widest() -> None:
    found = answers([model("a", 0.7), model("b", 0.8, low=0.3)], pair("a", "b", -0.1, 0.3))
    assert "the 95% interval of an SRCC is up to 0.55 wide." in found[TRUST]


def test_an_error_on_another_scale_is_not_shown_in_mos() -> None:
    theirs = model("theirs.csv", 0.9, calibrated=False, rmse_raw=56.5)
    run = RunFolder(Path("/r"), "evaluate", {}, subjects=[model("a", 0.7), theirs])
    for subjects in (run.subjects, [theirs]):
        run.subjects = subjects
        assert "56.5" not in str(headline(run))


@pytest.mark.parametrize(
    "difference", [pair("best", "cheap", -0.02, 0.12), pair("cheap", "best", -0.12, 0.02)]
)
def test_the_cheapest_that_is_not_told_apart_has_its_risk(difference: dict[str, Any]) -> None:
    found = answers([model("best", 0.9, 3.0), model("cheap", 0.85, 0.5)], difference)
    assert "best is not told apart from cheap." in found[COMPARED]
    assert (
        "cheap takes 0.5 GMACs where best takes 3; its SRCC may be up to 0.12 lower"
        in (found[COMPARED])
    )
    assert "More contents tell models apart" in found[NEXT] and "export" not in found[NEXT]
    same = answers([model("best", 0.9, 3.0), model("other", 0.85, 2.9)], difference)
    assert "takes" not in same[COMPARED]


def test_of_few_contents_nothing_is_told_apart() -> None:
    few = pair("a", "b", 0.1, 0.3, contents=6)
    found = answers([model("a", 0.9, contents=6), model("b", 0.7, 0.1, contents=6)], few)
    assert "not told apart from b" in found[COMPARED] and "lower" not in found[COMPARED]
    assert found[TRUST] == "40 videos of 6 contents: too few, 10 contents are needed."
    assert found[NEXT].startswith("Add videos of other contents")


def test_a_table_that_a_model_knows_is_no_test() -> None:
    """In the words that evaluate notes."""
    notes = {name: told(name, "T", {0: "train"}, 40) for name in "ab"}
    known = [model(name, 0.8, notes=[notes[name]]) for name in "ab"]
    assert answers(known, pair("a", "b", 0, 0.1))[TRUST].startswith("No, every model was trained")
    found = answers([known[0], model("b", 0.9)], pair("a", "b", -0.3, -0.1))
    assert found[TRUST].startswith("No, a was trained or chosen on videos of this table.")
    assert found[NEXT].startswith("Test on videos that no model knows: split=test")


def test_a_model_of_unknown_origin_is_told() -> None:
    note = told("a", "T", {}, 40, unknown="its run is not here")
    assert "It is not known whether" in answers([model("a", 0.8, notes=[note])])[TRUST]


def test_an_error_above_that_of_the_mean_is_told() -> None:
    assert (
        "Worse than the mean MOS for every video, an error of 2.00"
        in answers([model("a", 0.9, rmse_raw=2.1)])[COMPARED]
    )


def test_the_kind_that_is_most_off_is_told_of_the_best_model() -> None:
    def kind(name: str, value: str, bias: float, n: int, column: str = "codec") -> dict[str, Any]:
        return {"name": name, "table_name": "T", "column": column, "value": value, "n": n,
                "bias": bias}  # fmt: skip

    rows = [kind("a", "h264", 0.1, 20), kind("a", "vp9", -0.4, 12), kind("a", "few", 2.0, 9),
            kind("b", "h264", 1.0, 20), kind("a", "up to 24 fps", 3.0, 20, "fps")]  # fmt: skip
    found = answers([model("a", 0.9), model("b", 0.8)], pair("a", "b", -0.1, 0.2), breakdowns=rows)
    assert "a scores codec = vp9 0.40 MOS too low on average (12 videos)." in found[NEXT]


def test_several_tables_have_a_line_each() -> None:
    other = model("a", 0.6)
    other.table = "U"
    found = answers([model("a", 0.9), model("b", 0.8), other], pair("a", "b", 0.05, 0.2))
    assert "T, test: a, SRCC 0.900" in found[GOOD] and "U, test: a, SRCC 0.600" in found[GOOD]
    assert "T, test: a is shown to be better than b." in found[COMPARED]
    assert "export" in found[NEXT]
    lost = pair("a", "b", -0.3, -0.1) | {"table_name": "U"}
    found = answers([model("a", 0.9), model("b", 0.8), other], pair("a", "b", 0.05, 0.2), lost)
    assert "export" not in found[NEXT]
    constant = model("c", 0.5)
    constant.row["srcc"] = None
    assert "no SRCC is defined" in answers([constant])[GOOD]


def test_a_student_quotes_its_test_and_stands_beside_its_teacher(tmp_path: Path) -> None:
    teacher, run = made.student(tmp_path / "teacher"), made.student(tmp_path / "my run")
    store = made.labels(tmp_path / "labels", teacher) / "store"
    made.dump(run / "inputs.json", {"labels": str(store)})
    found = texts(of_training(read_folder(run)))
    assert "SRCC 0.900 [0.700, 0.950]" in found[GOOD] and "budget is 120" in found[GOOD]
    assert "The student and its teacher are not told apart on validation" in found[COMPARED]
    assert "Quote the test: validation (SRCC 0.900)" in found[TRUST]
    assert "my run/bundle&#39;,OTHER]" in found[NEXT]
    labels = texts(of_labels(read_folder(tmp_path / "labels")))
    assert "30 of 33 videos have a label. Scores from 2.00 to 4.90." in labels[GOOD]
    assert "MOS of the teacher's validation: 1.20 to 4.80." in labels[COMPARED]
    assert "No more than the teacher, on its validation: SRCC 0.900" in labels[TRUST]
    assert "3 videos failed" in labels[NEXT] and "train_student.py +budget=120" in labels[NEXT]


def test_a_validation_alone_is_not_to_be_trusted_and_has_an_interval(tmp_path: Path) -> None:
    run = read_folder(made.student(tmp_path / "run"))
    val = next(s for s in run.subjects if s.split == "val")
    assert -1 < val.row["low"] < val.row["high"] < 1  # of its own videos
    run.subjects = [val]
    assert texts(of_training(run))[TRUST].startswith("Not yet: validation chose and calibrated")


def test_a_sweep_names_its_best_and_its_cheapest(tmp_path: Path) -> None:
    run = read_folder(made.sweep(tmp_path / "sweep"))
    found = texts(of_sweep(run))
    assert found[GOOD] == "By validation budget=5: SRCC 0.830 at 4.6 GMACs a video."
    assert "The cheapest is budget=1: SRCC 0.800 at 0.9" in found[COMPARED]
    assert "2 students trained, 1 not" in found[COMPARED]
    run.sweep = [row for row in run.sweep if row["run"] != "budget=1"]
    assert "python export.py --bundle /b" in texts(of_sweep(run))[NEXT]
    run.sweep = [row for row in run.sweep if row["error"]]
    assert of_sweep(run) is None


def test_of_kinds_only_those_with_a_number_are_drawn() -> None:
    from distill.report.kind_plots import by_kind

    rows: list[Mapping[str, Any]] = [
        {"name": "a", "value": "blur", "n": 3, "srcc": None, "bias": 0.2},
        {"name": "a", "value": "noise", "n": 30, "srcc": 0.5, "low": 0.2, "high": 0.7, "bias": 0.1},
        {"name": "b", "value": "noise", "n": 30, "srcc": 0.6, "low": None, "high": None, "bias": 0},
    ]
    drawn = by_kind([dict(row) for row in rows], ["a", "b"], "srcc", "SRCC", 0.0)
    assert ">blur<" not in drawn and ">noise<" in drawn
    assert drawn.count("data-tip") == 2 and drawn.count("whisker") == 1
    bias = by_kind([dict(row) for row in rows], ["a", "b"], "bias", "score − MOS", 0.0)
    assert ">blur<" in bias and bias.count("data-tip") == 3 and "whisker" not in bias
