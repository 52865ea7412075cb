"""The main job: teacher, pseudo-labels, student with and without them, and one table at the end.

    python -m distill.stages.main_job                       the embedded demo data (make demo)
    python -m distill.stages.main_job data=manifest data.manifest=videos.csv

It types the commands of this project as a user would, each a process of its own, and hands every
``name=value`` of its own command line to each command that has the option. Options of one command
alone: ``teacher:training.epochs=5``, ``student:training.epochs=5``.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill import plots

BUDGET = 120
COMMON = ("data", "reader", "seed", "tracking")  # options that every command takes


def main(words: Sequence[str] | None = None) -> int:
    """Run the main job; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("options", nargs="*", metavar="name=value")
    parser.add_argument("--out", type=Path, help="folder; default outputs/main_job/<time>")
    options = parser.parse_args(words)
    out = options.out or Path("outputs/main_job") / time.strftime("%Y-%m-%d_%H-%M-%S")
    start = time.monotonic()
    try:
        table = run(out.absolute(), options.options)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"error: this command failed: {shlex.join(error.cmd)}\n")
        return error.returncode
    text = (out / "table.md").read_text()
    print(f"\n{text}\npicture: {out / 'table.png'}\nreport and bundles: {out}")
    print(f"{len(table)} models in {(time.monotonic() - start) / 60:.1f} minutes")
    return 0


def run(out: Path, options: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run every command; write ``table.md``, ``table.json`` and ``table.png``.

    Args:
        out: folder; run directories of the commands lie below it.
        options: ``name=value`` words, see the module's text.

    Returns:
        A row per model: name, SRCC with interval, PLCC, RMSE, pair accuracy, cost, minutes.

    Raises:
        CalledProcessError: a command failed; its own message was printed.
    """
    out.mkdir(parents=True, exist_ok=True)

    def chosen(command: str) -> list[str]:
        mine = [w.partition(":")[2] for w in options if w.startswith(f"{command}:")]
        shared = [w for w in options if w.split("=")[0].split(".")[0] in COMMON]
        return [*shared, *mine]

    teacher, store, student, alone = (out / n for n in ("teacher", "labels", "student", "alone"))
    _type("train_teacher.py", *chosen("teacher"), run_dir=teacher)
    _type(
        "pseudo_label.py", f"teacher_bundle={teacher / 'bundle'}", *chosen("labels"), run_dir=store
    )
    budget = f"+budget={BUDGET}"
    labels = f"labels={store / 'store'}"
    _type("train_student.py", budget, labels, *chosen("student"), run_dir=student)
    _type("train_student.py", budget, "labels=none", *chosen("student"), run_dir=alone)
    bundles = ",".join(str(folder / "bundle") for folder in (student, alone, teacher))
    shared = chosen("evaluate")
    _type(
        "evaluate.py", f"bundles=[{bundles}]",
        *[w for w in shared if not w.startswith("tracking")], run_dir=out / "evaluation",
    )  # fmt: skip
    return _table(out, teacher, student, alone)


def _type(door: str, *words: str, run_dir: Path) -> None:
    """Run a command of this project in this environment, showing it first."""
    quoted = [_quote(word) for word in words]
    module = door.removesuffix(".py")
    print(f"\n$ python {door} {shlex.join(quoted)}", flush=True)
    program = f"from distill.doors import {module}; {module}()"
    command = [sys.executable, "-c", program, *quoted, _quote(f"hydra.run.dir={run_dir}")]
    subprocess.run(command, check=True)


def _quote(word: str) -> str:
    """Paths may hold letters that are grammar to Hydra."""
    name, _, value = word.partition("=")
    plain = value.startswith("[") or all(c.isalnum() or c in "._-/+:" for c in value)
    return word if plain else f"{name}='{value}'"


def _table(out: Path, teacher: Path, student: Path, alone: Path) -> list[dict[str, Any]]:
    found = json.loads((out / "evaluation" / "result.json").read_text())
    names = {
        teacher: "teacher",
        student: "student, with pseudo-labels",
        alone: "student, without",
    }
    rows = []
    for folder, name in names.items():
        measured = next(r for r in found["rows"] if Path(r["bundle"]) == folder / "bundle")
        minutes = json.loads((folder / "result.json").read_text())["minutes"]
        rows.append({"name": name, **measured, "minutes": minutes})
    gain = found["pairs"][0]
    lines = [
        "| model | SRCC [95% over contents] | PLCC | RMSE | same-content pairs | GMACs"
        " | M parameters | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['name']} | {r['srcc']:.3f} [{r['low']:.3f}, {r['high']:.3f}] | {r['plcc']:.3f}"
        f" | {r['rmse_raw']:.3f} | {r['pair_accuracy']:.3f} | {r['gmacs']:.2f}"
        f" | {r['params_m']:.2f} | {r['minutes']:.1f} |"
        for r in rows
    ]
    lines.append("")
    lines.append(
        f"{rows[0]['n']} test videos of {rows[0]['contents']} contents. Pseudo-labels change the"
        f" student's SRCC by {gain['srcc_difference']:+.3f} [{gain['low']:+.3f},"
        f" {gain['high']:+.3f}] (paired, 95% over contents)."
    )
    if rows[0]["contents"] < 16:
        lines.append("So few contents show that it runs, not how good it is.")
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "table.json").write_text(json.dumps({"rows": rows, "gain": gain}, indent=2) + "\n")
    plots.comparison(out / "table.png", rows, "test split")
    return rows


if __name__ == "__main__":
    sys.exit(main())
