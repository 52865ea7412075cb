"""The one table: ``video, mos, mos_std, split, group``, and what was wrong with it."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from distill.data.places import RemotePath, is_url, name_of, url_problem, without_password
from distill.data.rows import SPLITS, Manifest, Problem, Row, check_groups, split_by_group
from distill.data.tables import parse_number, read_table, write_table
from distill.errors import ManifestError

COLUMNS = ("video", "mos", "mos_std", "split", "group")
VIDEO_SUFFIXES = frozenset(
    ".mp4 .mov .m4v .mkv .webm .avi .flv .ts .mts .m2ts .mpg .mpeg .wmv .3gp .gif .ogv .y4m".split()
)


def read_manifest(
    path: Path,
    root: Path | None = None,
    columns: Mapping[str, str] | None = None,
    group_regex: str | None = None,
) -> Manifest:
    """Read a CSV, TSV or Parquet table of videos.

    Columns: ``video`` (a path, relative to ``root`` or to the table's folder), and where they
    exist ``mos``, ``mos_std``, ``split``, ``group``, in any case; others are kept in
    ``Row.extra``. An empty ``mos`` means unlabelled: such rows of the train split are the pool.
    Without a ``split`` column, whole groups are split 70/15/15 by a hash of their names, those of
    missing files counted in; without a ``group`` column every video is its own content. A table
    with other column names is read with ``columns`` and ``group_regex``, see ``read_table``.

    A row with a missing file or a score that is no number is left out and reported in
    ``problems``; so is the second of two equal rows.

    Raises:
        ManifestError: what cannot be used safely: no table, no rows, no ``video`` column, an
            unknown split, one video with two different labels, one group in two splits.
    """
    path = Path(path)
    records = read_table(path, COLUMNS, columns, group_regex)
    parsed = parse(path, records, Path(root) if root is not None else path.parent)
    header = tuple(records[0][1])
    manifest = replace(sound(path, parsed), contents_known="group" in header, columns=header)
    if "split" not in header:
        rows = (row for _, _, row in parsed if isinstance(row, Row))
        manifest = split_by_group(manifest, (row.group for row in rows if row.split != "pool"))
    check_groups(path, manifest.rows)
    return manifest


def parse(
    path: Path, records: list[tuple[int, dict[str, str]]], base: Path
) -> list[tuple[int, str, Row | str]]:
    """Line, video, and its row (the video there or not) or the reason why there is none."""
    named = [(line, (record.get("video") or "").strip(), record) for line, record in records]
    return [(line, video, _parse(path, line, video, record, base)) for line, video, record in named]


def sound(path: Path, parsed: list[tuple[int, str, Row | str]], remote: bool = False) -> Manifest:
    """The rows that can be used, each video once, and the problems of the others.

    Args:
        path: of the table.
        parsed: see ``parse``.
        remote: whether videos may be elsewhere.
    """
    seen: dict[str, Row] = {}
    problems: list[Problem] = []
    for line, video, found in parsed:
        if isinstance(found, Row):
            found = absence(found.path, remote) or found
        if isinstance(found, Row):
            first = seen.get(str(found.path))
            if first is None:
                seen[str(found.path)] = found
                continue
            if not _same_labels(first, found):
                raise ManifestError(
                    f"{path}: {video!r} is listed twice with different values, line {first.line} "
                    f"(mos {first.mos:g}, {first.split}, group {first.group!r}) and line {line} "
                    f"(mos {found.mos:g}, {found.split}, group {found.group!r}); keep one of them"
                )
            reason = f"the same row as line {first.line}; used once"
            problems.append(Problem(str(path), line, video, reason, repeated=True))
        else:
            problems.append(Problem(str(path), line, video, found))
    rows = list(seen.values())
    if not rows:
        listed = "".join(f"\n  {problem}" for problem in problems[:5])
        raise ManifestError(f"{path}: no usable row in {len(parsed)}{listed}")
    return Manifest(path, rows, problems)


def write_manifest(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a table that ``read_manifest`` reads back; paths as each row names them.

    The name of the file decides: .tsv, .parquet, else CSV.
    """
    extra = sorted({name for row in rows for name in row.extra})
    table: list[list[str | float]] = []
    for row in rows:
        cells: list[str | float] = [row.video, row.mos, row.mos_std, row.split, row.group]
        table.append([*cells, *(row.extra.get(name, "") for name in extra)])
    write_table(path, [*COLUMNS, *extra], table)


def looked_for() -> str:
    """For messages."""
    return f"looked for {' '.join(sorted(VIDEO_SUFFIXES))}"


def absence(path: Path, remote: bool) -> str:
    """Why there is no video at a path, or ''; whether a remote one is there shows when it is read.

    Args:
        path: a file's or a URL.
        remote: whether videos may be elsewhere.
    """
    if isinstance(path, RemotePath):
        return url_problem(path.url) if remote else "a URL: only pools may be elsewhere; copy it"
    if os.path.isdir(path):
        return f"a folder, no video: {path}"
    # Unlike Path.is_file, os.path.isfile is False for a name that is too long.
    if os.path.isfile(path):
        return ""
    if os.path.exists(path):
        return f"a pipe or device, no file: {path}"
    return f"no such file: {path}"


def escaped(text: str) -> str:
    """Text that can be written as UTF-8: other bytes of a file name escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parse(path: Path, line: int, video: str, record: dict[str, str], base: Path) -> Row | str:
    """A sound row, whose file may be missing, or the reason why it cannot be used.

    Raises:
        ManifestError: an unknown split; guessing one could leak test videos into training.
    """
    split = (record.get("split") or "").strip().lower() or "train"
    if split not in SPLITS:
        close = get_close_matches(split, SPLITS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; use one of {', '.join(SPLITS)}"
        raise ManifestError(f"{path}, line {line}: unknown split {split!r}{hint}")
    if not video:
        return "the cell `video` is empty"
    file = RemotePath(video) if is_url(video) else Path(os.path.normpath(base / video))
    numbers: dict[str, float] = {}
    for name in ("mos", "mos_std"):
        text = (record.get(name) or "").strip()
        try:
            numbers[name] = parse_number(text) if text else math.nan
        except ValueError:
            return f"{name} {text!r} is not a number"
        if text and not math.isfinite(numbers[name]):
            return f"{name} {text!r} is not a finite number"
    if numbers["mos_std"] < 0:
        return f"mos_std {numbers['mos_std']:g} is negative"
    if split == "pool" or (split == "train" and math.isnan(numbers["mos"])):
        split, numbers = "pool", {"mos": math.nan, "mos_std": math.nan}
    elif "mos" not in record:
        return f"a {split} video needs a mos, and no column `mos` is there (data.columns.mos)"
    elif math.isnan(numbers["mos"]):
        return f"a {split} video needs a mos; the cell is empty"
    extra = {name: value for name, value in record.items() if name not in COLUMNS}
    group = (record.get("group") or "").strip()
    if isinstance(file, RemotePath):
        video = name_of(without_password(video))
        group = group or video
    group = group or Path(os.path.normpath(video)).as_posix()
    return Row(video, file, split=split, group=group, line=line, extra=extra, **numbers)


def _same_labels(a: Row, b: Row) -> bool:
    pairs = ((a.mos, b.mos), (a.mos_std, b.mos_std))
    same = all(x == y or (math.isnan(x) and math.isnan(y)) for x, y in pairs)
    return same and a.split == b.split and a.group == b.group
