"""The best video of each content, as a ladder takes it."""

from pathlib import Path

from distill.data.tables import read_table
from distill.labels import Label, LabelStore
from distill.labels.__main__ import run
from distill.labels.sources import best_of_contents


def _store(folder: Path) -> LabelStore:
    store = LabelStore.open(folder, {"teacher": "t", "videos": 6})
    told = [("a0", "a", 4.0), ("a1", "a", 4.5), ("b0", "b", 2.0), ("b1", "b", 2.0), ("c", "", 3.0)]
    labels = [Label(n, f"/pool/{n}.mp4", content=n, group=g, score=s) for n, g, s in told]
    store.append([*labels, Label("a2", "/pool/a2.mp4", group="a", status="failed", reason="x")])
    return store


def test_the_best_of_each_content_and_of_equals_the_first_by_path(tmp_path: Path) -> None:
    best = best_of_contents(_store(tmp_path / "store"))
    assert sorted(label.video for label in best) == ["a1", "b0", "c"]
    assert {x.video for x in best_of_contents(_store(tmp_path / "store"), 3.0)} == {"a1", "c"}


def test_the_command_writes_what_a_ladder_reads(tmp_path: Path, capsys: object) -> None:
    _store(tmp_path / "store")
    table = tmp_path / "sources.csv"
    assert run([str(tmp_path / "store"), "--sources", str(table), "--least", "2.5"]) == 0
    rows = [cells for _, cells in read_table(table, ("video", "group", "split"))]
    assert {(r["video"], r["group"], r["split"]) for r in rows} == {
        ("/pool/a1.mp4", "a", "train"), ("/pool/c.mp4", "/pool/c.mp4", "train"),
    }  # fmt: skip
