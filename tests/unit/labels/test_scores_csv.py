"""``filename,score`` tables: read as a store, written from one, and what is wrong with them."""

import subprocess
import sys
from pathlib import Path

import pytest

from distill.config import TrainStudentConfig
from distill.data.identity import content_hash
from distill.data.readers import make_reader
from distill.errors import ConfigError, LabelStoreError, ManifestError
from distill.labels import Label, LabelStore
from distill.labels.__main__ import run
from distill.labels.scores_csv import ScoresCsv, write_scores
from distill.overrides import check_overrides
from distill.stages.inputs import take_labels
from distill.stages.pseudo import choose_labels, examples_of

ROOT = Path(__file__).parents[3]


def videos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_is_read_as_a_store(tmp_path: Path, mark: str) -> None:
    root = videos(tmp_path / "videos", "a, b.mp4", "sub/c.mp4", "d.mp4")
    table = tmp_path / "RQ_VQA_results.csv"
    table.write_text(
        mark
        + 'filename,score\n"a, b.mp4",3.25\nsub/c.mp4,1e0\nsub/c.mp4,1e0\nd.mp4,\ngone.mp4,2\n',
        encoding="utf-8",
    )
    store = take_labels(str(table), tmp_path, str(root))
    assert isinstance(store, ScoresCsv)
    rows = {row.video: row for row in store.read()}
    assert [(r.video, r.score) for r in store.usable()] == [("a, b.mp4", 3.25), ("sub/c.mp4", 1.0)]
    assert rows["a, b.mp4"].content == content_hash(root / "a, b.mp4")
    assert rows["sub/c.mp4"].path == str(root / "sub" / "c.mp4")
    assert rows["d.mp4"].reason == "score '' is not a finite number"
    assert "no such video below" in rows["gone.mp4"].reason
    assert store.meta["teacher"] == "unknown (RQ_VQA_results.csv)"
    assert store.meta["licenses"] == ["labels of RQ_VQA_results.csv: licence unknown"]
    config = TrainStudentConfig(leak_check="hash")
    decisions = choose_labels(store, [], [], config, make_reader("auto"))  # type: ignore[arg-type]
    assert [e.target for e in examples_of(decisions, 1.0)] == [3.25, 1.0]


def test_names_that_start_from_another_folder_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = videos(tmp_path / "pool", "a.mp4", "b.mp4")
    table = tmp_path / "pl.csv"
    table.write_text("filename,score\na.mp4,3\nb.mp4,2\n")
    config = TrainStudentConfig(leak_check="hash")
    with pytest.raises(LabelStoreError) as caught:
        choose_labels(ScoresCsv(table), [], [], config, make_reader("auto"))  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"{table}: 2 of 2 rows name no file below {tmp_path}, the first is 'a.mp4'; name the"
        " folder that they start from: labels_root=FOLDER"
    )
    (pool / "b.mp4").unlink()
    found = choose_labels(ScoresCsv(table, pool), [], [], config, make_reader("auto"))  # type: ignore[arg-type]
    assert [decision.label.video for decision in found] == ["a.mp4"]
    assert f"1 of 2 rows name no file below {pool}, the first is 'b.mp4'" in caplog.text


@pytest.mark.parametrize(
    ("names", "csv", "words"),
    [
        ({"a.mp4": "/pool/a.mp4", "x/b.mp4": "/pool/x/b.mp4"}, "p l.csv",
         ["'labels=\"{here}/p l.csv\"'", "labels_root=/pool"]),
        ({"./a.mp4": "/a.mp4"}, "pl.csv", ["labels={here}/pl.csv", "labels_root=/"]),
        ({"a.mp4": "{here}/a.mp4"}, "pl.csv", ["labels={here}/pl.csv"]),  # the table's own folder
        ({"/p/a.mp4": "/p/a.mp4"}, "pl.csv", ["labels={here}/pl.csv"]),
        ({"../a.mp4": "/p/a.mp4"}, "pl.csv", ["labels={here}/pl.csv", "labels_root=FOLDER"]),
        ({"a.mp4": "s3://b/a.mp4"}, "pl.csv", ["labels={here}/pl.csv", "labels_root=FOLDER"]),
        ({"a.mp4": "/p/a.mp4", "b.mp4": "/q/b.mp4"}, "pl.csv",
         ["labels={here}/pl.csv", "labels_root=FOLDER"]),
        ({"a.mp4": "/p/a.mp4"}, "pl.txt", []),
    ],
)  # fmt: skip
def test_what_is_written_comes_with_the_words_that_read_it(
    tmp_path: Path, names: dict[str, str], csv: str, words: list[str]
) -> None:
    store = LabelStore.open(tmp_path / "store", {"teacher": "t"})
    store.append([Label(k, v.format(here=tmp_path), score=1.0) for k, v in names.items()])
    count, told = write_scores(store, tmp_path / csv)
    assert (count, told) == (len(names), [word.format(here=tmp_path) for word in words])


def test_names_start_from_the_tables_folder(tmp_path: Path) -> None:
    videos(tmp_path, "a.mp4")
    (tmp_path / "t.csv").write_text("score,filename\n2.5,a.mp4\n")
    (row,) = ScoresCsv(tmp_path / "t.csv").read()
    assert (row.status, row.path) == ("ok", str(tmp_path / "a.mp4"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,score\na,1\na,2\n", "'a' has two scores, 1 in line 2 and 2 in line 3"),
        ("filename,score\n,1\n", "line 2: the cell `filename` is empty"),
        ("name,mos\na,1\n", "no column `filename`"),
        ("filename,score\n", "no rows"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises((LabelStoreError, ManifestError), match=message):
        ScoresCsv(tmp_path / "t.csv")


def test_a_root_needs_a_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels_root=x applies to a CSV, and labels=store"):
        take_labels("store", tmp_path, "x")


def test_a_store_is_written_as_a_table_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = videos(tmp_path / "pool", "a, ü.mp4", "one/b.mp4", "two/b.mp4", "bad.mp4")
    meta = {"teacher": "abc", "licenses": ["KVQ: research only"], "videos": 6}
    store = LabelStore.open(tmp_path / "store", meta)
    store.append(
        [
            Label("a, ü.mp4", str(pool / "a, ü.mp4"), score=1 / 3, std=0.5, seconds=2.0),
            Label("b.mp4", str(pool / "one/b.mp4"), score=2.0),
            Label("b.mp4", str(pool / "two/b.mp4"), score=4.0),
            Label("bad.mp4", str(pool / "bad.mp4"), status="failed", reason="torn"),
        ]
    )
    assert run([str(store.folder), "--csv", str(tmp_path / "out.csv")]) == 0
    told = capsys.readouterr().out
    for text in ("teacher   abc", "3 labelled, 1 failed, 2 to do", "0.333 to 4.000, median 2.000",
                 "differ by 0.500", "torn (x1)", "KVQ: research only", "3 scores -> "):  # fmt: skip
        assert text in told
    back = {row.path: row.score for row in ScoresCsv(tmp_path / "out.csv", pool).read()}
    assert back == {row.path: row.score for row in store.usable()}  # to the last bit
    words = [f"labels={tmp_path / 'out.csv'}", f"labels_root={pool}"]
    assert f" {' '.join(words)}\n" in told
    given = check_overrides("train_student", words)
    back = {
        row.path: row.score for row in take_labels(given.labels, pool, given.labels_root).read()
    }  # type: ignore[union-attr]
    assert back == {row.path: row.score for row in store.usable()}
    with pytest.raises(LabelStoreError, match="no usable label"):
        write_scores(LabelStore.open(tmp_path / "empty", meta), tmp_path / "no.csv")


def test_the_command_tells_what_is_no_store(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "distill.labels", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "not a label store" in done.stderr
    assert "Traceback" not in done.stderr
