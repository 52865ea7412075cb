"""Files that appear whole or not at all, also on file systems that several machines share.

What the protocol stands on: making a hard link is one step, and fails where the name is taken. That
holds on local file systems and on NFS; locks (flock) would not. A name that was published is never
written again.
"""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distill.errors import LabelStoreError, StoreFullError

TEMPORARY = ".tmp"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what the system says while a store is written into what its user can do.

    Raises:
        StoreFullError: no space, or a quota or a file size limit is reached.
        LabelStoreError: any other reason.
    """
    try:
        yield
    except OSError as error:
        raise told(error, folder) from error


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """The same for a lack of space alone, around all that a command writes."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise told(error, folder) from error
        raise


def told(error: OSError, folder: Path) -> LabelStoreError:
    """See ``writing``."""
    if error.errno in _FULL:
        return StoreFullError(
            f"{folder}: cannot be written ({error.strerror}). What was committed is kept and"
            f" whole: free space and start again with store={folder}"
        )
    where = error.filename2 or error.filename or folder
    return LabelStoreError(
        f"{where}: cannot be written ({error.strerror}); what was committed is kept. Choose"
        " another place with store=FOLDER"
    )


def publish(path: Path, data: bytes, writer: str) -> bool:
    """Make a file in one step, unless there is one of that name.

    Args:
        path: in an existing folder.
        data: the whole of it; on disk before the name appears.
        writer: part of the temporary name, unique to this process.

    Returns:
        Whether it was made here; False: another one was first and stays as it is.
    """
    if path.exists():
        return False
    whole = path.with_name(f".{path.name}.{writer}{TEMPORARY}")
    made: bool | None = None
    while made is None:
        try:
            _write(whole, data)
            # Gone: this process slept for so long that others took it for dead, and cleaned up.
            with suppress(FileNotFoundError):
                made = link_new(whole, path)
        finally:
            with suppress(OSError):
                remove(whole)
    _sync_folder(path.parent)
    return made


def replace(path: Path, data: bytes) -> None:
    """Write a file anew in one step."""
    whole = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        _write(whole, data)
        os.replace(whole, path)
    finally:
        with suppress(OSError):
            remove(whole)


def link_new(source: Path, path: Path) -> bool:
    """Give a file a second name unless that name is taken; whether it is now this file's."""
    try:
        os.link(source, path)
    except FileExistsError:
        # A server whose answer was lost is asked twice, and then says that our own link is there.
        return same(source, path)
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise LabelStoreError(
                f"{path.parent}: this file system has no hard links, which a label store needs;"
                " give a store=FOLDER on a local disk or NFS"
            ) from error
        raise
    return True


def same(one: Path, other: Path) -> bool:
    """Whether two names are of one file; False where either is gone."""
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Remove a name, which may be gone already."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def touch(path: Path) -> float:
    """Renew the time of a file and tell it: the file system's clock, one for all machines.

    Raises:
        FileNotFoundError: it is gone.
    """
    os.utime(path)
    return os.stat(path).st_mtime


def names(folder: Path) -> list[str]:
    """The files of a folder, sorted; none where there is no folder."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    """A new name is on disk only once its folder is; not every system can open a folder."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
