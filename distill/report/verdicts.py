"""Paired comparisons of models in words and as a table, and the KVQ challenge's score."""

from dataclasses import dataclass

from distill.evaluation.comparisons import TITLES
from distill.report.blocks import Cell, Lines, Table, num
from distill.report.folder import RunFolder
from distill.report.text import fixed, interval, is_number
from distill.resampling import FEW_CONTENTS

_SENTENCES = 8  # verdicts that are told in words
_SAID = (TITLES["kvq"], TITLES["srcc"])  # by these statistics


@dataclass(frozen=True)
class _Pair:
    """A difference between two models on one table; older evaluations have no words for it."""

    names: str
    data: str
    statistic: str
    difference: float | None
    low: float | None
    high: float | None
    contents: int
    words: str

    @property
    def apart(self) -> bool:
        """Whether the interval leaves zero out, over as many contents as it needs."""
        if not (is_number(self.low) and is_number(self.high)):
            return False
        return self.contents >= FEW_CONTENTS and not self.low <= 0 <= self.high


def verdicts(run: RunFolder) -> list[Lines]:
    """Sentences on the challenge's score and SRCC, those that tell two models apart first."""
    found = sorted(_sentences(run), key=lambda pair: not pair.apart)[:_SENTENCES]
    return [Lines([pair.words for pair in found])] if found else []


def comparisons(run: RunFolder) -> list[Table]:
    """All pairs and statistics, where the sentences have not said all."""
    pairs = _pairs(run)
    if len(pairs) <= min(len(_sentences(run)), _SENTENCES):
        return []
    rows = [
        [Cell(pair.names), Cell(pair.data), Cell(pair.statistic), num(pair.difference, sign=True),
         Cell(interval(pair.low, pair.high), pair.low),
         Cell("told apart" if pair.apart else "not told apart")]
        for pair in pairs
    ]  # fmt: skip
    columns = ["pair", "data", "statistic", "difference", "95%", "verdict"]
    table = Table(
        columns, rows, frozenset({"pair", "data", "statistic", "verdict"}),
        caption="All paired comparisons",
        note="Each interval is of its own pair: of equal models one pair in 20 is told apart by"
        " chance.",
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
    columns = ["model", "data", "score", "95%", "SRCC", "PLCC", "pairs of contents",
               "pairs of a content"]  # fmt: skip
    note = "0.45 SRCC + 0.45 PLCC + 0.05 of the accuracy on each kind of ranked pairs."
    return [Table(columns, rows, frozenset({"model", "data"}), "The KVQ challenge's score", note)]


def _sentences(run: RunFolder) -> list[_Pair]:
    return [pair for pair in _pairs(run) if pair.statistic in _SAID]


def _pairs(run: RunFolder) -> list[_Pair]:
    names = {str(s.row.get("bundle")): s.name for s in run.subjects}
    found = []
    for pair in run.result.get("pairs") or []:
        first, other = (str(pair.get(key)) for key in ("first", "other"))
        both = f"{names.get(first, first)} minus {names.get(other, other)}"
        statistic = TITLES.get(str(pair.get("statistic") or "srcc"), "")
        value = pair.get("difference", pair.get("srcc_difference"))
        low, high = pair.get("low"), pair.get("high")
        told = f"{both}: {statistic} {fixed(value, sign=True)} {interval(low, high)} (paired)"
        data, words = str(pair.get("table_name") or ""), str(pair.get("verdict") or told)
        contents = int(pair.get("contents") or FEW_CONTENTS)
        found.append(_Pair(both, data, statistic, value, low, high, contents, words))
    return found
