"""What an evaluation prints."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill.evaluation.comparisons import TITLES
from distill.resampling import FEW_CONTENTS

BY_CHANCE = "where models are equal, about one comparison in 20 tells them apart by chance"


def told(result: dict[str, Any], by: Sequence[str], worst: bool) -> str:
    """The tables and sentences of a result.

    Args:
        result: what result.json holds.
        by: columns whose breakdowns are printed.
        worst: print the worst videos too.
    """
    rows, pairs = result["rows"], result["pairs"]
    parts = [_agreement(rows)]
    parts.append("\n".join(f"note: {text}" for text in notes_of(rows)))
    notes = [text for row in rows for text in row["notes"]]
    parts += _comparisons(pairs, notes)
    parts.append(by_chance(pairs))
    shown = [row for row in result["breakdowns"] if row["column"] in by]
    parts.append(_breakdowns(shown))
    alike = [name for name in by if all(row["column"] != name for row in shown)]
    parts.append("\n".join(f"by={name}: all videos of a table have one value" for name in alike))
    if worst:
        parts.append(_worst(result["worst"]))
    parts.append(_kvq(result.get("kvq", [])))
    parts.append("\n".join(f"plot: {row['plot']}" for row in rows))
    return "\n\n".join(part for part in parts if part)


def by_chance(pairs: Sequence[dict[str, Any]]) -> str:
    """What to know of the comparisons of several pairs of models; empty of one pair."""
    sure = [p for p in pairs if p["contents"] >= FEW_CONTENTS and not math.isnan(p["low"])]
    if len({_models(pair) for pair in sure}) < 2:
        return ""
    return f"{len(sure)} comparisons, each with an interval of its own: {BY_CHANCE}"


def without_notes(verdict: str, notes: Iterable[str]) -> str:
    """A verdict that points at the notes which it repeats; for where these stand above it.

    Args:
        verdict: of ``distill.evaluation.comparisons``.
        notes: of the rows of its table.
    """
    said = verdict
    for note in notes:
        said = said.replace(f"; but {note}", "")
    return verdict if said == verdict else f"{said}; but see the notes above"


def notes_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What to know before the numbers are believed, each thing once and with what it is about.

    Args:
        rows: of result.json.

    Returns:
        By tables: first what holds for every model, then what holds for some.
    """
    told: list[str] = []
    for table in dict.fromkeys(row["table_name"] for row in rows):
        own = [row for row in rows if row["table_name"] == table]
        every = dict.fromkeys(text for row in own for text in row["notes"])
        common = [text for text in every if all(text in row["notes"] for row in own)]
        told += [f"{table}: {text}" for text in common]
        known: dict[str, list[str]] = {}  # a note with a mark for its model's name -> such models
        for row in own:
            name = row["name"]
            for text in (text for text in row["notes"] if text not in common):
                # What a model learned from names both by itself.
                before, named, after = f" {text} ".partition(f" {name} ")
                shape = f"{before} \0 {after}" if named else f"\0 on {table}: {text}"
                known.setdefault(shape.strip(), []).append(name)
        for shape, names in known.items():
            each = "Each of " if shape.startswith("\0") else "each of "
            told.append(shape.replace("\0", f"{each if len(names) > 1 else ''}{', '.join(names)}"))
    return told


def _agreement(rows: Sequence[dict[str, Any]]) -> str:
    table = [
        [
            row["name"], row["table_name"], interval(row, "srcc"), interval(row, "plcc"),
            number(row["plcc_fitted"]), number(row["krcc"]),
            number(row["rmse_raw"] if row["calibrated"] else math.nan),
            number(row["pair_accuracy"]), number(row["ntire2023"]), number(row["gmacs"], 2),
            str(row["n"]), str(row["contents"]),
        ]
        for row in rows
    ]  # fmt: skip
    header = (
        "bundle|table|SRCC [95% over contents]|PLCC [95%]|fitted|KRCC|RMSE|pairs|NTIRE23|GMACs|n"
        "|contents"
    ).split("|")
    return aligned(header, table)


def _comparisons(pairs: Sequence[dict[str, Any]], notes: Sequence[str]) -> list[str]:
    """Of one pair every verdict; of more those that tell two models apart, and all as a table."""
    rows: dict[tuple[str, ...], list[str]] = {}
    if len({_models(pair) for pair in pairs}) < 2:
        return ["\n".join(without_notes(pair["verdict"], notes) for pair in pairs)]
    apart = [pair["verdict"] for pair in pairs if is_apart(pair)]
    for pair in pairs:
        sign = f"{pair['difference']:+.3f}" if pair["difference"] == pair["difference"] else "-"
        told = f"{sign} {ends(pair['low'], pair['high'])}{' *' if is_apart(pair) else ''}"
        rows.setdefault(_models(pair), []).append(told)
    known = {pair["statistic"] for pair in pairs}
    heads = [f"{title} [95%, paired]" for name, title in TITLES.items() if name in known]
    table = aligned(
        ["first", "minus", "table", *heads], [[*names, *told] for names, told in rows.items()]
    )
    if not apart:
        return ["no two models are told apart: their intervals hold zero, have too few contents, or"
                " are not defined", table]  # fmt: skip
    return ["\n".join(without_notes(verdict, notes) for verdict in apart), f"{table}\n* told apart"]


def _models(pair: Mapping[str, Any]) -> tuple[str, ...]:
    return pair["first"], pair["other"], pair["table_name"]


def is_apart(pair: Mapping[str, Any]) -> bool:
    """Whether a comparison tells two models apart: enough contents, an interval without zero."""
    low, high = pair["low"], pair["high"]
    return bool(pair["contents"] >= FEW_CONTENTS and (low > 0 or high < 0))


def _breakdowns(rows: Sequence[dict[str, Any]]) -> str:
    header = "bundle|table|by|value|n|contents|SRCC [95%]|PLCC|RMSE|bias|".split("|")
    table = [
        [
            row["name"], row["table_name"], row["column"], row["value"] or "(empty)",
            str(row["n"]), str(row["contents"]),
            f"{number(row['srcc'])} {ends(row['low'], row['high'])}", number(row["plcc"]),
            number(row["rmse_raw"]), f"{row['bias']:+.3f}", row["warning"],
        ]
        for row in rows
    ]  # fmt: skip
    return aligned(header, table) if rows else ""


def _worst(rows: Sequence[dict[str, Any]]) -> str:
    header = "bundle|table|worst video|MOS|score|error".split("|")
    table = [
        [
            row["name"], row["table_name"], row["video"], f"{row['mos']:.3f}",
            f"{row['score']:.3f}", f"{row['residual']:+.3f}",
        ]
        for row in rows
    ]  # fmt: skip
    return aligned(header, table) if rows else ""


def _kvq(rows: Sequence[dict[str, Any]]) -> str:
    header = "bundle|table|KVQ score [95% over contents]|SRCC|PLCC|nonsource|source".split("|")
    table = [[row["name"], row["table_name"], *kvq_cells(row)] for row in rows]
    return aligned(header, table) if rows else ""


def kvq_cells(row: dict[str, Any]) -> list[str]:
    """The challenge's score with its interval, and its four parts."""
    parts = [number(row[name], 4) for name in ("srcc", "plcc", "acc_nonsource", "acc_source")]
    low, high = (row[end] for end in ("low", "high"))
    told = f"{number(row['score'], 4)} {ends(low, high)}".strip()
    return [told, *parts]


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = []
    for cells in (header, *rows):
        padded = [
            cell.rjust(width) if _is_number(rows, at) else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _is_number(rows: Sequence[Sequence[str]], at: int) -> bool:
    return all(not row[at].strip("+-.0123456789") for row in rows)


def interval(row: dict[str, Any], name: str) -> str:
    """``0.812 [0.780, 0.841]``."""
    return f"{number(row[name])} {ends(*row['intervals'][name])}"


def ends(low: float, high: float) -> str:
    """``[0.780, 0.841]``, or nothing where there is no interval."""
    return f"[{low:.3f}, {high:.3f}]" if low == low and high == high else ""


def number(value: float, decimals: int = 3) -> str:
    """Decimals, or a dash where it is undefined."""
    return f"{value:.{decimals}f}" if value == value else "-"
