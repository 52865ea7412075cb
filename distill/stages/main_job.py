"""The main job: teacher, pseudo-labels, student with and without them, and one table at the end.

    python -m distill.stages.main_job                       the embedded demo data (make demo)
    python -m distill.stages.main_job data=manifest data.manifest=videos.csv

It types the commands of this project as a user would, each a process of its own. Words about data,
reader, seed and tracking go to every command; a word for one command alone starts with its name:
``teacher:training.epochs=5``, ``labels:``, ``student:``, ``evaluate:``, and ``alone:`` for the
student without pseudo-labels, which otherwise has the options of ``student:`` and as many steps.
"""

import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from distill import plots
from distill.errors import ConfigError
from distill.flags import Parser
from distill.specification import read_spec
from distill.tracking.lineage import group_of_bundle
from distill.words import quoted

BUDGET = 120
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
COMMON = ("data", "reader", "seed", "tracking")  # options that every command takes
COMMANDS = ("teacher", "labels", "student", "alone", "evaluate")


def main(words: Sequence[str] | None = None) -> int:
    """Run the main job; its exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("options", nargs="*", metavar="name=value")
    parser.add_argument("--out", type=Path, help="an empty folder; default outputs/main_job/<time>")
    options = parser.parse_args(words)
    for word in options.options:
        name = word.split("=")[0]
        prefix, colon, _ = name.partition(":")
        if (colon and prefix not in COMMANDS) or (not colon and name.split(".")[0] not in COMMON):
            sys.stderr.write(
                f"error: {word!r}: options of every command are {', '.join(COMMON)}; one command's"
                f" are COMMAND:name=value with COMMAND one of {', '.join(COMMANDS)}\n"
            )
            return ConfigError.exit_code
    outputs = Path(os.environ.get("DISTILL_OUTPUTS", "outputs"))
    out = options.out or outputs / "main_job" / time.strftime("%Y-%m-%d_%H-%M-%S")
    if out.is_dir() and any(out.iterdir()):
        sys.stderr.write(f"error: --out {out}: already has files in it; give an empty folder\n")
        return ConfigError.exit_code
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

    def chosen(command: str, shared: bool = True) -> list[str]:
        common = [w for w in options if w.split("=")[0].split(".")[0] in COMMON]
        mine = [w.partition(":")[2] for w in options if w.startswith(f"{command}:")]
        return [*(common if shared else []), *mine]

    teacher, store, student, alone = (out / n for n in ("teacher", "labels", "student", "alone"))
    _type("train_teacher.py", *chosen("teacher"), run_dir=teacher)
    _type(
        "pseudo_label.py", f"teacher_bundle={_quoted(teacher / 'bundle')}", *chosen("labels"),
        run_dir=store,
    )  # fmt: skip
    budget, labels = f"+budget={BUDGET}", f"labels={_quoted(store / 'store')}"
    _type("train_student.py", budget, labels, *chosen("student"), run_dir=student)
    # It takes in nothing of the teacher's, so that only this word makes it one of the group.
    group = f"tracking.group={quoted(group_of_bundle(read_spec(teacher / 'bundle')))}"
    without = [group, *chosen("student"), *_without_labels(student), *_as_many_steps(student),
               *chosen("alone", shared=False)]  # fmt: skip
    _type("train_student.py", budget, "labels=none", *without, run_dir=alone)
    bundles = ",".join(_quoted(folder / "bundle") for folder in (student, alone, teacher))
    _type("evaluate.py", f"bundles=[{bundles}]", *chosen("evaluate"), run_dir=out / "evaluation")
    return _table(out, teacher, student, alone)


def _type(door: str, *words: str, run_dir: Path) -> None:
    """Run a command of this project in this environment, showing it first."""
    module = door.removesuffix(".py")
    print(f"\n$ python {door} {shlex.join(words)}", flush=True)
    program = f"from distill.doors import {module}; {module}()"
    where = f"hydra.run.dir={_quoted(run_dir)}"
    subprocess.run([sys.executable, "-c", program, *words, where], check=True)


def _without_labels(student: Path) -> list[str]:
    """What turns off those options of the student that need pseudo-labels."""
    options = yaml.safe_load((student / "config.yaml").read_text())
    words = []
    if options["rounds"] > 1:
        words.append("rounds=1")
    if options["training"]["pseudo_share"] is not None:
        words.append("training.pseudo_share=null")
    if options["finetune"]["epochs"] and not options["data"]["also"]:
        words.append("finetune.epochs=0")
    return words


def _as_many_steps(student: Path) -> list[str]:
    """Options that give the student without pseudo-labels as many steps: fewer videos an epoch."""
    steps = json.loads((student / "result.json").read_text())["steps"]
    labelled = json.loads((student / "bundle" / "spec.json").read_text())["provenance"]["labelled"]
    training = yaml.safe_load((student / "config.yaml").read_text())["training"]
    batches = math.ceil(labelled / training["batch_size"])
    epochs = max(1, round(steps / math.ceil(batches / training["accumulate"])))
    val_every = max(1, round(training["val_every"] * epochs / training["epochs"]))
    return [f"training.epochs={epochs}", f"training.val_every={val_every}"]


def _quoted(path: Path) -> str:
    """A path as Hydra's grammar reads it, whatever letters it holds."""
    return str(path) if _PLAIN.fullmatch(str(path)) else quoted(str(path))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


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
        rows.append({**measured, "name": name, "minutes": minutes})
    gain = found["pairs"][0]  # the two students, by SRCC
    lines = [
        "| model | SRCC [95% over contents] | PLCC | RMSE | same-content pairs | GMACs"
        " | M parameters | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['name']} | {_number(r['srcc'])} [{_number(r['low'])}, {_number(r['high'])}]"
        f" | {_number(r['plcc'])} | {_number(r['rmse_raw'])} | {_number(r['pair_accuracy'])}"
        f" | {r['gmacs']:.2f} | {r['params_m']:.2f} | {r['minutes']:.1f} |"
        for r in rows
    ]
    lines.append("")
    lines.append(
        f"{rows[0]['n']} test videos of {rows[0]['contents']} contents. Pseudo-labels change the"
        f" student's SRCC by {_number(gain['difference'])} [{_number(gain['low'])},"
        f" {_number(gain['high'])}] (paired, 95% over contents)."
    )
    if rows[0]["contents"] < 16:
        lines.append("So few contents show that it runs, but not how good it is.")
    (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "table.json").write_text(json.dumps({"rows": rows, "gain": gain}, indent=2) + "\n")
    plots.comparison(out / "table.png", rows, "test split")
    return rows


if __name__ == "__main__":
    sys.exit(main())
