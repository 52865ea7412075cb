"""Any set that comes with a label file as FAST-VQA writes it: ``path, duration, fps, mos``."""

import math
from pathlib import Path

from distill.checks import one_of
from distill.data.published import Published, Record, number
from distill.data.rows import SPLITS
from distill.data.tables import read_label_lines
from distill.errors import ManifestError

PUBLISHED = Published("the label file", sizes={}, scores=(-math.inf, math.inf))


def read(source: Path, split: str | None = None) -> list[Record]:
    """Records of one file.

    Args:
        source: the file, ``data.labels=FILE``.
        split: of every row; None splits 70/15/15 by name.

    Raises:
        ConfigError: no such split.
        ManifestError: not a file, or not of this shape.
    """
    if split is not None:
        one_of("data.options.split", split, SPLITS[:3])
    if not source.is_file():
        raise ManifestError(f"{source}: name the label file itself: data.labels=FILE.txt")
    return [
        Record(source, line, name, number(source, line, mos), split=split or "")
        for line, name, mos in read_label_lines(source)
    ]
