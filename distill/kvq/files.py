"""The challenge's files: scores by video, and ranked pairs from a workbook or from tables."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.data.tables import parse_number, read_records
from distill.errors import ManifestError

SHEETS = ("source", "nonsource")
_COLUMNS = ("video1", "video2", "rank")
Pair = tuple[str, str, int]


@dataclass(frozen=True)
class ScoreFile:
    """Scores by video.

    Attributes:
        path: of the file.
        scores: name -> score, finite; of a name that is there twice, the last.
        repeated: names that are there more than once.
    """

    path: Path
    scores: dict[str, float]
    repeated: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RankedPairs:
    """Pairs of videos and which is better: 1 the first, 2 the second.

    Attributes:
        path: for messages.
        source: of one content each.
        nonsource: of two contents each.
    """

    path: Path
    source: list[Pair]
    nonsource: list[Pair]

    @property
    def videos(self) -> list[str]:
        """Every video that is in a pair, once."""
        pairs = (*self.source, *self.nonsource)
        return list(dict.fromkeys(name for one, two, _ in pairs for name in (one, two)))


def read_scores(path: Path, skip: Collection[str] = ()) -> ScoreFile:
    """Read ``filename,score``, or ``video,score`` as score.py writes it.

    Args:
        path: of the CSV; further columns are left alone.
        skip: videos whose empty scores are known.

    Raises:
        ManifestError: no such file or columns, an empty name, or a score that is no finite number.
    """
    records = read_records(path, ("filename", "video", "score"), ("score",))
    name = next((column for column in ("filename", "video") if column in records[0][1]), None)
    if name is None:
        raise ManifestError(f"{path}, line 1: no column `filename` in {list(records[0][1])}")
    scores: dict[str, float] = {}
    repeated: dict[str, None] = {}
    for line, cells in records:
        video, text = cells[name].strip(), cells["score"].strip()
        if not video:
            raise ManifestError(f"{path}, line {line}: the cell `{name}` is empty")
        if not text and video in skip:
            continue
        value = _number(text)
        if not math.isfinite(value):
            raise ManifestError(
                f"{path}, line {line}: the score of {video} is {text!r}, not a finite number"
            )
        if video in scores:
            repeated[video] = None
        scores[video] = value
    return ScoreFile(path, scores, list(repeated))


def read_pairs(paths: Sequence[Path]) -> RankedPairs:
    """Read ranked pairs.

    Args:
        paths: one workbook (.xlsx) with the sheets ``source`` and ``nonsource``; or one folder
            with source.csv and nonsource.csv; or these two tables, in either order.

    Each has the columns video1, video2 and rank, by their names or else the first three.

    Raises:
        ManifestError: a file, sheet or column is missing, a sheet is empty, a rank is neither 1
            nor 2, or openpyxl is not installed.
    """
    found: dict[str, list[tuple[int, list[Any]]]]
    where = dict.fromkeys(SHEETS, paths[0])
    if len(paths) == 1 and paths[0].suffix.lower() == ".xlsx":
        found = _workbook(paths[0])
    else:
        where = _tables(paths)
        found = {}
        for name, path in where.items():
            records = read_records(path, _COLUMNS, ())
            rows: list[tuple[int, list[Any]]] = [(1, list(records[0][1]))]
            found[name] = rows + [(line, list(cells.values())) for line, cells in records]
    pairs = {name: _pairs(where[name], name, found[name]) for name in SHEETS}
    return RankedPairs(paths[0], **pairs)


def _tables(paths: Sequence[Path]) -> dict[str, Path]:
    if len(paths) == 1 and paths[0].is_dir():
        return {name: paths[0] / f"{name}.csv" for name in SHEETS}
    # "nonsource" holds "source", so it is looked for first.
    other = next((path for path in paths if "nonsource" in path.stem.lower()), None)
    own = next((p for p in paths if p != other and "source" in p.stem.lower()), None)
    if len(paths) != 2 or other is None or own is None:
        told = ", ".join(map(str, paths))
        raise ManifestError(
            f"{told}: ranked pairs are one .xlsx with the sheets source and nonsource, or a folder"
            " with source.csv and nonsource.csv, or two tables with these words in their names"
        )
    return {"source": own, "nonsource": other}


def _workbook(path: Path) -> dict[str, list[tuple[int, list[Any]]]]:
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; the organisers give it as rank-pair-val.xlsx")
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise ManifestError(
            f"{path}: a workbook is read with openpyxl: pip install 'distill-vqa[kvq]'; or save its"
            " sheets as source.csv and nonsource.csv in a folder and give that"
        ) from error
    from zipfile import BadZipFile

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, BadZipFile, KeyError, OSError, ValueError) as error:
        raise ManifestError(f"{path}: not a workbook that can be read ({error})") from error
    try:
        sheets = {sheet.title.strip().lower(): sheet for sheet in book.worksheets}
        absent = [name for name in SHEETS if name not in sheets]
        if absent:
            raise ManifestError(
                f"{path}: no sheet {' and no sheet '.join(absent)}; it has {', '.join(sheets)}"
            )
        return {
            name: [
                (line, list(cells))
                for line, cells in enumerate(sheets[name].iter_rows(values_only=True), 1)
                if any(cell is not None for cell in cells)
            ]
            for name in SHEETS
        }
    finally:
        book.close()


def _pairs(path: Path, sheet: str, rows: list[tuple[int, list[Any]]]) -> list[Pair]:
    where = f"{path}, {sheet}" if path.suffix.lower() == ".xlsx" else str(path)
    header = [str(cell or "").strip().lower() for cell in rows[0][1]] if rows else []
    if len(header) < 3 or _number(header[2]) in (1, 2):
        raise ManifestError(
            f"{where}, line 1: {header}: a header is wanted, of {', '.join(_COLUMNS)}"
        )
    named = all(name in header for name in _COLUMNS)
    at = [header.index(name) for name in _COLUMNS] if named else [0, 1, 2]
    pairs = []
    for line, cells in rows[1:]:
        cells = [*cells, *[None] * len(header)]  # a workbook's row may end before its header does
        one, two, rank = (str(cells[k] if cells[k] is not None else "").strip() for k in at)
        value = _number(rank)
        if not one or not two or value not in (1, 2):
            raise ManifestError(
                f"{where}, line {line}: {one!r}, {two!r}, rank {rank!r}; wanted are two videos and"
                " 1 where the first is better, or 2"
            )
        pairs.append((one, two, int(value)))
    if not pairs:
        raise ManifestError(f"{where}: no pairs below the header")
    return pairs


def _number(text: str) -> float:
    try:
        return parse_number(text)
    except ValueError:
        return math.nan
