"""Which column of a table is meant, where the one that is needed has another name there."""

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from distill.data.rows import Manifest
from distill.words import option_word

_USUAL = {
    "video": ("video", "filename", "path", "file", "clip", "vid", "name"),
    "mos": ("mos", "score", "rating", "opinion", "quality", "label"),
}


def column_hint(wanted: str, found: str, option: bool) -> str:
    """What to do where a table lacks a column; empty where nothing can be said.

    Args:
        wanted: the column.
        found: the one that is probably meant; '' where none is.
        option: whether the command has ``data.columns``.
    """
    if option:
        word = option_word(f"data.columns.{wanted}", found or "NAME")
        return f"; if another column is meant: {word}"
    return f"; rename column {found!r} to `{wanted}`" if found else ""


def no_mos(manifest: Manifest, option: bool = True) -> str:
    """Why no video of a table has a label, where that is for want of a column; else empty.

    Args:
        manifest: of the table.
        option: whether the command has ``data.columns``.
    """
    if not manifest.columns or "mos" in manifest.columns:
        return ""
    numbers = [
        name
        for name in dict.fromkeys(name for row in manifest.rows for name in row.extra)
        if _is_score(row.extra.get(name, "") for row in manifest.rows)
    ]
    named = likely("mos", numbers) or (numbers[0] if len(numbers) == 1 else "")
    return (
        f"{manifest.path}: no column `mos` in {list(manifest.columns)}, so no video is"
        f" labelled{column_hint('mos', named, option)}"
    )


def likely(wanted: str, header: Sequence[str]) -> str:
    """The column that has a usual name in its own, else the nearest by its letters, else ''."""
    for usual in _USUAL.get(wanted, ()):
        for name in header:
            if usual in name.lower():
                return name
    return next(iter(get_close_matches(wanted, header, 1, 0.5)), "")


def _is_score(cells: Iterable[str]) -> bool:
    """Whether a column may be one of scores: finite numbers, and not all the same."""
    try:
        numbers = {float(cell) for cell in cells if cell.strip()}
    except ValueError:
        return False
    return len(numbers) > 1 and all(map(math.isfinite, numbers))
