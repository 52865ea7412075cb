"""The KVQ challenge's score from files, against scipy, a plain loop and hand-worked numbers."""

import math
import sys
from itertools import combinations, pairwise, product
from pathlib import Path

import numpy as np
import pytest
from openpyxl import Workbook
from scipy import stats

from distill.errors import ManifestError
from distill.kvq.__main__ import run
from distill.kvq.files import RankedPairs, read_pairs, read_scores
from distill.kvq.scoring import kvq_row, score_named


def write_scores(path: Path, scores: dict[str, object], header: str = "filename,score") -> Path:
    path.write_text("\n".join([header, *(f"{name},{score}" for name, score in scores.items())]))
    return path


def write_book(path: Path, **sheets: list[tuple]) -> Path:
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


HEADER = ("video1", "video2", "rank")


@pytest.fixture()
def hand(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Prediction, truth and pairs of four videos; worked by hand in the test."""
    predicted = write_scores(tmp_path / "prediction.csv", {"a": 3, "b": 1, "c": 2, "d": 2})
    truth = write_scores(tmp_path / "truth.csv", {"a": 4, "b": 1, "c": 3, "d": 2})
    pairs = write_book(
        tmp_path / "pairs.xlsx",
        source=[HEADER, ("d", "c", 2), ("b", "a", 2)],
        nonsource=[HEADER, ("a", "b", 1), ("b", "c", 2), ("c", "a", 1), ("c", "d", 1.0)],
    )
    return predicted, truth, pairs


def test_the_command_by_hand(hand, capsys: pytest.CaptureFixture[str]) -> None:
    predicted, truth, pairs = map(str, hand)
    assert run(["score", predicted, "--truth", truth, "--pairs", pairs]) == 0
    # SRCC = PLCC = 3 / sqrt(10). nonsource: right, right, wrong, a tie is rank 1: right. source: a
    # tie is rank 1: wrong, right.
    expected = 0.9 * 3 / math.sqrt(10) + 0.05 * 0.75 + 0.05 * 0.5
    out = capsys.readouterr()
    assert f"score {expected:.4f} = " in out.out and "nonsource 0.7500" in out.out
    assert "4 videos, 4 pairs of different contents, 2 of the same" in out.out
    assert out.err.startswith("note: no intervals: 'a' is no name of KVQ's")
    assert run(["score", predicted, "--truth", truth, "--pairs", pairs, "--json"]) == 0
    assert f'"score": {expected:.6f}'[:16] in capsys.readouterr().out


def test_order_of_rows_and_columns_do_not_matter(hand, tmp_path: Path) -> None:
    predicted, truth, pairs = read_scores(hand[0]), read_scores(hand[1]), read_pairs([hand[2]])
    turned = dict(reversed(predicted.scores.items()))
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "source.csv").write_text("rank,video1,video2\n2,d,c\n2,b,a\n")
    (folder / "nonsource.csv").write_text(
        "left,right,better,why\na,b,1,\nb,c,2,x\nc,a,1,\nc,d,1,\n"
    )
    tables = [folder / "nonsource.csv", folder / "source.csv"]
    expected = score_named(predicted.scores, truth.scores, pairs)
    for given in ([folder], tables, tables[::-1]):
        found = read_pairs(given)
        assert (found.source, found.nonsource) == (pairs.source, pairs.nonsource)
        assert score_named(turned, truth.scores, found) == expected


def test_repeated_and_extra_rows_are_told(hand, tmp_path: Path, capsys) -> None:
    _, truth, pairs = hand
    path = tmp_path / "again.csv"
    path.write_text("filename,score\na,9\nb,1\nc,2\nd,2\na,3\nextra,5\n")
    assert run(["score", str(path), "--truth", str(truth), "--pairs", str(pairs)]) == 0
    out = capsys.readouterr()
    assert "score 0.9163" in out.out  # as by hand: the last a counts, extra nowhere
    assert "1 (a) stand there more than once; the last counts" in out.err
    assert "1 (extra) have no truth and count nowhere" in out.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,score\na,3\nb,1\nc,2\n", r"no prediction for 1 \(d\) of 4 videos"),
        ("filename,score\nx/a,3\nb,1\nc,2\nd,1\n", r"there is 'x/a': write names as the truth"),
        ("filename,score\na,three\n", r"line 2: the score of a is 'three', not a finite number"),
        ("filename,score\na,nan\n", r"line 2: the score of a is 'nan', not a finite number"),
        ("filename,score\na,\n", r"line 2: the score of a is '', not a finite number"),
        ("filename,score\n,3\n", r"line 2: the cell `filename` is empty"),
        ("name,score\na,3\n", r"no column `filename` in \['name', 'score'\]"),
        ("filename,mos\na,3\n", r"no column `score`"),
    ],
)
def test_predictions_that_cannot_be_scored(hand, text: str, message: str) -> None:
    hand[0].write_text(text)
    with pytest.raises(ManifestError, match=message) as caught:
        run(["score", str(hand[0]), "--truth", str(hand[1]), "--pairs", str(hand[2])])
    assert str(hand[0]) in str(caught.value)


SOUND = [HEADER, ("a", "b", 1)]


@pytest.mark.parametrize(
    ("sheets", "message"),
    [
        ({"source": SOUND}, "no sheet nonsource; it has source"),
        ({"source": SOUND, "nonsource": [HEADER]}, "nonsource: no pairs below the header"),
        ({"source": SOUND, "nonsource": []}, "nonsource, line 1"),
        ({"source": SOUND, "nonsource": [("a", "b", 1)]}, "line 1: .*a header is wanted"),
        ({"source": SOUND, "nonsource": [HEADER, ("a", "b", 3)]}, "line 2: 'a', 'b', rank '3'"),
        ({"source": SOUND, "nonsource": [HEADER, ("a", None, 1)]}, "line 2: 'a', '', rank '1'"),
        ({"source": [HEADER, ("a", "z", 1)], "nonsource": SOUND}, r"no MOS for 1 \(z\)"),
    ],
)
def test_pairs_that_cannot_be_used(hand, sheets, message: str) -> None:
    write_book(hand[2], **sheets)
    with pytest.raises(ManifestError, match=message):
        run(["score", str(hand[0]), "--truth", str(hand[1]), "--pairs", str(hand[2])])


def test_other_files_for_pairs(hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for paths, message in (
        ([tmp_path / "no.xlsx"], "no such file"),
        ([tmp_path / "a.csv"], "one .xlsx with the sheets"),
        ([tmp_path / "a.csv", tmp_path / "nonsource.csv"], "two tables with these words"),
        ([tmp_path], "source.csv: no such file"),
    ):
        with pytest.raises(ManifestError, match=message):
            read_pairs(paths)
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(ManifestError, match="not a workbook that can be read"):
        read_pairs([broken])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ManifestError, match=r"distill-vqa\[kvq\].*save its sheets as source.csv"):
        read_pairs([hand[2]])


@pytest.fixture(scope="module")
def kvq(shared_dir: Path) -> tuple[dict[str, float], RankedPairs]:
    """KVQ's train labels, and pairs of them as the challenge ranks its own."""
    truth = read_scores(shared_dir / "labels" / "kvq" / "train_data.csv").scores
    names = list(truth)
    rng = np.random.default_rng(0)
    contents = [names[at : at + 7] for at in range(0, len(names), 7)]
    inside = [pair for group in contents for pair in combinations(group, 2)]
    across = [p for one, two in pairwise(contents) for p in product(one, two)]

    def ranked(pairs: list[tuple[str, str]]) -> list[tuple[str, str, int]]:
        far = [pair for pair in pairs if truth[pair[0]] != truth[pair[1]]]
        chosen = rng.choice(len(far), 200, replace=False)
        return [(*far[at], 1 if truth[far[at][0]] > truth[far[at][1]] else 2) for at in chosen]

    return truth, RankedPairs(Path("pairs"), ranked(inside), ranked(across))


def test_predictions_of_kvq_give_what_they_must(kvq) -> None:
    truth, pairs = kvq
    assert len(truth) == 2926
    rng = np.random.default_rng(1)
    mos = np.array(list(truth.values()))

    def named(values: np.ndarray) -> dict[str, float]:
        return dict(zip(truth, values.tolist(), strict=True))

    assert kvq_row(truth, truth, pairs)["score"] == pytest.approx(1)
    # A scale and a shift change nothing, a bend costs PLCC alone.
    assert kvq_row(named(25 * mos - 10), truth, pairs)["score"] == pytest.approx(1)
    bent = kvq_row(named(np.exp(3 * mos)), truth, pairs)
    assert bent["srcc"] == pytest.approx(1) and bent["plcc"] < 0.8 and bent["acc_source"] == 1
    # A constant has no correlations, and is rank 1 everywhere.
    constant = kvq_row(named(np.full(2926, 3.0)), truth, pairs)
    assert math.isnan(constant["score"])
    assert constant["acc_source"] == np.mean([rank == 1 for *_, rank in pairs.source])
    shuffled = kvq_row(named(rng.permutation(mos)), truth, pairs)
    assert abs(shuffled["srcc"]) < 0.06 and abs(shuffled["acc_nonsource"] - 0.5) < 0.15
    # By somebody else's code.
    noisy = named(mos + rng.normal(0, 0.3, 2926))
    found = kvq_row(noisy, truth, pairs)
    predicted = list(noisy.values())
    accuracies = [
        np.mean([(1 if noisy[a] >= noisy[b] else 2) == rank for a, b, rank in rows])
        for rows in (pairs.nonsource, pairs.source)
    ]
    assert [found["acc_nonsource"], found["acc_source"]] == pytest.approx(accuracies)
    expected = 0.45 * stats.spearmanr(predicted, mos)[0] + 0.45 * stats.pearsonr(predicted, mos)[0]
    assert found["score"] == pytest.approx(expected + 0.05 * sum(accuracies))
    assert shuffled["score"] < found["score"] < 1
