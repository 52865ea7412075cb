"""The section on kinds of videos: the breakdowns of an evaluation, drawn and as tables."""

from typing import Any

from distill.evaluation.breakdowns import DERIVED, class_order
from distill.report import kind_plots
from distill.report.blocks import Cell, Figure, Figures, Heading, Section, Table, num, whole
from distill.report.folder import RunFolder
from distill.report.text import interval, is_number


def breakdown(run: RunFolder) -> Section | None:
    """The evaluation's numbers by kinds of videos: those asked for drawn, the others folded."""
    found = run.result.get("breakdowns") or []
    if not found:
        return None
    blocks: list[Any] = []
    for column in dict.fromkeys(str(row.get("column", "")) for row in found):
        rows = [row for row in found if str(row.get("column", "")) == column]
        rows.sort(key=lambda row: class_order(str(row.get("value", ""))))
        figures = [] if column in DERIVED else _of_kinds(rows)
        if figures:
            blocks += [Heading(f"By {column}"), Figures(figures)]
        blocks.append(_by_kind(column, rows, bool(figures)))
    return Section(
        "breakdown", "By kind of video",
        "Where the model is weak: a low SRCC within a kind, or a bias (mean of score minus MOS)"
        " that favours it. Within a narrow kind every SRCC is lower than over all.",
        blocks,
    )  # fmt: skip


def _of_kinds(rows: list[dict[str, Any]]) -> list[Figure]:
    """SRCC and bias of the models by kind, for each table; none of too many models."""
    models = list(dict.fromkeys(str(row.get("name", "")) for row in rows))
    tables = list(dict.fromkeys(str(row.get("table_name", "")) for row in rows))
    if len(models) > kind_plots.MOST_MODELS:
        return []
    figures = []
    for table in tables:
        own = [row for row in rows if str(row.get("table_name", "")) == table]
        on = f", {table}" if len(tables) > 1 else ""
        if any(is_number(row.get("srcc")) for row in own):
            plot = kind_plots.by_kind(own, models, "srcc", "SRCC", 0.0)
            note = "Lines: 95% over contents. Kinds of too few videos are left out."
            figures.append(Figure(f"SRCC within a kind{on}", plot, note))
        plot = kind_plots.by_kind(own, models, "bias", "score − MOS", 0.0)
        figures.append(Figure(f"Bias{on}", plot, "Right of zero: scored better than people did."))
    return figures


def _by_kind(column: str, found: list[dict[str, Any]], drawn: bool) -> Table:
    names = "model|data|videos|contents|SRCC|95% of SRCC|PLCC|RMSE|bias".split("|")
    rows = [
        [*(Cell(str(row.get(key, ""))) for key in ("value", "name", "table_name")),
         whole(row.get("n")), whole(row.get("contents")), num(row.get("srcc")),
         Cell(_marked(row), row.get("low")),
         num(row.get("plcc")), num(row.get("rmse_raw")), num(row.get("bias"), sign=True)]
        for row in found
    ]  # fmt: skip
    notes = []
    if any(not is_number(row.get("srcc")) for row in found):
        notes.append("–: too few videos for a correlation.")
    if any(_marked(row).endswith("*") for row in found):
        notes.append("*: too few contents to trust the intervals.")
    folded = f"By {column.replace('_', ' ')}" if column in DERIVED else ""
    if drawn:
        folded = f"The numbers by {column}"
    table = Table(
        [column, *names], rows, frozenset({column, "model", "data"}),
        "" if folded else f"By {column}", " ".join(notes), fold=folded,
    )  # fmt: skip
    return table.without_constant("data", "model")


def _marked(row: dict[str, Any]) -> str:
    """An interval, with a star where the evaluation warns of it."""
    told = interval(row.get("low"), row.get("high"))
    return f"{told} *" if told and row.get("warning") else told
