"""What a run left in its folder, read leniently: older folders lack some of it."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from distill.errors import ReportError
from distill.labels import LabelStore
from distill.report.subjects import Subject, evaluated, read_videos, trained
from distill.runs import CONFIG, INPUTS, PREDICTIONS, PROBLEMS, RECORD, RESULT
from distill.specification import SPEC
from distill.tracking import metric_files

KINDS = {
    "evaluate": "Evaluation",
    "train_teacher": "Teacher",
    "train_student": "Student",
    "pseudo_label": "Pseudo-labels",
    "sweep": "Sweep of students",
}
_SWEEP = "front.csv"


@dataclass
class RunFolder:
    """What is known of a run.

    Attributes:
        path: of the folder.
        kind: one of ``KINDS``.
        result: of ``result.json``; empty where the run has not finished.
        records: of ``run.json``, one per start of the run.
        config: the options.
        inputs: what it learned from.
        spec: of the bundle it made; empty where it made none.
        subjects: tables of predictions, with the scores of each.
        logs: part of the training, "" for the whole -> its tables of metrics, by age.
        problems: rows of ``problems.csv``.
        choice, choice_rows: of ``pseudo_labels.json`` and ``.csv``.
        store: of the labels that the run made, or learned from.
        sweep: rows of the sweep's table.
    """

    path: Path
    kind: str
    result: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    subjects: list[Subject] = field(default_factory=list)
    logs: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[dict[str, str]] = field(default_factory=list)
    choice: dict[str, Any] = field(default_factory=dict)
    choice_rows: list[dict[str, str]] = field(default_factory=list)
    store: LabelStore | None = None
    sweep: list[dict[str, str]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What kind of run it is, in words."""
        return KINDS[self.kind]


def read_folder(path: Path) -> RunFolder:
    """Read a run folder.

    Args:
        path: of train_teacher, pseudo_label, train_student, evaluate, or a sweep of students.

    Raises:
        ReportError: it is none of them, or a file in it is damaged.
    """
    path = Path(path).absolute()
    if not path.is_dir():
        raise ReportError(f"{path}: no such folder; give one that a command left, outputs/…/…")
    if (path / _SWEEP).is_file():
        return RunFolder(path, "sweep", sweep=_rows(path / _SWEEP), **_first_of(path))
    run = RunFolder(
        path,
        "",
        result=_json(path / RESULT, {}),
        records=_json(path / RECORD, []),
        config=_yaml(path / CONFIG),
        inputs=_json(path / INPUTS, {}),
        spec=_json(path / "bundle" / SPEC, {}),
        problems=_rows(path / PROBLEMS),
        choice=_json(path / "pseudo_labels.json", {}),
        choice_rows=_rows(path / "pseudo_labels.csv"),
    )
    run.kind = _kind(run)
    run.logs = _logs(path)
    run.store = _store(run)
    role = "student" if run.kind == "train_student" else "teacher"
    run.subjects = (
        evaluated(path, run.result)
        if run.kind == "evaluate"
        else trained(path, role, run.result, run.spec)
    )
    return run


def teacher_of(run: RunFolder) -> Subject | None:
    """The validation of the teacher that made a student's labels, where its run is still there."""
    if run.store is None:
        return None
    folder = Path(str(run.store.meta.get("bundle", ""))).parent
    videos = read_videos(folder / PREDICTIONS.format("val"))
    if not videos:
        return None
    try:
        result = _json(folder / RESULT, {})
    except ReportError:  # of another run than this page's
        result = {}
    return Subject("teacher", "", "val", dict(result.get("val") or {}), videos)


def _kind(run: RunFolder) -> str:
    if "rows" in run.result or "bundles" in run.config:
        return "evaluate"
    if "store" in run.result or "commit_every" in run.config:
        return "pseudo_label"
    if "student" in run.config or run.spec.get("role") == "student":
        return "train_student"
    if "teacher" in run.config or run.spec.get("role") == "teacher":
        return "train_teacher"
    raise ReportError(
        f"{run.path}: neither {CONFIG} and {RESULT} of a run nor {_SWEEP} of a sweep; give a"
        " folder that train_teacher, pseudo_label, train_student or evaluate left"
        " (outputs/<command>/<time>)"
    )


def _first_of(sweep: Path) -> dict[str, Any]:
    """Record and options of the first run of a sweep, which stand for all."""
    for run in sorted(sweep.glob(f"*/{RECORD}"), key=lambda p: (len(p.parts[-2]), p)):
        return {"records": _json(run, []), "config": _yaml(run.parent / CONFIG)}
    return {}


def _logs(path: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    folders = {file.parent.parent for file in path.glob("**/metrics*/metrics.csv")}
    for folder in sorted(folders):
        name = "" if folder == path else str(folder.relative_to(path)).replace("_", " ")
        found[name] = metric_files(folder)
    return found


def _store(run: RunFolder) -> LabelStore | None:
    """The store of a run's labels, where it is still there."""
    named = run.result.get("store") or run.inputs.get("labels")
    for place in (named, run.path / "store"):
        if place and (Path(place) / "meta.json").is_file():
            return LabelStore(Path(place))
    return None


def _json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path}: not readable as JSON: {error}; make the run again") from error
    if not isinstance(found, type(otherwise)):
        raise ReportError(f"{path}: not what a run writes; it should hold {type(otherwise)}")
    return found


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ReportError(f"{path}: not readable as YAML: {error}") from error


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.DictReader(file))
