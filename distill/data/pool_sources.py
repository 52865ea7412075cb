"""What a pool of unlabelled videos can be: a folder, a list, a table, a pattern, URLs, archives."""

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from distill.data.locate import files_below
from distill.data.manifest import (
    COLUMNS,
    VIDEO_SUFFIXES,
    absence,
    escaped,
    looked_for,
    parse,
    sound,
)
from distill.data.places import RemotePath, is_url, name_of, url_problem, without_password
from distill.data.remote import check_supported, videos_at
from distill.data.rows import Manifest, Problem, Row
from distill.data.tables import TABLE_SUFFIXES, read_list, read_table
from distill.errors import ManifestError

ARCHIVE = ".tar"
MAGIC = re.compile(r"[*?[]")  # letters of a pattern
_Entry = tuple[int, str, Path]  # line, name, place


def read_pool(source: Path, remote: bool = False) -> Manifest:
    """Read an unlabelled pool.

    Labels and splits of a table are ignored. A folder is searched with its sub-folders; links are
    followed, hidden files are not looked at.

    Args:
        source: a folder, a list of paths, a table as ``read_manifest`` reads it, or one video;
            with ``remote`` also a tar archive, a pattern (``*``, ``**``, ``?``, ``[ab]``), a URL of
            any of these but lists and tables, and URLs in the place of paths in lists and tables.
        remote: whether videos may be elsewhere; then they are fetched as they are decoded.

    Raises:
        ManifestError: nothing there, or no video in it.
        ConfigError: what reads such URLs is not installed.
    """
    if isinstance(source, RemotePath):
        return _remote(source)
    source = Path(os.path.normpath(source))  # one spelling of a path, as in read_manifest
    if not source.exists() and remote and MAGIC.search(str(source)):
        return _checked(source, list(_matches(source)), [], remote)
    if not source.exists():
        raise ManifestError(f"{source}: no such file or folder")
    suffix = source.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        records = read_table(source, COLUMNS)
        for _, cells in records:
            for name in ("mos", "mos_std", "split"):
                cells.pop(name, None)
        pool = sound(source, parse(source, records, source.parent), remote)
        _check_kinds(pool.rows)
        return pool
    problems: list[Problem] = []
    if source.is_dir():
        entries = [(0, file.relative_to(source).as_posix(), file) for file in _in(source, problems)]
    elif suffix in VIDEO_SUFFIXES:
        entries = [(0, source.name, source)]
    elif suffix == ARCHIVE and remote:
        entries = list(_shard(source))
    else:
        lines = enumerate(read_list(source, looked_for()), 1)
        entries = list(_listed(lines, source.parent))
    return _checked(source, entries, problems, remote)


def read_names(source: str, names: Iterable[str]) -> Manifest:
    """A pool of the videos that are named, each by a path from the current folder or a URL.

    Args:
        source: where the names come from, for messages.
        names: one after another; empty ones are passed over.

    Raises:
        ManifestError: there is no video among them.
        ConfigError: what reads such URLs is not installed.
    """
    return _checked(Path(source), list(_listed(enumerate(names, 1), Path.cwd())), [], True)


def refusal(file: Path, remote: bool) -> str:
    """Why a video is not taken, or ''; see ``absence``."""
    if escaped(str(file)) != str(file):
        return "its path is not UTF-8, which a label store cannot hold; rename it"
    return absence(file, remote)


def _remote(source: RemotePath) -> Manifest:
    problem = url_problem(source.url)
    if problem:
        raise ManifestError(f"{without_password(source.url)}: {problem}")
    if source.suffix.lower() in (*TABLE_SUFFIXES, ".txt"):
        raise ManifestError(
            f"{source}: a list or table is read from this machine; copy it here (it may contain"
            " URLs)"
        )
    found: list[_Entry] = [(0, name, RemotePath(url)) for name, url in videos_at(source.url)]
    return _checked(source, found, [], True)


def _in(folder: Path, problems: list[Problem]) -> list[Path]:
    """The videos of a folder, by path; folders that cannot be looked into are problems."""

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename or folder, folder)
        reason = f"its videos are left out: the folder cannot be listed ({error.strerror})"
        problems.append(Problem(str(folder), 0, escaped(name), reason))

    return sorted(folder / path for path in files_below(folder, VIDEO_SUFFIXES, unreadable))


def _shard(source: Path, above: str = "") -> Iterator[_Entry]:
    for name, url in videos_at(f"file://{source.absolute()}"):
        yield 0, f"{above}{name}", RemotePath(url)


def _matches(pattern: Path) -> Iterator[_Entry]:
    above = Path(MAGIC.split(str(pattern), maxsplit=1)[0] + "x").parent
    for text in sorted(glob.glob(str(pattern), recursive=True)):
        path = Path(os.path.normpath(text))
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
            yield 0, path.relative_to(above).as_posix(), path
        elif path.is_file() and path.suffix.lower() == ARCHIVE:
            yield from _shard(path, f"{path.relative_to(above).as_posix()}/")


def _listed(names: Iterable[tuple[int, str]], base: Path) -> Iterator[_Entry]:
    for number, text in names:
        if is_url(text):
            yield number, name_of(without_password(text)), RemotePath(text)
        elif text:
            yield number, text, Path(os.path.normpath(base / text))


def _checked(
    source: Path, entries: list[_Entry], problems: list[Problem], remote: bool
) -> Manifest:
    rows: dict[str, Row] = {}
    for line, video, file in entries:
        repeated = str(file) in rows
        reason = "listed twice; used once" if repeated else refusal(file, remote)
        if reason:
            problems.append(Problem(str(source), line, escaped(video), reason, repeated=repeated))
        else:
            rows[str(file)] = Row(video, file, group=video, line=line)
    if not rows:
        listed = "".join(f"\n  {problem}" for problem in problems[:5])
        raise ManifestError(f"{source}: no video found ({looked_for()}){listed}")
    _check_kinds(list(rows.values()))
    return Manifest(source, list(rows.values()), problems)


def _check_kinds(rows: list[Row]) -> None:
    """One URL of each kind, before thousands of videos fail for want of one package."""
    kinds = {
        row.path.url.split("://", 1)[0]: row.path.url
        for row in rows
        if isinstance(row.path, RemotePath)
    }
    for url in kinds.values():
        check_supported(url)
