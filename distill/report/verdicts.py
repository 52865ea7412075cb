"""Paired comparisons of models in words and as a table, and the KVQ challenge's score."""

from dataclasses import dataclass

from distill.evaluation.comparisons import TITLES
from distill.evaluation.telling import BY_CHANCE, without_notes
from distill.report.blocks import Cell, Lines, Table, num
from distill.report.folder import RunFolder
from distill.report.text import fixed, interval, is_number, minus
from distill.resampling import FEW_CONTENTS

_SENTENCES = 8  # verdicts that are told in words
_FEW = 2  # sentences, of which also those that do not tell apart are told
_SAID = (TITLES["kvq"], TITLES["srcc"])  # by these statistics


@dataclass(frozen=True)
class Pair:
    """A difference between two models on one table: the first one's minus the other's.

    Older evaluations have no words for it.
    """

    first: str
    other: str
    data: str
    statistic: str
    difference: float | None
    low: float | None
    high: float | None
    contents: int
    words: str

    @property
    def names(self) -> str:
        """Both, as their difference is taken."""
        return f"{self.first} minus {self.other}"

    @property
    def defined(self) -> bool:
        """Whether both have a value; older evaluations told of such pairs only."""
        return is_number(self.difference)

    @property
    def sure(self) -> bool:
        """Whether there is an interval, over as many contents as it needs."""
        return is_number(self.low) and is_number(self.high) and self.contents >= FEW_CONTENTS

    @property
    def apart(self) -> bool:
        """Whether that interval leaves zero out."""
        return self.sure and not float(self.low or 0) <= 0 <= float(self.high or 0)


def verdicts(run: RunFolder) -> list[Lines]:
    """Sentences on the challenge's score and SRCC: those that tell apart, and others if few.

    What a verdict repeats of the notes, which stand above it, is left out of its sentence.
    """
    found = _sentences(run)
    return [Lines([_told(run, pair) for pair in found])] if found else []


def comparisons(run: RunFolder) -> list[Table]:
    """All pairs and statistics, where the sentences have not said all."""
    pairs = paired(run)
    if len(pairs) <= len(_sentences(run)):
        return []
    rows = [
        [Cell(pair.names), Cell(pair.data), Cell(pair.statistic), num(pair.difference, sign=True),
         Cell(interval(pair.low, pair.high), pair.low),
         Cell(_in_words(pair))]
        for pair in pairs
    ]  # fmt: skip
    columns = ["pair", "data", "statistic", "difference", "95% interval", "verdict"]
    table = Table(
        columns, rows, frozenset({"pair", "data", "statistic", "verdict"}),
        fold="All paired comparisons",
        note=f"Each interval is of its own comparison: {BY_CHANCE}.",
    )  # fmt: skip
    return [table.without_constant("data", "statistic")]


def kvq(run: RunFolder) -> list[Table]:
    """The challenge's score, where the evaluation was asked for it."""
    found = run.result.get("kvq") or []
    if not found:
        return []
    keys = ("srcc", "plcc", "acc_nonsource", "acc_source")
    rows = [
        [Cell(str(row.get("name", ""))), Cell(str(row.get("table_name", ""))),
         num(row.get("score"), 4), Cell(interval(row.get("low"), row.get("high")), row.get("low"))]
        + [num(row.get(key), 4) for key in keys]
        for row in found
    ]  # fmt: skip
    columns = ["model", "data", "score", "95% of score", "SRCC", "PLCC", "pairs of contents",
               "pairs of a content"]  # fmt: skip
    note = "0.45 SRCC + 0.45 PLCC + 0.05 of the accuracy on each kind of ranked pairs."
    return [Table(columns, rows, frozenset({"model", "data"}), "The KVQ challenge's score", note)]


def _in_words(pair: Pair) -> str:
    if not pair.defined:
        return "not defined"
    return "told apart" if pair.apart else "not told apart"


def _sentences(run: RunFolder) -> list[Pair]:
    """The pairs that are told in words."""
    known = [pair for pair in paired(run) if pair.statistic in _SAID]
    apart = [pair for pair in known if pair.apart]
    unsure = [pair for pair in known if not pair.apart]
    return [*apart[:_SENTENCES], *(unsure if len(known) <= _FEW else [])]


def _told(run: RunFolder, pair: Pair) -> str:
    notes = [note for s in run.subjects for note in s.row.get("notes") or []]
    return minus(without_notes(pair.words, notes))


def paired(run: RunFolder) -> list[Pair]:
    """Every comparison of the evaluation."""
    names = {str(s.row.get("bundle")): s.name for s in run.subjects}
    found = []
    for pair in run.result.get("pairs") or []:
        first, other = (str(pair.get(key)) for key in ("first", "other"))
        first, other = names.get(first, first), names.get(other, other)
        statistic = TITLES.get(str(pair.get("statistic") or "srcc"), "")
        value = pair.get("difference", pair.get("srcc_difference"))
        low, high = pair.get("low"), pair.get("high")
        told = f"{first} minus {other}: {statistic} {fixed(value, sign=True)}"
        told += f" {interval(low, high)} (paired)"
        data, words = str(pair.get("table_name") or ""), str(pair.get("verdict") or told)
        contents = int(pair.get("contents") or FEW_CONTENTS)
        found.append(Pair(first, other, data, statistic, value, low, high, contents, words))
    return found
