"""Remote videos on this machine's disk, each for as long as it is decoded.

A process that decodes has one file that it works on and one that is on its way. Its folder goes
with it; that of a killed one is removed by the next process that makes one, which knows the dead
by their locks: the kernel drops them, after SIGKILL too.
"""

import logging
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from pathlib import Path

from filelock import FileLock, Timeout

from distill.data.places import RemotePath
from distill.errors import SpoolError

log = logging.getLogger(__name__)
_ALIVE = "alive.lock"


def spool_folder() -> Path:
    """A folder of this user's below DISTILL_SPOOL, else in the system's temporary one."""
    named = os.environ.get("DISTILL_SPOOL") or tempfile.gettempdir()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(named).expanduser() / f"distill-vqa-spool-{user}"


@contextmanager
def local(path: Path) -> Iterator[Path]:
    """A file with a video's content; of a remote one a copy that is removed at the end.

    Raises:
        VideoError: a remote one cannot be fetched.
        SpoolError: there is no place for it.
    """
    if not isinstance(path, RemotePath):
        yield path
        return
    file = _mine().take(path)
    try:
        yield file
    finally:
        with suppress(FileNotFoundError):
            file.unlink()


def fetch_ahead(path: Path) -> None:
    """Begin to fetch a video that this process will ask for soon; nothing where it is a file."""
    if isinstance(path, RemotePath):
        _mine().begin(path)


def clean() -> None:
    """Remove what killed processes left.

    Raises:
        SpoolError: the folder cannot be used.
    """
    root = spool_folder()
    if root.exists():
        with _guarded(root):
            _remove_dead(root)


class Spool:
    """The files of one process, and the thread that fetches them one after another.

    Args:
        root: of all processes' spools.
    """

    def __init__(self, root: Path) -> None:
        self.pid = os.getpid()
        with _guarded(root):
            _remove_dead(root)
            self.folder = Path(tempfile.mkdtemp(prefix=f"{self.pid}-", dir=root))
            self._lock = FileLock(self.folder / _ALIVE)
            self._lock.acquire()
        Finalize(None, shutil.rmtree, (self.folder, True), exitpriority=0)  # of workers too
        self._asked: queue.SimpleQueue[tuple[RemotePath, Future[Path]]] = queue.SimpleQueue()
        self._coming: dict[RemotePath, Future[Path]] = {}
        # No pool of threads: leaving a process waits for those, however long a server is silent.
        threading.Thread(target=self._fetch, name="fetch", daemon=True).start()

    def begin(self, path: RemotePath) -> None:
        """Fetch it after those that were asked for before, unless it is among them."""
        if path not in self._coming:
            self._coming[path] = Future()
            self._asked.put((path, self._coming[path]))

    def take(self, path: RemotePath) -> Path:
        """The file, which is its caller's from now on.

        Raises:
            VideoError, SpoolError: see ``local``.
        """
        self.begin(path)
        return self._coming.pop(path).result()

    def _fetch(self) -> None:
        from distill.data.remote import fetch

        number = 0
        while True:
            path, promise = self._asked.get()
            number += 1  # no name comes twice: readers keep facts of files by their names
            file = self.folder / f"{number}{path.suffix}"
            try:
                fetch(path.url, file)
                promise.set_result(file)
            except BaseException as error:
                with suppress(OSError):
                    file.unlink()
                promise.set_exception(error)


_spool: Spool | None = None


def _mine() -> Spool:
    global _spool
    if _spool is None or _spool.pid != os.getpid():
        _spool = Spool(spool_folder())
    return _spool


@contextmanager
def _guarded(root: Path) -> Iterator[None]:
    """Alone with the folder, which is made where it is missing, readable for its user only."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and root.stat().st_uid != os.getuid():
            raise PermissionError(1, "it is another user's", str(root))
        with FileLock(root / "spool.lock"):
            yield
    except (OSError, NotImplementedError) as error:
        raise SpoolError(
            f"{root}: cannot hold remote videos while they are decoded"
            f" ({getattr(error, 'strerror', None) or error}); name a folder on a local disk:"
            " DISTILL_SPOOL=FOLDER"
        ) from error


def _remove_dead(root: Path) -> None:
    for alive in sorted(root.glob(f"*/{_ALIVE}")):
        with suppress(Timeout, FileNotFoundError):
            with FileLock(alive).acquire(blocking=False):
                shutil.rmtree(alive.parent, ignore_errors=True)
            log.info("removed %s, which a killed process left", alive.parent)
