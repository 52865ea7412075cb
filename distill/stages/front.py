"""A sweep of students: one table and one picture of accuracy against cost at its end."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NOTES, _PICTURE, _TABLE = "sweep", "front.png", "front.csv"


def note(
    sweep: Path, number: int, words: Sequence[str], out: Path, result: Any, error: str
) -> None:
    """Keep what became of a run of a sweep; jobs of a launcher are processes of their own.

    Args:
        sweep: folder of the sweep.
        number: of the run.
        words: what it was given beyond the other runs.
        out: its run directory.
        result: what the stage returned; None where it failed.
        error: why; "" where it did not.
    """
    folder = sweep / _NOTES
    folder.mkdir(parents=True, exist_ok=True)
    told = {"run": " ".join(words), "folder": str(out), "result": result, "error": error}
    path = folder / f"{number}.json"
    written = path.with_suffix(".tmp")
    written.write_text(json.dumps(told, indent=2, default=str) + "\n", encoding="utf-8")
    os.replace(written, path)


def finish(sweep: Path) -> Path | None:
    """Write and print the table of a sweep, and draw its front.

    Args:
        sweep: folder of the sweep, with the notes of its runs.

    Returns:
        The picture; None where no run was trained, as in a dry run.
    """
    notes = sorted((sweep / _NOTES).glob("*.json"), key=lambda path: int(path.stem))
    told = [json.loads(path.read_text(encoding="utf-8")) for path in notes]
    runs = [_row(each) for each in told]
    trained = [run for run in runs if run["gmacs"] is not None]
    if not trained:
        return None
    with (sweep / _TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(runs[0]))
        writer.writeheader()
        writer.writerows(runs)
    print()
    for run in runs:
        print(f"{run['run']:32} {_told(run)}")
    from distill import plots  # matplotlib takes a second, which no other command needs here
    from distill.stages.report import report_sweep

    plots.front(sweep / _PICTURE, trained, [run for run in runs if run["gmacs"] is None])
    print(f"table: {sweep / _TABLE}\npicture: {sweep / _PICTURE}")
    if (page := report_sweep(sweep)) is not None:
        print(f"report: {page}")
    return sweep / _PICTURE


def _told(run: Mapping[str, Any]) -> str:
    if run["gmacs"] is None:
        return f"not trained: {str(run['error']).partition('. ')[0]}"
    test = "" if run["test_srcc"] is None else f", test SRCC {run['test_srcc']:.3f}"
    return (
        f"{run['gmacs']:6.2f} GMACs {run['params_m']:6.2f} M parameters, val SRCC"
        f" {run['val_srcc']:.3f}{test}"
    )


def _row(told: Mapping[str, Any]) -> dict[str, Any]:
    result = told["result"] or {}
    val, test = result.get("val") or {}, result.get("test") or {}
    return {
        "run": told["run"],
        "budget": result.get("budget"),
        "gmacs": result.get("gmacs"),
        "params_m": result.get("params_m"),
        "val_srcc": val.get("srcc"),
        "val_plcc": val.get("plcc"),
        "test_srcc": test.get("test srcc"),
        "test_low": test.get("test srcc low"),
        "test_high": test.get("test srcc high"),
        "bundle": result.get("bundle"),
        "error": told["error"] or ("" if result else "dry run"),
    }
