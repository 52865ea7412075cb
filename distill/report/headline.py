"""The top of the page: what was measured, how sure it is, and what a reader must know first."""

import math
from collections.abc import Sequence
from typing import Any

from distill.evaluation.telling import notes_of
from distill.report import agreement_plots as plots
from distill.report import answers
from distill.report.answers_of_runs import of_labels, of_training
from distill.report.blocks import (
    Cell,
    Figure,
    Figures,
    Section,
    Table,
    Tile,
    Tiles,
    cost,
    num,
    whole,
)
from distill.report.folder import RunFolder
from distill.report.subjects import SPLITS, Subject, off_scale, shown
from distill.report.text import count, fixed, gmacs, interval, is_number, listed
from distill.report.verdicts import comparisons, kvq, verdicts
from distill.resampling import FEW_CONTENTS
from distill.specification import is_demo, of_vmaf


def headline(run: RunFolder) -> Section | None:
    """The main numbers; None where the run has none."""
    if run.kind == "pseudo_label":
        return _of_labels(run)
    if not run.subjects:
        return None
    if run.kind == "evaluate" and len(run.subjects) > 1:
        return _of_several(run)
    return _of_one(run)


def banners(run: RunFolder) -> list[str]:
    """What must be known before any number is believed."""
    told = []
    if not run.result and run.kind != "sweep":
        told.append("This run has not finished: it has no result yet.")
    if is_demo((run.spec.get("provenance") or {}).get("data")) or any(
        s.row.get("demo") for s in run.subjects
    ):
        told.append(
            "Demo data only: the labels are VMAF of synthetic clips, not people's opinions."
        )
    elif run.spec and of_vmaf(run.spec):
        told.append("The labels are VMAF of processed copies, not people's opinions.")
    if names := list(dict.fromkeys(s.name for s in run.subjects if off_scale(s.row))):
        told.append(
            f"Not on the MOS scale: {listed(names)}. Only ranks count; plots and errors are after"
            " the fitted curve."
        )
    if run.spec and run.spec.get("calibration") is None:
        role = run.spec.get("role", "the model")
        told.append(f"Not calibrated: {role}. The scores are on no MOS scale; only ranks count.")
    warned = notes_of([_noted(s) for s in run.subjects])
    if warned:
        told += [f"{text.rstrip('.')}." for text in warned]
    else:
        few = {
            s.where: int(s.row["contents"])
            for s in run.subjects
            if is_number(s.row.get("contents")) and s.row["contents"] < FEW_CONTENTS
        }
        if few:
            where = "; ".join(f"{count(n, 'content')} in {where}" for where, n in few.items())
            told.append(f"Only {where}: too few to trust the intervals.")
    return told


def _noted(subject: Subject) -> dict[str, Any]:
    """What ``notes_of`` reads; older evaluations have one text for all notes."""
    row = subject.row
    notes = row.get("notes") or [str(row["warning"])] if row.get("warning") else []
    return {"name": subject.name, "table_name": subject.table, "notes": notes}


def _of_one(run: RunFolder) -> Section:
    tested = [s for s in run.subjects if s.split == "test"]
    main = (tested or run.subjects)[0]
    tiles = _tiles(main)
    for other in run.subjects:
        if other is not main:
            ends = interval(other.row.get("low"), other.row.get("high"))
            value = fixed(other.row.get("srcc"))
            tiles.append(Tile(f"SRCC, {SPLITS.get(other.split, other.split)}", value, ends))
    budget = run.result.get("budget")
    held = f", budget {gmacs(budget)}" if is_number(budget) else ""
    if is_number(main.row.get("gmacs")):
        params = f"{fixed(main.row.get('params_m'), 2)} M parameters"
        tiles.append(Tile(f"GMACs a video{held}", gmacs(main.row["gmacs"]), params))
    if is_number(run.result.get("minutes")):
        steps = run.result.get("steps")
        note = count(int(steps), "step") if is_number(steps) else ""
        tiles.append(Tile("training", f"{run.result['minutes']:.1f} min", note))
    told = answers.of_evaluation if run.kind == "evaluate" else of_training
    blocks: list[Any] = [told(run), Tiles(tiles)]
    blocks += kvq(run)
    name = f"the {main.name}" if main.name in ("teacher", "student") else main.name
    return Section(
        "result", "Result", f"How well {name} orders and scores the {_how_many(main)} of"
        f" {main.where}; brackets are 95% intervals over source contents.", blocks,
    )  # fmt: skip


def _tiles(subject: Subject) -> list[Tile]:
    row = subject.row
    fitted = fixed(row.get("plcc_fitted"))
    of = f", {SPLITS.get(subject.split, subject.split)}" if subject.split else ""
    return [
        Tile(f"SRCC{of}", fixed(row.get("srcc")), interval(row.get("low"), row.get("high"))),
        Tile(f"PLCC{of}", fixed(row.get("plcc")), f"{_ends(row, 'plcc')} fitted {fitted}".strip()),
        Tile(f"RMSE{of}", fixed(_error(row)), f"MOS; fitted {fixed(row.get('rmse'))}"),
    ]  # fmt: skip


def _how_many(subject: Subject) -> str:
    videos, contents = subject.row.get("n"), subject.row.get("contents")
    told = count(int(videos), "video") if is_number(videos) else "videos"
    return f"{told} ({count(int(contents), 'content')})" if is_number(contents) else told


def _of_several(run: RunFolder) -> Section:
    best: dict[str, float] = {}
    for s in run.subjects:
        value = shown(s.row, "srcc")
        if not math.isnan(value):
            best[s.where] = max(best.get(s.where, -math.inf), value)
    rows, others = [], []
    for s in run.subjects:
        r = s.row
        top = "best" if shown(r, "srcc") == best.get(s.where) else ""
        named = [Cell(s.name), Cell(s.where)]
        rows.append(
            [*named, Cell(fixed(r.get("srcc")), r.get("srcc"), top),
             Cell(interval(r.get("low"), r.get("high")), r.get("low")),
             num(r.get("plcc")), Cell(_ends(r, "plcc")), num(_error(r)),
             cost(r.get("gmacs")), whole(r.get("n")), whole(r.get("contents"))]
        )  # fmt: skip
        keys = ("plcc_fitted", "rmse", "krcc", "pair_accuracy", "ntire2023")
        others.append([*named, *(num(r.get(key)) for key in keys), num(r.get("params_m"), 2)])
    # Together they would be wider than a page.
    words = frozenset({"model", "data"})
    columns = "model|data|SRCC|95% of SRCC|PLCC|95% of PLCC|RMSE|GMACs|videos|contents".split("|")
    table = Table(
        columns, rows, words,
        note="95%: interval over source contents. PLCC and RMSE (in MOS) are of the scores as they"
        " are; a model on another scale has no RMSE. Bold: the highest SRCC, which alone is no"
        " verdict.",
    ).without_constant("data", "95% of PLCC", "videos", "contents")  # fmt: skip
    columns = ["model", "data", "PLCC fitted", "RMSE fitted", "KRCC", "same-content pairs",
               "NTIRE 2023", "M parameters"]  # fmt: skip
    more = Table(
        columns, others, words, fold="Other numbers",
        note="Fitted is after a 4-parameter logistic on these very videos, as most papers print"
        " it.",
    ).without_constant("data", "NTIRE 2023")  # fmt: skip
    names = list(dict.fromkeys(s.name for s in run.subjects))
    tables = list(dict.fromkeys(s.where for s in run.subjects))
    return Section(
        "result", "Result",
        f"{count(len(names), 'model')} on {'; '.join(tables)}: trust a verdict that says better,"
        " not a difference of two numbers, since the models are compared on the same contents.",
        [answers.of_evaluation(run), *verdicts(run), _dots(run.subjects), table,
         *comparisons(run), more, *kvq(run)],
    )  # fmt: skip


def _dots(subjects: Sequence[Subject]) -> Figures:
    """SRCC and its interval, a figure for each table."""
    tables: dict[str, list[Subject]] = {}
    for subject in subjects:
        tables.setdefault(subject.where, []).append(subject)
    figures = []
    for where, own in tables.items():
        sure = any(is_number(s.row.get("low")) for s in own)
        note = "Lines: 95% over source contents." if sure else "No intervals."
        if len(tables) > 1:
            figures.append(Figure(f"SRCC on {where}", plots.dots(own), note))
        else:
            both = plots.dots(own, "wide") + plots.dots(own, "narrow")
            figures.append(Figure("SRCC", both, note, style="full"))
    return Figures(figures, "thirds" if len(figures) == 3 else "")


def _error(row: dict[str, Any]) -> float | None:
    """RMSE in MOS; None of scores that are on another scale."""
    return None if off_scale(row) else row.get("rmse_raw")


def _ends(row: dict[str, Any], statistic: str) -> str:
    """The interval of one statistic; empty where older evaluations have none."""
    low, high = (row.get("intervals") or {}).get(statistic) or (None, None)
    return interval(low, high)


def _of_labels(run: RunFolder) -> Section | None:
    result = run.result
    if "labelled" not in result:
        return None
    tiles = [Tile("videos labelled", str(result["labelled"]))]
    tiles.append(Tile("failed", str(result.get("failed", 0)), "each with a reason, below"
                      if result.get("failed") else ""))  # fmt: skip
    if is_number(result.get("mean")):
        ends = f"{fixed(result.get('low'), 2)} to {fixed(result.get('high'), 2)}"
        tiles.append(Tile("mean score", fixed(result["mean"], 2), ends))
    if is_number(result.get("spread")):
        tiles.append(Tile("members differ by", fixed(result["spread"], 3), "mean deviation"))
    if is_number(result.get("data_wait")):
        tiles.append(Tile("waiting for videos", f"{result['data_wait']:.0%}", "of the time"))
    return Section(
        "result", "Result", "What the teacher said of the pool; where its members differ much, its"
        " label is worth less.", [of_labels(run), Tiles(tiles)],
    )  # fmt: skip
