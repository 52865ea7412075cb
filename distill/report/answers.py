"""The first screen of an evaluation: how good, compared to what, whether to trust it, what next."""

import math
import shlex
from collections.abc import Sequence
from typing import Any

from distill.evaluation.breakdowns import DERIVED
from distill.report.blocks import Answers
from distill.report.folder import RunFolder
from distill.report.subjects import Subject, shown
from distill.report.text import count, fixed, gmacs, interval, is_number
from distill.report.verdicts import Pair, paired
from distill.resampling import FEW_CONTENTS

GOOD, COMPARED, TRUST, NEXT = "How good?", "Compared to what?", "Can I trust it?", "What next?"
_TABLES = 3  # that are told of
_CHEAPER = 0.9  # of the GMACs of the best: what is worth a word
_VIDEOS = 10  # of a kind whose bias is told
_NO_TEST = "does not test it"  # of what ``distill.stages.overlap`` notes


def of_evaluation(run: RunFolder) -> Answers:
    """Answers from the rows, the verdicts and the breakdowns of an evaluation."""
    tables = list(dict.fromkeys(s.where for s in run.subjects))
    good, compared, trust, then = [], [], [], []
    for where in tables[:_TABLES]:
        own = [s for s in run.subjects if s.where == where]
        best = highest(own)
        if best is None:
            good.append(f"No SRCC is defined on {where}: its scores or MOS are constant.")
            continue
        on = f" on {where}" if len(tables) > 1 else ""
        good.append(f"{best.name}: {quality(best)}{on}.")
        compared += _compared(run, best, own, on)
        trust += trusted(own, on)
    if len(tables) > _TABLES:
        good.append(f"{count(len(tables) - _TABLES, 'more table')} below.")
    then += _next(run)
    return Answers(
        [(GOOD, good), (COMPARED, list(dict.fromkeys(compared))), (TRUST, trust), (NEXT, then)]
    )


def highest(subjects: Sequence[Subject]) -> Subject | None:
    """That of the highest SRCC; None where none is defined."""
    known = [s for s in subjects if not math.isnan(shown(s.row, "srcc"))]
    return max(known, key=lambda s: shown(s.row, "srcc"), default=None)


def quality(subject: Subject) -> str:
    """SRCC with its interval, the error in MOS, and the cost."""
    row = subject.row
    ends = interval(row.get("low"), row.get("high"))
    told = f"SRCC {fixed(row.get('srcc'))} {ends}".strip()
    if is_number(row.get("rmse_raw")) and row.get("calibrated") is not False:
        told += f", a score is off by {fixed(row['rmse_raw'], 2)} MOS (RMSE)"
    return f"{told}, {gmacs(row['gmacs'])} GMACs a video" if row.get("gmacs") else told


def without_model(subject: Subject) -> str:
    """The error of who knows only the mean MOS; empty where that is not known."""
    if len(subject.videos) < 3 or subject.row.get("calibrated") is False:
        return ""
    return f"The mean MOS for every video would be off by {fixed(float(subject.mos.std()), 2)}."


def _compared(run: RunFolder, best: Subject, own: Sequence[Subject], on: str) -> list[str]:
    told = []
    pairs = [p for p in paired(run) if p.statistic == "SRCC" and p.data in ("", best.table)]
    pairs = [p for p in pairs if best.name in (p.first, p.other)]
    if pairs:
        beaten = [_other(p, best.name) for p in pairs if p.apart]
        unsure = {_other(p, best.name): p for p in pairs if not p.apart}
        if beaten:
            told.append(f"{best.name} is shown to be better than {_listed(beaten)}{on}.")
        if unsure:
            told.append(f"{best.name} is not told apart from {_listed(list(unsure))}{on}.")
        told += _cheaper(best, own, unsure)
    elif len(own) == 1:
        told.append("This page has one model: bundles=[A,B] compares two on the same videos.")
    return [*told, text] if (text := without_model(best)) else told


def _cheaper(best: Subject, own: Sequence[Subject], unsure: dict[str, Pair]) -> list[str]:
    """The cheapest of those that are not told apart from the best, and what it may cost."""
    most = _CHEAPER * shown(best.row, "gmacs")
    known = [s for s in own if s.name in unsure and 0 < shown(s.row, "gmacs") < most]
    if not known:
        return []
    least = min(known, key=lambda s: shown(s.row, "gmacs"))
    pair = unsure[least.name]
    costs = f"{gmacs(least.row['gmacs'])} GMACs where {best.name} takes {gmacs(best.row['gmacs'])}"
    if not pair.sure:
        return [f"{least.name} takes {costs}."]
    lower = pair.high if pair.first == best.name else -float(pair.low or 0)
    return [f"{least.name} takes {costs}; its SRCC may be up to {fixed(lower, 2)} lower."]


def trusted(subjects: Sequence[Subject], on: str = "") -> list[str]:
    """What speaks for and against the numbers of one table."""
    told = []
    seen = [s.name for s in subjects if _no_test(s)]
    if seen:
        who = "Every model" if len(seen) == len(subjects) > 1 else _listed(seen)
        told.append(f"No: {who} knows these videos{on}, by training or by choice.")
    row = subjects[0].row
    videos, contents = row.get("n"), row.get("contents")
    if is_number(videos) and is_number(contents):
        size = f"{count(int(videos), 'video')} of {count(int(contents), 'content')}{on}"
        few = f": too few, {FEW_CONTENTS} contents are needed." if contents < FEW_CONTENTS else ""
        wide = [s.row["high"] - s.row["low"] for s in subjects if is_number(s.row.get("low"))]
        width = f"; the 95% interval of an SRCC is {max(wide):.2f} wide." if wide else "."
        told.append(f"{size}{few or width}")
    return told


def _next(run: RunFolder) -> list[str]:
    told = []
    if any(_no_test(s) for s in run.subjects):
        told.append(
            "Test on videos that no model knows: split=test, or another table with"
            " data.as_split=test."
        )
    elif any(few_contents(s) for s in run.subjects):
        told.append("Add videos of other contents, not more versions of the same.")
    else:
        best = highest(run.subjects)
        bundle = str(best.row.get("bundle", "")) if best else ""
        rivals = [p for p in paired(run) if best and best.name in (p.first, p.other)]
        if bundle and all(pair.apart for pair in rivals if pair.statistic == "SRCC"):
            told.append(f"Deploy it: python export.py --bundle {shlex.quote(bundle)}")
        elif bundle:
            told.append("More contents tell models apart; or take the cheapest of these.")
    return [*told, *_weakest(run), "Look at the largest errors, under Videos."]


def _weakest(run: RunFolder) -> list[str]:
    """The kind of video, of the columns that were asked for, that the best model is most off on."""
    best = highest(run.subjects)
    rows = [
        row
        for row in run.result.get("breakdowns") or []
        if best and (row.get("name"), row.get("table_name")) == (best.name, best.table)
        and row.get("column") not in DERIVED and is_number(row.get("bias"))
        and int(row.get("n") or 0) >= _VIDEOS
    ]  # fmt: skip
    if not best or len(rows) < 2:
        return []
    row: dict[str, Any] = max(rows, key=lambda row: abs(row["bias"]))
    way = "high" if row["bias"] > 0 else "low"
    kind = f"{row['column']} {row['value'] or '(empty)'}"
    off = fixed(abs(row["bias"]), 2)
    return [f"{best.name} scores {kind} {off} too {way} ({count(int(row['n']), 'video')})."]


def few_contents(subject: Subject) -> bool:
    """Whether its intervals are of fewer contents than they need."""
    contents = subject.row.get("contents")
    return is_number(contents) and contents < FEW_CONTENTS


def _no_test(subject: Subject) -> bool:
    notes = subject.row.get("notes") or [subject.row.get("warning") or ""]
    return any(_NO_TEST in str(note) for note in notes)


def _other(pair: Pair, name: str) -> str:
    return pair.other if pair.first == name else pair.first


def _listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; of many the first and how many more."""
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} others"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
