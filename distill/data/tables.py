"""Tables and lists that users write by hand; what is wrong is told with file and line."""

import csv
import math
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from distill.data.misnamed import column_hint, likely
from distill.errors import ConfigError, ManifestError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


def read_table(
    path: Path,
    known: Collection[str],
    columns: Mapping[str, str] | None = None,
    group_regex: str | None = None,
) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV (or, by its name, TSV or Parquet) as line number and cells by column.

    Args:
        path: of the table; the first row names the columns, one of them ``video``.
        known: columns that are found in any case, so that ``MOS`` is not lost in silence.
        columns: known column -> the table's name for it, or, with braces, a text made of the
            row's cells: ``{"mos": "MOS", "video": "{vid}.mp4"}``. None: the command has no
            such option.
        group_regex: searched in ``video``; what it finds (its first group where it has one) is
            the row's ``group``.

    Raises:
        ManifestError: no such table, not UTF-8, no column ``video``, no rows, a ragged row; a
            column that is not there; a video in which ``group_regex`` finds nothing.
        ConfigError: ``columns`` or ``group_regex`` cannot be used.
    """
    option = columns is not None
    columns = {name: source for name, source in (columns or {}).items() if source is not None}
    for name in columns:
        if name not in known:
            raise ConfigError(f"data.columns.{name}: columns are {', '.join(sorted(known))}")
    if group_regex and "group" in columns:
        raise ConfigError("data.columns.group and data.group_regex: give one of them")
    need = () if "video" in columns else ("video",)
    records = read_records(path, () if columns else known, need, option=option)
    if columns:
        records = [(line, _renamed(path, cells, columns, known)) for line, cells in records]
    if group_regex:
        _set_groups(path, records, group_regex)
    return records


def read_records(
    path: Path,
    known: Collection[str] = (),
    need: Sequence[str] = ("video",),
    delimiter: str = "",
    option: bool = False,
) -> list[tuple[int, dict[str, str]]]:
    """Rows of a table with a header: line number (1 is the header) and cells by column.

    Args:
        path: .csv, .tsv or .parquet; other names are read as CSV. An empty cell of a Parquet
            file (null or NaN) is ''.
        known: columns that are found in any case.
        need: columns that have to be there.
        delimiter: of the cells; default: a tab in a .tsv, else a comma.
        option: whether ``data.columns`` can name another column.

    Raises:
        ManifestError: see ``read_table``.
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; a manifest is a CSV with a column `video`")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        table = _parquet(path)
    else:
        delimiter = delimiter or ("\t" if suffix == ".tsv" else ",")
        table = _delimited(path, delimiter)
        _check_delimiter(path, table, delimiter)
    header = [_column(name, known) for name in (table[0][1] if table else [])]
    absent = next((name for name in need if name not in header), None)
    if absent:
        hint = column_hint(absent, likely(absent, header), option)
        raise ManifestError(f"{path}, line 1: no column `{absent}` in {header}{hint}")
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise ManifestError(f"{path}, line 1: two columns are named {twice!r}; rename one")
    records = []
    for line, cells in table[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ManifestError(
                f"{path}, line {line}: {len(cells)} cells for {len(header)} columns; "
                'put values that hold a comma into "quotes"'
            )
        records.append((line, dict(zip(header, cells, strict=True))))
    if not records:
        raise ManifestError(f"{path}: the table has a header and no rows")
    return records


def parse_number(text: str) -> float:
    """A number as a table writes it.

    Raises:
        ValueError: none, or one that only Python writes: ``float("3_0")`` is 30.
    """
    if "_" in text:
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def read_label_lines(path: Path) -> list[tuple[int, str, str]]:
    """Lines of a label file without a header, as FAST-VQA has it: ``name, duration, fps, mos``.

    KVQ's ``name,cls_label,dis_label,mos`` has the same shape, and ``name,mos`` is read as well.
    Cells are counted from the right, so that a name may hold commas.

    Returns:
        Line number, name and score, stripped.

    Raises:
        ManifestError: no such file, not UTF-8, no rows, or a line of another shape.
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error})") from error
    found = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ManifestError(f"{path}: no rows")
    width = 4 if found[0][1].count(",") >= 3 else 2
    out = []
    for number, line in found:
        cells = [cell.strip() for cell in line.rsplit(",", width - 1)]
        if len(cells) != width or not cells[0]:
            raise ManifestError(
                f"{path}, line {number}: {line!r} is neither `name, duration, fps, mos` nor"
                " `name, mos`; for named columns, use data=manifest data.columns.video=..."
            )
        out.append((number, cells[0], cells[-1]))
    return out


def read_list(path: Path, looked_for: str) -> list[str]:
    """Stripped lines of a list of paths.

    Args:
        path: of the list.
        looked_for: for the message, what else the file could have been.

    Raises:
        ManifestError: it is not text.
    """
    no_list = f"{path}: neither a list of paths in UTF-8 nor a video by its name ({looked_for})"
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise ManifestError(no_list) from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
    if any("\0" in line for line in lines[:100]):  # an archive of texts, say
        raise ManifestError(no_list)
    return lines


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """Write a table in the format of its name: .tsv, .parquet, else CSV; NaN is an empty cell."""
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = zip(*rows, strict=True) if rows else ([] for _ in header)
        arrays = [pa.array(column, from_pandas=True) for column in columns]  # NaN becomes null
        pq.write_table(pa.table(arrays, names=list(header)), path)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        writer.writerow(header)
        writer.writerows([_written(cell) for cell in row] for row in rows)


def _written(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    return "" if math.isnan(cell) else repr(float(cell))


def _column(name: str, known: Collection[str]) -> str:
    name = name.strip()
    return name.lower() if name.lower() in known else name


def _delimited(path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    table: list[tuple[int, list[str]]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            table.extend((reader.line_num, cells) for cells in reader)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error}); save it as UTF-8 CSV") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: {error}; a missing quote?") from error
    return table


def _check_delimiter(path: Path, table: list[tuple[int, list[str]]], delimiter: str) -> None:
    """Spreadsheets write semicolons where a comma is the decimal sign.

    Raises:
        ManifestError: the header is one cell that holds another delimiter.
    """
    header = table[0][1] if table else []
    if len(header) == 1 and set(header[0]) & set(";\t,|"):
        wanted = {
            ",": "commas, or with tabs in a .tsv, and write 3.5, not 3,5",
            "\t": "tabs, or with commas in a .csv",
            ";": "semicolons",
        }
        raise ManifestError(
            f"{path}, line 1: one column, {header[0]!r}; separate cells with {wanted[delimiter]}"
        )


def _parquet(path: Path) -> list[tuple[int, list[str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # One file, not a dataset: the folder's name must not add columns.
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path}: not a Parquet file that can be read ({error})") from error
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    cells = [(line, [_text(value) for value in row]) for line, row in enumerate(rows, 2)]
    return [(1, list(table.column_names)), *cells]


def _text(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)


def _renamed(
    path: Path, cells: dict[str, str], columns: Mapping[str, str], known: Collection[str]
) -> dict[str, str]:
    """Cells under the known names; the columns that were taken are gone, the others stay."""

    def cell(name: str, option: str) -> str:
        if name not in cells:
            close = get_close_matches(name, cells, 1, 0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(cells)}"
            raise ManifestError(f"{path}: no column {name!r} (data.columns.{option}); {hint}")
        return cells[name]

    taken: dict[str, str] = {}
    for name, source in columns.items():
        if "{" in source:
            parts = re.split(r"\{([^{}]*)\}", source)  # text and names in turn
            parts[1::2] = [cell(part, name).strip() for part in parts[1::2]]
            taken[name] = "".join(parts)
        else:
            taken[name] = cell(source, name)
    others: dict[str, str] = {}
    for name, value in cells.items():
        column = _column(name, known)
        if name in columns.values() or column in taken:
            continue
        if column in others:
            raise ManifestError(f"{path}, line 1: two columns are named {column!r}; rename one")
        others[column] = value
    return {**others, **taken}


def _set_groups(path: Path, records: list[tuple[int, dict[str, str]]], regex: str) -> None:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(f"data.group_regex={regex!r}: {error}") from error
    if pattern.groups > 1:
        raise ConfigError(f"data.group_regex={regex!r}: one group at the most; use (?:...)")
    for line, cells in records:
        match = pattern.search(cells["video"])
        if match is None or not match[pattern.groups]:
            raise ManifestError(
                f"{path}, line {line}: data.group_regex={regex!r} finds nothing in"
                f" {cells['video']!r}; it must find the source content of every video"
            )
        cells["group"] = match[pattern.groups]
