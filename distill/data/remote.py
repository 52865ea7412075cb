"""Objects that URLs name, through fsspec: which videos there are, and getting one. Only reads."""

import asyncio
import errno
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from distill.data.manifest import VIDEO_SUFFIXES, looked_for
from distill.data.places import is_url, suffix_of
from distill.errors import ConfigError, ManifestError, SpoolError, VideoError

READER = "fetch"  # what the reasons of failed videos begin with
FULL = (errno.ENOSPC, errno.EDQUOT)
_ARCHIVES = ("tar", "zip")
_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst")
_WAITS = (1.0, 4.0, 16.0)  # seconds before each further try
_BLOCK = 1 << 16  # bytes read around each header of an archive elsewhere
_SILENCE = 60.0  # seconds without a byte after which a connection counts as lost


class _Lost(Exception):
    """The storage could not be reached or broke off: worth another try."""


def fetch(url: str, file: Path) -> None:
    """Write an object to a file, trying again where that may help.

    Args:
        url: of the object; ``tar://a.mp4::URL`` is one inside an archive.
        file: written; what is left of it after an error is its caller's to remove.

    Raises:
        VideoError: it is not there, may not be read, or could not be had in several tries.
        SpoolError: no space for it here.
    """
    for wait in (*_WAITS, None):
        try:
            _get(url, file)
            return
        except _Lost as error:
            told = str(error)
        except OSError as error:
            if error.errno not in FULL:
                raise
            if wait is None:
                raise SpoolError(
                    f"{file.parent}: no space for {url} ({error.strerror}). What was committed is"
                    " kept: free space, or name another folder with DISTILL_SPOOL, and start again"
                ) from error
        if wait is None:
            raise VideoError(url, READER, f"gave up after {len(_WAITS) + 1} tries: {told}")
        time.sleep(wait)


def _get(url: str, file: Path) -> None:
    """One try."""
    try:
        system, path = _opened(url)
    except ImportError as error:
        raise VideoError(url, READER, str(error)) from error
    except Exception as error:  # an archive; those in front of it call every failure "not found"
        raise _Lost(_brief(error)) from error
    try:
        size = None if system.protocol == ("http", "https") else system.info(path)["size"]
        system.get_file(path, str(file))
        found = file.stat().st_size
        if size is not None and found != size:
            raise _Lost(f"{found} of {size} bytes came")
    except FileNotFoundError as error:
        raise VideoError(url, READER, _brief(error)) from error
    except IsADirectoryError as error:
        raise VideoError(url, READER, "it is a folder") from error
    except (_Lost, VideoError):
        raise
    except Exception as error:  # what clients of storage raise has no one base
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        if _is_final(error):
            raise VideoError(url, READER, _brief(error)) from error
        _forget(system)
        raise _Lost(_brief(error)) from error


def _is_final(error: Exception) -> bool:
    """Whether asking again would be answered alike."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, PermissionError | NotImplementedError)


def _brief(error: BaseException) -> str:
    status = getattr(error, "status", None)
    if isinstance(status, int):  # its text repeats the URL, with whatever signs it
        return f"HTTP {status} {getattr(error, 'message', '')}".strip()
    if isinstance(error, FileNotFoundError):
        return "no such object"
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer for {_SILENCE:g} s"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def videos_at(source: str) -> list[tuple[str, str]]:
    """The videos that a URL stands for.

    Args:
        source: of a video, a folder (with its sub-folders), an archive, or with ``*`` a pattern of
            any of these; ``tar://*.mp4::URL`` is a pattern within an archive.

    Returns:
        Name below the folder, and URL, of each, sorted.

    Raises:
        ManifestError: nothing there, or it cannot be listed.
        ConfigError: what reads this kind of URL is not installed.
    """
    inside, _, outside = source.partition("::")
    if outside and not is_url(outside):  # an archive on this machine
        outside = f"file://{os.path.abspath(os.path.expanduser(outside))}"
    if not outside and suffix_of(inside).lower() == ".tar" and "*" not in inside:
        inside, outside = "tar://", inside
    url = f"{inside}::{outside}" if outside else inside
    check_supported(url)
    try:
        found = sorted(set(_videos(url)))
    except (ConfigError, ManifestError):
        raise
    except Exception as error:
        raise ManifestError(f"{source}: cannot be listed ({_brief(error)})") from error
    if not found:
        hint = "with sub-folders: **/*.mp4" if "*" in source else "of archives: '.../*.tar'"
        raise ManifestError(f"{source}: no video found ({looked_for()}; {hint})")
    return found


def check_supported(url: str) -> None:
    """Whether what reads this kind of URL is installed.

    Raises:
        ConfigError: no; the text names the command that installs it.
    """
    try:
        import fsspec

        for part in url.split("::"):
            fsspec.get_filesystem_class(part.split("://", 1)[0])
    except ImportError as error:
        raise ConfigError(f"{url}: {error}: pip install 'distill-vqa[remote]'") from error
    except ValueError as error:  # of a protocol that nobody knows
        raise ConfigError(f"{url}: {error}; s3://, https://, gs://, tar:// ... are known") from (
            error
        )


def _videos(url: str) -> Iterator[tuple[str, str]]:
    inside, _, outside = url.partition("::")
    if _is_packed(inside) or _is_packed(outside):
        raise ManifestError(f"{url}: compressed archives cannot be read piece by piece; unpack it")
    system, path = _opened(url)
    if "*" in inside:
        matches, root = system.glob(path), _fixed(path)
    elif suffix_of(inside).lower() in VIDEO_SUFFIXES:
        if not system.exists(path):
            raise ManifestError(f"{url}: no such object")
        matches, root = [path], path.rpartition("/")[0]
    else:
        matches, root = system.find(path), path
        if not matches:
            system.ls(path)  # says why there is nothing, which ``find`` keeps to itself
    for each in matches:
        name = each.removeprefix(root).lstrip("/").removeprefix("./")
        suffix = suffix_of(each).lower()
        here = f"tar://{each}::{outside}" if outside else str(system.unstrip_protocol(each))
        if suffix in VIDEO_SUFFIXES:
            yield name, here
        elif suffix == ".tar" and "*" in inside and not outside:
            yield from ((f"{name}/{n}", found) for n, found in _videos(f"tar://::{here}"))


def _is_packed(url: str) -> bool:
    return suffix_of(url).lower() in _PACKED


def _fixed(pattern: str) -> str:
    """The folder above the first ``*``."""
    return pattern.split("*", 1)[0].rpartition("/")[0]


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path within it."""
    import fsspec
    from fsspec.core import url_to_fs

    inside, _, outside = url.partition("::")
    kind, _, path = inside.partition("://")
    if outside and kind in _ARCHIVES:
        return _archive(kind, outside, os.getpid()), path.lstrip("/")
    if kind in ("http", "https"):
        return fsspec.filesystem(kind, client_kwargs={"timeout": _patience()}), url
    system, path = url_to_fs(url)
    return system, path


@lru_cache(maxsize=4)  # a process goes through one shard after another; its index is read once
def _archive(kind: str, url: str, pid: int) -> Any:
    """An open archive; of this very process, as a fork would share its place in the file."""
    import fsspec

    system, path = _opened(url)
    return fsspec.filesystem(kind, fo=system.open(path, "rb", block_size=_BLOCK))


def _forget(system: Any) -> None:
    """What is kept of a connection that broke."""
    system.invalidate_cache()
    _archive.cache_clear()


def _patience() -> Any:
    """The client's own limit is five minutes for a whole file, however large and steady."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
