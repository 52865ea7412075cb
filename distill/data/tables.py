"""Tables and lists that users write by hand; what is wrong is told with file and line."""

import csv
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from distill.errors import ManifestError


def read_table(path: Path, known: Collection[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV (or, by its name, TSV) as line number and cells by column.

    Args:
        path: of the table; the first row names the columns, one of them ``video``.
        known: columns that are found in any case, so that ``MOS`` is not lost in silence.

    Raises:
        ManifestError: no such table, not UTF-8, no column ``video``, no rows, a ragged row.
    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; a manifest is a CSV with a column `video`")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    table: list[tuple[int, list[str]]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            table.extend((reader.line_num, cells) for cells in reader)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error}); save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: {error}; a lost quote?") from error
    header = [_column(name, known) for name in (table[0][1] if table else [])]
    if "video" not in header:
        close = get_close_matches("video", header, 1, 0.5)
        hint = f"; rename column {close[0]!r}?" if close else ""
        if len(header) == 1 and set(header[0]) & set(";\t,|"):
            hint = "; separate cells with commas, or with tabs in a .tsv"
        raise ManifestError(f"{path}, line 1: no column `video` in {header}{hint}")
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


def read_list(path: Path, looked_for: str) -> list[str]:
    """Stripped lines of a list of paths.

    Args:
        path: of the list.
        looked_for: for the message, what else the file could have been.

    Raises:
        ManifestError: it is not text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            return [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: neither a list of paths in UTF-8 nor a video by its name ({looked_for})"
        ) from error


def _column(name: str, known: Collection[str]) -> str:
    name = name.strip()
    return name.lower() if name.lower() in known else name
