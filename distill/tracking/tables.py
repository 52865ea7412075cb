"""Tables of videos for W&B: whole in the run directory, and sent as far as the user allows."""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from distill.data.reader import VideoReader
from distill.data.spool import local
from distill.errors import VideoError
from distill.tracking.cards import finite

Rows = Sequence[Mapping[str, Any]]
Picture = Callable[[int], Image.Image | None]
MOST_ROWS = 10_000  # W&B's tables take 200 000; a browser is slow long before
MOST_PICTURES = 64
_WIDTH = 192  # pixels of a thumbnail's longer side
_NAMES = ("video", "group")


def by_spread(std: float) -> float:
    """A key to sort by: the widest spread first, those without one last."""
    return math.inf if math.isnan(std) else -std


def write_table(folder: Path, key: str, rows: Rows) -> Path:
    """Keep a table with all its names beside the run: ``tables/val_table.csv``.

    Args:
        folder: the run directory.
        key: of W&B, as ``val/table``.
        rows: not empty, all with the same columns.
    """
    path = folder / "tables" / f"{key.replace('/', '_')}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", *rows[0]])
        writer.writerows([at, *row.values()] for at, row in enumerate(rows, 1))
    return path


def sent(rows: Rows, names: bool) -> tuple[list[str | int], list[list[Any]]]:
    """Columns and cells that are sent.

    A row is known by its number in the file of ``write_table``. Without names a video has no
    other mark, and a content is a number from 1.

    Args:
        rows: not empty, all with the same columns.
        names: whether names of videos and contents may be sent.
    """
    contents: dict[Any, int] = {}
    columns: list[str | int] = ["row", *(c for c in rows[0] if names or c not in _NAMES)]
    numbered = not names and "group" in rows[0]
    if numbered:
        columns.append("content")
    cells = []
    for at, row in enumerate(rows, 1):
        line = [at, *(finite(value) for c, value in row.items() if names or c not in _NAMES)]
        if numbered:
            line.append(contents.setdefault(row["group"], len(contents) + 1))
        cells.append(line)
    return columns, cells


def thumbnail(path: Path, reader: VideoReader) -> Image.Image | None:
    """The middle frame, small; None where it cannot be read.

    Args:
        path: of the video, or its URL.
        reader: of the videos.
    """
    with suppress(VideoError), local(path) as file:
        middle = max(0, reader.probe(file).num_frames // 2)
        for _, frame in reader.read(file, [middle]):
            picture = Image.fromarray(np.ascontiguousarray(frame))
            picture.thumbnail((_WIDTH, _WIDTH))
            return picture
    return None
