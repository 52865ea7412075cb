"""Table scores: what another system's table says of the video, in place of its pixels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import dropwhile
from pathlib import Path, PurePath, PurePosixPath

import numpy as np

from distill.data.identity import sha256_of
from distill.data.reader import VideoInfo
from distill.data.tables import parse_number, read_records
from distill.data.views.base import Collector
from distill.errors import ConfigError, ManifestError, VideoError

Rows = dict[str, tuple[int, tuple[str, ...]]]  # name -> line, cells


@dataclass(frozen=True)
class TableScores:
    """The video's row in a table: C numbers, as the bytes of float64, because views are bytes.

    A row is the video's where its name is the end of the video's path, with or without the
    file's suffix: ``0001``, ``0001.mp4`` and ``train/0001.mp4`` are all found for
    ``/data/KVQ/train/0001.mp4``, and so is ``../train/0001.mp4``. A bare name stands for every
    video of that name: where names repeat, the table has to give folders. No frame is decoded, and
    nothing is random in training.

    Args:
        table: a CSV, TSV or Parquet file with a header.
        columns: its columns to take, in any case; C of them.
        name: its column of names.

    Attributes:
        sha256: of the table; it belongs to the view's identity, so that cached features of one
            table are never taken for another's.

    Yields (1, 8 * C). A video that the table does not have, has twice with different numbers, or
    has without a finite number, is a ``VideoError``.

    Source: ``filename,score`` are the columns of E-VQA's files of pseudo-labels and of KVQ's
        submissions.

    Raises:
        ConfigError: there is no such table or column, or it names a video twice.
    """

    table: str
    columns: tuple[str, ...] = ("score",)
    name: str = "filename"
    sha256: str = field(default="", init=False)

    def __post_init__(self) -> None:
        columns = (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)
        if not columns or self.name in columns or len(set(columns)) < len(columns):
            raise ValueError(f"columns {list(columns)}: give columns of numbers, each once")
        path = Path(self.table).expanduser()
        if not path.is_file():
            raise ConfigError(f"table={self.table}: no such file; give a CSV, TSV or Parquet file")
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "sha256", sha256_of(path))
        self.rows()  # what is wrong with the table is told before the first video

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, 8 * C): one moment, eight bytes a number."""
        return (1, 8 * len(self.columns))

    def rows(self) -> Rows:
        """The table: name -> line and cells.

        Raises:
            ConfigError: it cannot be used, or changed since this view was made.
        """
        return _read(Path(self.table).expanduser(), self.sha256, self.name, self.columns)

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        """Look the video up; see :class:`~distill.data.views.base.View`.

        Raises:
            VideoError: the table has no usable row for it.
        """
        path = Path(info.path)
        try:
            line, cells = self.row_of(path)
            return _Found(_numbers(f"{self.table}, line {line}", self.columns, cells))
        except ConfigError as error:
            raise VideoError(path, "table_scores", str(error)) from error

    def row_of(self, path: Path) -> tuple[int, tuple[str, ...]]:
        """Line and cells of a video's row.

        Raises:
            ConfigError: there is none, or two that differ.
        """
        rows = self.rows()
        found = {rows[name] for name in _names(path) if name in rows}
        if not found:
            raise ConfigError(f"{self.table} has no row for {path.name}")
        if len({cells for _, cells in found}) > 1:
            lines = " and ".join(str(line) for line, _ in sorted(found))
            raise ConfigError(f"{self.table}, lines {lines} are both about {path.name}")
        return min(found)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and population standard deviation (C,) over the usable rows, float64.

        Raises:
            ConfigError: no row is usable.
        """
        numbers = []
        for line, cells in self.rows().values():
            try:
                numbers.append(_numbers(f"{self.table}, line {line}", self.columns, cells))
            except ConfigError:  # told where the video is asked for
                continue
        if not numbers:
            raise ConfigError(f"table={self.table}: no row has numbers in {list(self.columns)}")
        return np.mean(numbers, axis=0), np.std(numbers, axis=0)


class _Found:
    """A collector that wants no frame."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.indices = np.empty(0, dtype=np.int64)
        self._bytes = numbers.view(np.uint8)[None]

    def add(self, index: int, frame: np.ndarray) -> None:
        raise RuntimeError(f"no frame was asked for, and frame {index} came")

    def result(self) -> np.ndarray:
        return self._bytes


def _names(path: Path) -> Iterator[str]:
    """Every name that a table may have for a file."""
    folders = path.absolute().parent.parts
    for last in dict.fromkeys((path.name, path.stem)):
        parts = (*folders, last)
        yield from (str(PurePosixPath(*parts[start:])) for start in range(len(parts)))


def _numbers(where: str, columns: tuple[str, ...], cells: tuple[str, ...]) -> np.ndarray:
    numbers = []
    for column, cell in zip(columns, cells, strict=True):
        try:
            number = parse_number(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"{where}: {column} {cell!r} is not a finite number")
        numbers.append(number)
    return np.array(numbers, dtype=np.float64)


@lru_cache(maxsize=8)  # of each process: views travel to decoding processes without their rows
def _read(path: Path, sha256: str, name: str, columns: tuple[str, ...]) -> Rows:
    if sha256_of(path) != sha256:
        raise ConfigError(f"{path} has changed since the start; start again")
    wanted = (name, *columns)
    try:
        records = read_records(path, wanted, wanted)
    except ManifestError as error:
        raise ConfigError(f"table: {error} (columns are chosen by name= and columns=)") from error
    rows: Rows = {}
    for line, cells in records:
        parts = PurePosixPath(PurePath(cells[name].strip()).as_posix()).parts
        key = str(PurePosixPath(*dropwhile(lambda part: part == "..", parts)))
        row = line, tuple(cells[column].strip() for column in columns)
        before = rows.setdefault(key, row)
        if before[1] != row[1]:
            raise ConfigError(
                f"{path}, line {line}: {key!r} has other numbers in line {before[0]};"
                " remove one of them"
            )
    return rows
