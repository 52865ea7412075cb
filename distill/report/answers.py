"""The first screen of an evaluation: how good, compared to what, whether to trust it, what next."""

import math
import shlex
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from distill.evaluation.breakdowns import DERIVED
from distill.evaluation.given_scores import ROLE
from distill.report.blocks import Answers
from distill.report.folder import RunFolder
from distill.report.subjects import Subject, off_scale, shown
from distill.report.text import command, count, fixed, gmacs, interval, is_number, listed
from distill.report.verdicts import Pair, paired
from distill.resampling import FEW_CONTENTS

GOOD, COMPARED, TRUST, NEXT = "How good?", "Compared to what?", "Can I trust it?", "What next?"
LOOK = Markup('Look at the largest errors, under <a href="#videos">Videos</a>.')
_TABLES = 3  # that are told of
_CHEAPER = 0.9  # of the GMACs of the best: what is worth a word
_VIDEOS = 10  # of a kind whose bias is told
# Of what ``distill.stages.overlap`` notes.
_NO_TEST, _UNKNOWN = "does not test it", "it is not known whether"


def of_evaluation(run: RunFolder) -> Answers:
    """Answers from the rows, the verdicts and the breakdowns of an evaluation."""
    tables = list(dict.fromkeys(s.where for s in run.subjects))
    good, compared, trust = [], [], []
    for where in tables[:_TABLES]:
        own = [s for s in run.subjects if s.where == where]
        best = highest(own)
        before = f"{where}: " if len(tables) > 1 else ""
        if best is None:
            good.append(f"{before}no SRCC is defined, since scores or MOS are constant.")
            continue
        good += [f"{before}{text}" for text in _challenge(run, best.table)]
        good.append(f"{before}{best.name}, {quality(best)}.")
        found = _compared(run, best, own)
        if before:  # of each table what matters most
            compared += [before + text for text in found[:1]]
            trust.append(before + " ".join(trusted(own)))
        else:
            compared += [*found, *without_model(best)]
            trust += trusted(own)
    if len(tables) > _TABLES:
        good.append(f"{count(len(tables) - _TABLES, 'more table')} below.")
    return Answers([(GOOD, good), (COMPARED, compared), (TRUST, trust), (NEXT, _next(run))])


def highest(subjects: Sequence[Subject]) -> Subject | None:
    """That of the highest SRCC; None where none is defined."""
    known = [s for s in subjects if not math.isnan(shown(s.row, "srcc"))]
    return max(known, key=lambda s: shown(s.row, "srcc"), default=None)


def quality(subject: Subject) -> str:
    """SRCC with its interval, the error in MOS, and the cost."""
    row = subject.row
    ends = interval(row.get("low"), row.get("high"))
    told = f"SRCC {fixed(row.get('srcc'))} {ends}".strip()
    if is_number(row.get("rmse_raw")) and not off_scale(row):
        told += f", typical error {fixed(row['rmse_raw'], 2)} MOS (RMSE)"
    cost = shown(row, "gmacs")
    return f"{told}, {gmacs(cost)} GMACs a video" if cost > 0 else told


def _challenge(run: RunFolder, table: str) -> list[str]:
    """The highest score of the KVQ challenge on a table, where it was asked for."""
    rows = [row for row in run.result.get("kvq") or [] if row.get("table_name") == table]
    known = [row for row in rows if is_number(row.get("score"))]
    if not known:
        return []
    best = max(known, key=lambda row: row["score"])
    ends = interval(best.get("low"), best.get("high"))
    return [f"{best['name']}, KVQ score {fixed(best['score'], 4)} {ends}".strip() + "."]


def without_model(subject: Subject) -> list[str]:
    """The error of who knows only the mean MOS; nothing where that is not known."""
    if len(subject.videos) < 3 or off_scale(subject.row):
        return []
    off, own = float(subject.mos.std()), shown(subject.row, "rmse_raw", "rmse")
    if own > off:
        return [f"Worse than the mean MOS for every video, an error of {fixed(off, 2)} (RMSE)."]
    return [f"The mean MOS for every video would be an error of {fixed(off, 2)} (RMSE)."]


def _compared(run: RunFolder, best: Subject, own: Sequence[Subject]) -> list[str]:
    pairs = [p for p in paired(run) if p.statistic == "SRCC" and p.data in ("", best.table)]
    pairs = [p for p in pairs if best.name in (p.first, p.other)]
    if not pairs:
        alone = "This page has one model: bundles=[A,B] compares two on the same videos."
        return [alone] if len(own) == 1 else []
    beaten = [_other(p, best.name) for p in pairs if p.apart]
    unsure = {_other(p, best.name): p for p in pairs if p.defined and not p.apart}
    undefined = [_other(p, best.name) for p in pairs if not p.defined]
    parts = [f"shown to be better than {listed(beaten)}"] if beaten else []
    parts += [f"not told apart from {listed(list(unsure))}"] if unsure else []
    parts += [f"not comparable with {listed(undefined)}"] if undefined else []
    return [f"{best.name} is {', and '.join(parts)}.", *_cheaper(best, own, unsure)]


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


def trusted(subjects: Sequence[Subject]) -> list[str]:
    """What speaks for and against the numbers of one table."""
    told = []
    seen = [s.name for s in subjects if _no_test(s)]
    if seen:
        who = "every model" if len(seen) == len(subjects) > 1 else listed(seen)
        told.append(f"No, {who} was trained or chosen on videos of this table.")
    elif any(_UNKNOWN in str(note) for s in subjects for note in s.row.get("notes") or []):
        told.append("It is not known whether a model was trained on this table: see above.")
    row = subjects[0].row
    videos, contents = row.get("n"), row.get("contents")
    if is_number(videos) and is_number(contents):
        size = f"{count(int(videos), 'video')} of {count(int(contents), 'content')}"
        few = f": too few, {FEW_CONTENTS} contents are needed." if contents < FEW_CONTENTS else ""
        wide = [s.row["high"] - s.row["low"] for s in subjects if is_number(s.row.get("low"))]
        upto = "up to " if len({f"{one:.2f}" for one in wide}) > 1 else ""
        width = f"; the 95% interval of an SRCC is {upto}{max(wide):.2f} wide." if wide else "."
        told.append(f"{size}{few or width}")
    return told


def _next(run: RunFolder) -> list[str]:
    told: list[str] = []
    if any(_no_test(s) for s in run.subjects):
        told.append(
            "Test on videos that no model knows: split=test, or another table with"
            " data.as_split=test."
        )
    elif any(few_contents(s) for s in run.subjects):
        told.append("Add videos of other contents, not more versions of the same.")
    else:
        told += _deployed(run)
    told += _weakest(run)
    return [*told, LOOK] if any(s.videos for s in run.subjects) else told


def _deployed(run: RunFolder) -> list[str]:
    """The model to deploy; or how to find it."""
    best = highest(run.subjects)
    if best is None or best.row.get("role") == ROLE or not best.row.get("bundle"):
        return []
    own = [s for s in run.subjects if s.name == best.name]
    if any(not shown(s.row, "low", "srcc") > 0 for s in own):
        return [f"{best.name} is not shown to order videos as people do: train it on more of them."]
    # On every table: a model may be the best of one and beaten on another.
    pairs = [pair for pair in paired(run) if pair.statistic == "SRCC" and pair.defined]
    if all(_wins(pair, best.name) for pair in pairs if best.name in (pair.first, pair.other)):
        line = f"python export.py --bundle {shlex.quote(str(best.row['bundle']))}"
        return [command("Deploy it:", line)]
    return ["More contents tell models apart; or take the cheapest of these."]


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
    if not best or off_scale(best.row) or len(rows) < 2:
        return []
    row: dict[str, Any] = max(rows, key=lambda row: abs(row["bias"]))
    way = "high" if row["bias"] > 0 else "low"
    kind = f"{row['column']} = {row['value'] or '(empty)'}"
    off = fixed(abs(row["bias"]), 2)
    many = count(int(row["n"]), "video")
    return [f"{best.name} scores {kind} {off} MOS too {way} on average ({many})."]


def few_contents(subject: Subject) -> bool:
    """Whether its intervals are of fewer contents than they need."""
    contents = subject.row.get("contents")
    return is_number(contents) and contents < FEW_CONTENTS


def _no_test(subject: Subject) -> bool:
    notes = subject.row.get("notes") or [subject.row.get("warning") or ""]
    return any(_NO_TEST in str(note) for note in notes)


def _wins(pair: Pair, name: str) -> bool:
    """Whether a model of the pair is shown to be the better one."""
    return pair.apart and (float(pair.low or 0) > 0) == (pair.first == name)


def _other(pair: Pair, name: str) -> str:
    return pair.other if pair.first == name else pair.first
