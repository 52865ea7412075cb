"""docs/formats.md names the columns and keys that files have."""

import csv
import json
import re
from pathlib import Path

from distill.data.manifest import COLUMNS, Problem
from distill.labels.rows import SCHEMA
from distill.labels.scores_csv import COLUMNS as SCORES
from distill.labels.store import DECISIVE, FORMAT
from distill.ladder.pairs import COLUMNS as PAIRS
from distill.ladder.shots import COLUMNS as LADDER
from distill.runs import Run
from distill.specification import _REQUIRED
from distill.stages.label_report import _COLUMNS as CHOICES
from tests.helpers.documents import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


def _section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _first_cells(heading: str) -> list[str]:
    """The code in the first cells of a section's table."""
    return re.findall(r"(?m)^\| `(\w+)` \|", _section(heading))


def _row(section: str, name: str) -> list[str]:
    """All code in the row that begins with a name, but the name."""
    (line,) = re.findall(rf"(?m)^\| `{re.escape(name)}` \|.*$", section)
    return re.findall(r"`(\w+)`", line.split("|", 2)[2])


def test_tables_of_videos_and_scores() -> None:
    assert _first_cells("Table of videos") == list(COLUMNS)
    assert _first_cells("Scores as a table") == list(SCORES)


def test_label_stores() -> None:
    assert _first_cells("Label store") == SCHEMA.names
    types = {"text": "string", "float64": "double", "int32": "int32"}
    for name, told in re.findall(r"(?m)^\| `(\w+)` \| (\w+) \|", _section("Label store")):
        assert str(SCHEMA.field(name).type) == types[told], name
    text = _section("Label store")
    assert f"`format` ({FORMAT})" in text and len(DECISIVE) == 5
    assert all(f"`{key}`" in text for key in DECISIVE)


def test_bundles() -> None:
    assert set(_first_cells("Bundle")) == {"format", *_REQUIRED}


def test_ladders_and_runs(tmp_path: Path) -> None:
    assert _row(_section("Ladder"), "manifest.csv") == list(LADDER)
    assert _row(_section("Ladder"), "pairs.csv")[: len(PAIRS)] == list(PAIRS)
    runs = _section("What a run leaves")
    assert _row(runs, "pseudo_labels.csv") == list(CHOICES)
    run = Run(tmp_path, {})
    run.problems([Problem("a.csv", 2, "a.mp4", "no such file")])
    run.finish({"srcc": float("nan")})
    with (tmp_path / "problems.csv").open(newline="") as file:
        assert _row(runs, "problems.csv") == next(csv.reader(file))
    assert json.loads((tmp_path / "result.json").read_text()) == {"srcc": None}
    named = re.findall(r"(?m)^\| `([\w./]+)`", runs)
    assert {path.name for path in tmp_path.iterdir()} <= {name.rstrip("/") for name in named}
