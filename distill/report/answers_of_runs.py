"""The first screen of a training, a labelling and a sweep: what an evaluation's has, in short."""

import shlex
from typing import Any

import numpy as np

from distill.evaluation.comparisons import compare
from distill.report.answers import (
    COMPARED,
    GOOD,
    LOOK,
    NEXT,
    TRUST,
    few_contents,
    quality,
    trusted,
    without_model,
)
from distill.report.blocks import Answers
from distill.report.folder import RunFolder, teacher_of
from distill.report.subjects import Subject, by_place
from distill.report.text import command, count, fixed, gmacs, interval, is_number, minus, number


def of_training(run: RunFolder) -> Answers:
    """Answers from validation, the test split and the teacher's validation."""
    tested = [s for s in run.subjects if s.split == "test"]
    main = (tested or run.subjects)[0]
    good = [f"On {main.where}: {quality(main)}."]
    budget = run.result.get("budget")
    if is_number(budget):
        good.append(f"The budget is {gmacs(budget)} GMACs.")
    trust = trusted([main])
    if not tested:
        trust.insert(0, "Not yet: validation chose and calibrated these weights.")
    elif len(run.subjects) > 1:
        other = next(s for s in run.subjects if s is not main)
        held = fixed(other.row.get("srcc"))
        trust.append(f"Quote the test: validation (SRCC {held}) chose and calibrated the weights.")
    if run.problems:
        trust.append(f"{count(len(run.problems), 'video')} left out, with reasons below.")
    compared = [*_beside_teacher(run), *without_model(main)]
    return Answers([(GOOD, good), (COMPARED, compared), (TRUST, trust), (NEXT, _next(run, main))])


def _beside_teacher(run: RunFolder) -> list[str]:
    """The paired verdict on the videos of validation that the student and its teacher scored."""
    teacher = teacher_of(run) if run.kind == "train_student" else None
    student = next((s for s in run.subjects if s.split == "val"), None)
    if teacher is None or student is None:
        return []
    first, other = by_place(student.videos), by_place(teacher.videos)
    both = [place for place in first if place in other]
    if len(both) < 3:
        return []
    chosen = [first[place] for place in both]
    scores = {
        "the student": [video.score for video in chosen],
        "its teacher": [other[place].score for place in both],
    }
    groups = [video.group or video.video for video in chosen]
    rows = compare(scores, [video.mos for video in chosen], groups, "validation")
    words = next(str(row["verdict"]) for row in rows if row["statistic"] == "srcc")
    return [f"{minus(words[0].upper() + words[1:])}."]


def _next(run: RunFolder, main: Subject) -> list[str]:
    bundle = shlex.quote(str(run.path / "bundle"))
    told: list[str] = []
    if few_contents(main):
        told.append("Add videos of other contents, not more versions of the same.")
    if run.kind == "train_teacher":
        line = f"python pseudo_label.py teacher_bundle={bundle} pool=FOLDER"
        told.append(command("Label a pool:", line))
    else:
        line = f"python evaluate.py bundles=[{bundle},OTHER]"
        told.append(command("Compare it with what you have, on the same videos:", line))
    return [*told, LOOK] if main.videos else told


def of_labels(run: RunFolder) -> Answers:
    """Answers from the result of a labelling and the validation of its teacher."""
    result = run.result
    done, failed = int(result["labelled"]), int(result.get("failed") or 0)
    good = [f"{done} of {count(done + failed, 'video')} have a label."]
    if is_number(result.get("low")):
        good.append(f"Scores from {fixed(result['low'], 2)} to {fixed(result.get('high'), 2)}.")
    teacher = teacher_of(run)
    compared = ["The teacher's run is not in its place: there is no MOS to compare with."]
    trust: list[str] = []
    if teacher is not None and teacher.videos:
        low, high = float(teacher.mos.min()), float(teacher.mos.max())
        compared = [f"MOS of the teacher's validation: {fixed(low, 2)} to {fixed(high, 2)}."]
        trust.append(f"No more than the teacher, on its validation: {quality(teacher)}.")
    if is_number(result.get("spread")):
        spread = fixed(result["spread"], 2)
        trust.append(f"Its members differ by {spread} in the mean: see Doubt for where.")
    store = shlex.quote(str(result.get("store") or run.path / "store"))
    then: list[str] = [
        command("Train on them:", f"python train_student.py +budget=120 labels={store}")
    ]
    if failed:
        then.append(f"{count(failed, 'video')} failed: the reasons are under Pseudo-labels.")
    return Answers([(GOOD, good), (COMPARED, compared), (TRUST, trust), (NEXT, then)])


def of_sweep(run: RunFolder) -> Answers | None:
    """Answers from the table of a sweep; None where nothing was trained."""
    rows = [row for row in run.sweep if np.isfinite(number(row.get("val_srcc")))]
    rows = [row for row in rows if not row.get("same_as")]
    if not rows:
        return None
    best = max(rows, key=lambda row: number(row.get("val_srcc")))
    cheap = min(rows, key=lambda row: number(row.get("gmacs")))
    good = [f"By validation {_student(best)}."]
    ends = interval(number(best.get("test_low")), number(best.get("test_high")))
    if np.isfinite(number(best.get("test_srcc"))):
        good.append(f"Its test SRCC is {fixed(number(best['test_srcc']))} {ends}".strip() + ".")
    compared = [f"The cheapest is {_student(cheap)}."] if cheap is not best else []
    left = len(run.sweep) - len(rows)
    compared.append(
        f"{count(len(rows), 'student')} trained"
        + (f", {left} not, as told below." if left else ".")
    )
    bundles = ",".join(str(row.get("bundle") or "BUNDLE") for row in (best, cheap))
    trust = ["Choose by validation, then quote the test of that one: the best of many is lucky."]
    line = f"python evaluate.py {shlex.quote(f'bundles=[{bundles}]')}"
    then = [command("Whether the two differ:", line)]
    if cheap is best:
        line = f"python export.py --bundle {shlex.quote(str(best.get('bundle')))}"
        then = [command("Deploy it:", line)]
    return Answers([(GOOD, good), (COMPARED, compared), (TRUST, trust), (NEXT, then)])


def _student(row: dict[str, Any]) -> str:
    cost, value = gmacs(number(row.get("gmacs"))), fixed(number(row.get("val_srcc")))
    return f"{row.get('run', '')}: SRCC {value} at {cost} GMACs a video"
