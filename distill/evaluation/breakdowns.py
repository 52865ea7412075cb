"""Agreement within parts of a table: by a column of it, or by what the videos are."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.reader import VideoInfo
from distill.errors import ConfigError
from distill.metrics import plcc, rmse
from distill.resampling import interval_over_contents
from distill.scored import Scored

MIN_VIDEOS = 10  # of a part: fewer have no correlation to speak of
MAX_VALUES = 50  # of a column; with more there is no breakdown, or numbers are cut into quarters
_QUARTERS = 8  # distinct numbers that are still values of their own
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_CLASS = re.compile(rf"(up to |over )?({_NUMBER})(?: to ({_NUMBER}))?p?(?: |$)", re.IGNORECASE)


def check_columns(known: Collection[str], by: Sequence[str]) -> None:
    """Raises ConfigError, with the names that there are, for a column that no table has."""
    names = sorted({*known, *DERIVED})
    for name in by:
        if name not in names:
            close = get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]}? There are" if close else "there are"
            raise ConfigError(f"by={name}: no table has such a column; {hint} {', '.join(names)}")


def columns_of(results: Sequence[Scored], by: Sequence[str]) -> dict[str, list[str]]:
    """The value of each video in each column that is broken down.

    Args:
        results: sound ones of one table, with their metadata.
        by: columns; those that this table lacks are passed over. ``DERIVED`` is there anyway.

    Returns:
        Column -> value of each video; '' where the table has none.

    Raises:
        ConfigError: a column has too many values.
    """
    found = {}
    for name in dict.fromkeys([*by, *DERIVED]):
        if any(name in scored.row.extra for scored in results) and name in by:
            values = [scored.row.extra.get(name, "").strip() for scored in results]
            found[name] = _classes(name, values)
        elif name in DERIVED:
            of = DERIVED[name]
            found[name] = [of(s.info, s.row.path) if s.info else "" for s in results]
    return found


def break_down(
    name: str,
    table_name: str,
    columns: Mapping[str, Sequence[str]],
    scores: Sequence[float],
    mos: Sequence[float],
    groups: Sequence[str],
    **options: Any,
) -> list[dict[str, Any]]:
    """A row per value of each column, in the order of the values.

    Columns with one value say nothing that the whole table does not, and are left out.

    Args:
        name: of the model.
        table_name: of the table.
        columns: see ``columns_of``.
        scores: (N,) calibrated.
        mos: (N,).
        groups: (N,) source contents.
        options: of ``interval_over_contents``: draws, method.

    Returns:
        Rows with n, contents, SRCC and its interval, PLCC, RMSE and bias (mean of score minus MOS,
        both without a fit). With fewer than ``MIN_VIDEOS`` videos the correlations are nan, and
        ``warning`` says so.
    """
    rows = []
    predicted, labels, contents = np.asarray(scores), np.asarray(mos), np.asarray(groups)
    for column, values in columns.items():
        cells = np.asarray(values)
        distinct = sorted(set(values), key=class_order)
        for value in distinct if len(distinct) > 1 else []:
            own = cells == value
            x, y, g = predicted[own], labels[own], contents[own]
            row = {"name": name, "table_name": table_name, "column": column, "value": value}
            row |= _part(x, y, g, **options)
            rows.append(row)
    return rows


def _part(x: np.ndarray, y: np.ndarray, groups: np.ndarray, **options: Any) -> dict[str, Any]:
    count, contents = len(x), len(set(groups))
    row: dict[str, Any] = {"n": count, "contents": contents}
    nothing = math.nan
    row |= {"srcc": nothing, "low": nothing, "high": nothing, "plcc": nothing}
    row |= {"rmse_raw": rmse(x, y), "bias": float(np.mean(x - y))}
    if count < MIN_VIDEOS:
        return row | {"warning": f"fewer than {MIN_VIDEOS} videos: no correlation"}
    found = interval_over_contents(x, y, groups, **options)
    row |= {"srcc": found.estimate, "low": found.low, "high": found.high, "plcc": plcc(x, y)}
    undefined = "the scores or the MOS are constant" if math.isnan(found.estimate) else ""
    return row | {"warning": undefined or found.warning}


def _classes(name: str, values: Sequence[str]) -> list[str]:
    """Values as they are, or where they are many numbers, the quarter that each lies in.

    Raises:
        ConfigError: they are many and no numbers.
    """
    distinct = set(values) - {""}
    numbers = [_number(value) for value in values]
    sound = [number for number in numbers if math.isfinite(number)]
    if len(distinct) > _QUARTERS and len(sound) == len([v for v in values if v]):
        edges = np.quantile(sound, [0, 0.25, 0.5, 0.75, 1])
        quarter = np.clip(np.searchsorted(edges, numbers, side="left") - 1, 0, 3)
        return [
            f"{edges[q]:g} to {edges[q + 1]:g}" if math.isfinite(number) else ""
            for q, number in zip(quarter, numbers, strict=True)
        ]
    if len(distinct) > MAX_VALUES:
        raise ConfigError(
            f"by={name}: {len(distinct)} different values, for example {min(distinct)!r}; at most"
            f" {MAX_VALUES} can be looked at one by one"
        )
    return list(values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def class_order(value: str) -> tuple[bool, float, float, str]:
    """Sorts values: numbers and classes that begin with one by that, the others by letters.

    ``up to 24 fps`` comes before ``24 to 25 fps``, ``over 60 fps`` after ``50 to 60 fps``; '' at
    the end.
    """
    found = _CLASS.match(value)
    if not found:
        return (value == "", math.inf, 0.0, value)
    start, low, high = found.groups()
    least = float(low)
    end = {"up to ": -math.inf, "over ": math.inf}.get(start, float(high or low))
    return (False, least, end, value)


def _bounded(number: float, edges: Iterable[float], unit: str) -> str:
    """``up to 24 fps``, ``24 to 30 fps`` (more than 24), ``over 60 fps``."""
    below = None
    for edge in edges:
        if number <= edge:
            start = "up to " if below is None else f"{below:g} to "
            return f"{start}{edge:g}{unit}"
        below = edge
    return f"over {below:g}{unit}"


def _resolution(info: VideoInfo, _: Path) -> str:
    return _bounded(min(info.width, info.height), (360, 480, 540, 720, 1080, 1440), "p")


def _orientation(info: VideoInfo, _: Path) -> str:
    if info.width == info.height:
        return "square"
    return "landscape" if info.width > info.height else "portrait"


def _fps(info: VideoInfo, _: Path) -> str:
    # 29.97 and 30 are one class, and so are 59.94 and 60.
    return _bounded(round(info.fps), (24, 25, 30, 50, 60), " fps") if info.fps > 0 else ""


def _duration(info: VideoInfo, _: Path) -> str:
    return _bounded(info.duration, (5, 10, 20, 60), " s") if info.duration > 0 else ""


def _file_size(_: VideoInfo, path: Path) -> str:
    return _bounded(path.stat().st_size / 1e6, (0.5, 1, 2, 5, 10, 50), " MB")


DERIVED: dict[str, Callable[[VideoInfo, Path], str]] = {
    "resolution": _resolution,
    "orientation": _orientation,
    "fps": _fps,
    "duration": _duration,
    "file_size": _file_size,
}
