"""The last sections: what was left out, and how to make the run again."""

import time
from collections import Counter
from typing import Any

from distill.report.blocks import Cell, Facts, Section, Table, whole
from distill.report.folder import RunFolder
from distill.report.reasons import alike
from distill.report.text import count, gmacs
from distill.runs import RESULT

_SHOWN = 50
_OPEN = 12  # rows of a table that is not folded; and most reasons


def problems(run: RunFolder) -> Section | None:
    """The reasons of ``problems.csv``, and its first rows."""
    if not run.problems:
        return None
    rows = [
        [Cell(row.get("video") or ""), Cell(row.get("reason") or ""), Cell(row.get("file") or ""),
         Cell(row.get("line") or "", _line(row))]
        for row in run.problems[:_SHOWN]
    ]  # fmt: skip
    more = len(run.problems) - len(rows)
    note = f"{more} more are in {run.path / 'problems.csv'}." if more else ""
    reasons = alike(Counter(row.get("reason") or "" for row in run.problems))
    fold = f"The first {len(rows)} of them" if more else "Each of them"
    table = Table(
        ["video", "reason", "table", "line"], rows, frozenset({"video", "reason", "table"}),
        note=note, fold=fold if len(rows) > _OPEN else "",
    )  # fmt: skip
    counted = [[Cell(reason), whole(n)] for reason, n in reasons.most_common(_OPEN)]
    blocks = [table]
    if len(rows) > _OPEN:
        blocks.insert(0, Table(["reason", "videos"], counted, frozenset({"reason"})))
    return Section(
        "problems", "Left out", f"{count(len(run.problems), 'video')} could not be used; no number"
        " above counts them.", blocks,
    )  # fmt: skip


def provenance(run: RunFolder) -> Section | None:
    """Where every number comes from."""
    facts: list[tuple[str, str]] = [("folder", str(run.path))]
    if date := when(run):
        facts.append(("date", date))
    for at, record in enumerate(run.records):
        name = "command" if len(run.records) == 1 else f"command, start {at + 1}"
        facts.append((name, str(record.get("command", ""))))
    last = run.records[-1] if run.records else {}
    git = last.get("git") or {}
    if git.get("commit"):
        dirty = ", with changes that are not committed" if git.get("dirty") else ""
        facts.append(("commit", f"{git['commit']}{dirty}"))
    if last.get("packages"):
        known = [f"{name} {version}" for name, version in last["packages"].items() if version]
        facts.append(("versions", f"Python {last.get('python', '')}, " + ", ".join(known)))
    if last.get("platform"):
        facts.append(("platform", str(last["platform"])))
    facts += _of_bundle(run.spec)
    if run.store is not None:
        facts.append(("label store", str(run.store.folder)))
        facts.append(("teacher", str(run.store.meta.get("teacher", ""))))
    for subject in run.subjects if run.kind == "evaluate" else ():
        row = subject.row
        facts.append(
            (f"{subject.name}, {subject.table}", f"{row.get('bundle')} on {row.get('table')}")
        )
    return Section("provenance", "Provenance", "Enough to make every number again.", [Facts(facts)])


def when(run: RunFolder) -> str:
    """Day and time of the run's last start, or of its result where older versions noted none."""
    if run.records and run.records[-1].get("date"):
        return str(run.records[-1]["date"])
    path = run.path / RESULT
    if not path.is_file():
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))


def _of_bundle(spec: dict[str, Any]) -> list[tuple[str, str]]:
    if not spec:
        return []
    origin = spec.get("provenance") or {}
    facts = [("model", str(spec.get("fingerprint", "")))]
    facts.append(("network", str((spec.get("architecture") or {}).get("_target_", ""))))
    learned = (
        f"{origin.get('labelled', 0)} labelled, {origin.get('pseudo_labelled', 0)} pseudo-labelled"
    )
    facts.append(("learned from", f"{learned} videos; {origin.get('data') or 'no table'}"))
    cost = spec.get("cost") or {}
    if cost.get("by_part"):
        parts = [f"{name} {gmacs(value)}" for name, value in cost["by_part"].items()]
        facts.append(("GMACs by part", ", ".join(parts)))
    if spec.get("licenses"):
        facts.append(("licences", "; ".join(map(str, spec["licenses"]))))
    return facts


def _line(row: dict[str, str]) -> float | None:
    text = row.get("line") or ""
    return float(text) if text.isdecimal() else None
