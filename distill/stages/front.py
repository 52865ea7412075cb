"""A sweep of students: one table and one picture of accuracy against cost at its end."""

import csv
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distill.config import folder
from distill.errors import ConfigError
from distill.runs import CONFIG

_CAPS = ("budget", "max_params", "max_latency")
_DIR = "hydra.sweep.dir"
_NOTES, _PICTURE, _TABLE = "sweep", "front.png", "front.csv"


def sweep_folder(outputs: str, words: Sequence[str]) -> Path:
    """Where the runs of a sweep lie: as the words say, else a new folder below the outputs.

    Args:
        outputs: folder of runs.
        words: of the command line, read by Hydra without an error.

    Raises:
        ConfigError: the words name a folder by what only a run of the sweep knows.
    """
    given = [word for word in words if names_folder(word)]
    if not given:
        return folder(outputs) / "train_student" / time.strftime("%Y-%m-%d_%H-%M-%S")
    value = OverridesParser.create().parse_override(given[-1]).value()
    try:
        return folder(OmegaConf.create({"outputs": outputs, "dir": str(value)}).dir)
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"{given[-1]}: must be one folder for all runs of the sweep ({first}); write it out,"
            " with ${outputs} and ${now:%H-%M} at most"
        ) from error


def names_folder(word: str) -> bool:
    """Whether a word of the command line says where the runs of a sweep lie."""
    return word.lstrip("+").startswith(f"{_DIR}=")


def begin(sweep: Path) -> None:
    """Forget the notes of an earlier sweep in this folder."""
    for path in _noted(sweep):
        path.unlink()


def _noted(sweep: Path) -> list[Path]:
    """The notes, in the order of the runs; a folder of the user's may hold other files."""
    found = [path for path in (sweep / _NOTES).glob("*.json") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


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


def trained_before(out: Path, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of an earlier run of the sweep that differs in its caps alone, if there is one.

    ``student=fit`` takes the same student for several budgets; the same seed then trains the same
    network.

    Args:
        out: directory of a run, of a sweep or not.
        options: of the run, with the student that it has chosen.
    """
    wanted = yaml.safe_load(yaml.safe_dump(_but_caps(options), sort_keys=False))
    for path in _noted(out.parent):
        told = json.loads(path.read_text(encoding="utf-8"))
        config = Path(told["folder"]) / CONFIG
        if not told["result"] or not config.is_file():
            continue
        if _but_caps(yaml.safe_load(config.read_text(encoding="utf-8"))) == wanted:
            return {**told["result"], "budget": options["budget"], "same_as": told["run"]}
    return None


def _but_caps(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _CAPS}


def finish(sweep: Path) -> Path | None:
    """Write and print the table of a sweep, and draw its front.

    Args:
        sweep: folder of the sweep, with the notes of its runs.

    Returns:
        The picture; None where no run was trained, as in a dry run.
    """
    told = [json.loads(path.read_text(encoding="utf-8")) for path in _noted(sweep)]
    runs = [_row(each) for each in told]
    if all(run["latency_ms"] is None for run in runs):  # it is measured where there is a cap on it
        for run in runs:
            del run["latency_ms"]
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

    shown = []
    for run in trained:
        if not run["same_as"]:
            others = [other["run"] for other in trained if other["same_as"] == run["run"]]
            shown.append({**run, "run": " = ".join([run["run"], *others])})
    plots.front(sweep / _PICTURE, shown, [run for run in runs if run["gmacs"] is None])
    print(f"table: {sweep / _TABLE}\npicture: {sweep / _PICTURE}")
    if (page := report_sweep(sweep)) is not None:
        print(f"report: {page}")
    return sweep / _PICTURE


def _told(run: Mapping[str, Any]) -> str:
    if run["gmacs"] is None:
        return f"not trained: {str(run['error']).partition('. ')[0]}"
    test = "" if run["test_srcc"] is None else f", test SRCC {run['test_srcc']:.3f}"
    took = run.get("latency_ms")
    same = f", the student of {run['same_as']}" if run["same_as"] else ""
    return (
        f"{run['gmacs']:6.2f} GMACs {run['params_m']:6.2f} M parameters,"
        f"{'' if took is None else f' {took:.1f} ms,'} val SRCC {run['val_srcc']:.3f}{test}{same}"
    )


def _row(told: Mapping[str, Any]) -> dict[str, Any]:
    result = told["result"] or {}
    val, test = result.get("val") or {}, result.get("test") or {}
    return {
        "run": told["run"],
        "budget": result.get("budget"),
        "gmacs": result.get("gmacs"),
        "params_m": result.get("params_m"),
        "latency_ms": result.get("latency_ms"),
        "val_srcc": val.get("srcc"),
        "val_plcc": val.get("plcc"),
        "test_srcc": test.get("test srcc"),
        "test_low": test.get("test srcc low"),
        "test_high": test.get("test srcc high"),
        "bundle": result.get("bundle"),
        "same_as": result.get("same_as", ""),
        "error": told["error"] or ("" if result else "dry run"),
    }
