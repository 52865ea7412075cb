"""Claims: several processes and machines label one store, and no chunk twice but by accident.

A claim is a hard link, made in one step, from ``claims/<chunk>.<number>.claim`` to the file of its
owner. So it says whose it is, and the owner renews all of its claims by touching one file. A
claim that was not renewed for a lease, or whose process is known to have ended, counts as none.
Who wants a chunk makes a claim of the next number, looks again, and takes it back if another
living claim is there; so of two, at most one goes on. Only who holds a chunk removes dead claims on
it. A process that was stopped for longer than a lease and wakes up may label what another one has
taken over; the part that is published first stays.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from distill.labels.chunks import Chunk
from distill.labels.files import TEMPORARY, link_new, names, publish, remove, same, touch, writing
from distill.labels.owners import Owner
from distill.labels.rows import Label, keys_of
from distill.labels.store import CLAIMS, PARTS, LabelStore, read_part

log = logging.getLogger(__name__)
LEASE = 600.0  # seconds; caches of network file systems hide a heartbeat for a minute
_BEATS = 10  # heartbeats in a lease
_OWNER, _CLAIM = ".owner", ".claim"


class Claims:
    """The claims of one process, a context manager: it renews them until it ends.

    Args:
        folder: of the store.
        chunks: what to label, in this order; see ``plan``.
        lease: seconds without a sign of life after which another process's claim counts as
            none; the same for all that work on a store.

    Attributes:
        elsewhere: rows of ``chunks`` that others have labelled.
    """

    def __init__(self, folder: Path, chunks: Iterable[Chunk], lease: float = LEASE) -> None:
        self.folder, self.lease = Path(folder), lease
        self.elsewhere = 0
        self._owner = Owner.here()
        self._queue = deque(chunks)
        self._held: dict[str, str] = {}  # chunk id -> name of the claim
        self._lock = threading.Lock()  # the heartbeat's thread renews the same file
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> "Claims":
        with writing(self.folder):
            self._claims.mkdir(exist_ok=True)
            publish(self._file, self._owner.to_json().encode(), self._owner.id)
            self._clean()
        self._heart = threading.Thread(target=self._beat, name="label claims", daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
        with writing(self.folder):
            for chunk, name in list(self._held.items()):
                self._drop(chunk, name)
            if kind is None:  # others may have died meanwhile
                self._clean()
            remove(self._file)

    def claim_next(self) -> Chunk | None:
        """Take the next chunk that nobody else works on; its ``todo`` is what to label now.

        Returns:
            None: there is none at this moment. Then ``waiting`` tells how many chunks others hold;
            one of them may be had later, should its holder end before it commits.

        Raises:
            LabelStoreError: a claim cannot be written.
        """
        with writing(self.folder):
            for _ in range(len(self._queue)):
                chunk = self._queue.popleft()
                name = self._hold(chunk.id) if self._refreshed(chunk).todo else None
                found = self._refreshed(chunk)  # its last holder may have ended just now
                self.elsewhere += len(chunk.todo) - len(found.todo)
                if name and found.todo:
                    self._held[chunk.id] = name
                    return found
                if name:
                    self._drop(chunk.id, name)
                if found.todo:
                    self._queue.append(found)
        return None

    @property
    def waiting(self) -> int:
        """Chunks that are neither labelled nor held by this process."""
        return len(self._queue)

    def holders(self) -> list[str]:
        """The living processes that hold chunks here, for a message."""
        found = {self._says(name) for name in names(self._claims) if name.endswith(_CLAIM)}
        return sorted(str(owner) for owner in found if owner and owner.id != self._owner.id)

    def commit(self, chunk: Chunk, labels: Sequence[Label]) -> bool:
        """Publish labels of a claimed chunk and give it back.

        Args:
            chunk: as ``claim_next`` gave it.
            labels: of the rows of ``todo``; of some of them only, the others stay to be labelled.

        Returns:
            False: somebody else has labelled it meanwhile, and these labels are dropped.

        Raises:
            StoreFullError: no space. Nothing of it is left, and the chunk is still held.
            LabelStoreError: it cannot be written.
        """
        done = LabelStore(self.folder).commit(chunk, labels, self._owner.id) if labels else True
        self.release(chunk)
        return done

    def release(self, chunk: Chunk) -> None:
        """Give a chunk back without labels."""
        with writing(self.folder):
            name = self._held.pop(chunk.id, None)
            if name:
                self._drop(chunk.id, name)

    @property
    def _claims(self) -> Path:
        return self.folder / CLAIMS

    @property
    def _file(self) -> Path:
        return self._claims / f"{self._owner.id}{_OWNER}"

    def _refreshed(self, chunk: Chunk) -> Chunk:
        """The chunk without the rows that were labelled since it was planned."""
        while (part := self.folder / PARTS / chunk.part).exists():
            chunk = chunk.after(keys_of(read_part(part, ["path"])["path"].to_pylist()))
        return chunk

    def _hold(self, chunk: str) -> str | None:
        """Make a claim on a chunk; None where another living one is there."""
        others = self._on(chunk)
        if any(self._lives(name) for name in others):
            return None
        number = max((_number(name) for name in others), default=-1) + 1
        mine = f"{chunk}.{number:04d}{_CLAIM}"
        made = None
        while made is None:
            self._now()  # makes the file to link to anew, should this process have slept
            with suppress(FileNotFoundError):  # until now
                made = link_new(self._file, self._claims / mine)
        if not made:
            return None
        if any(self._lives(name) for name in self._on(chunk) if name != mine):
            remove(self._claims / mine)
            return None
        return mine

    def _drop(self, chunk: str, mine: str) -> None:
        """End a claim, and those of the dead on this chunk before it."""
        for name in self._on(chunk):
            if name != mine and not self._lives(name):
                remove(self._claims / name)
        if same(self._claims / mine, self._file):
            remove(self._claims / mine)

    def _on(self, chunk: str) -> list[str]:
        return [
            name
            for name in names(self._claims)
            if name.startswith(f"{chunk}.") and name.endswith(_CLAIM)
        ]

    def _says(self, name: str) -> Owner | None:
        try:
            return Owner.from_json((self._claims / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def _lives(self, name: str) -> bool:
        """Whether the owner of a claim, or of its own file, is alive as far as one knows."""
        path = self._claims / name
        owner = self._says(name)
        if owner and owner.id == self._owner.id:
            return True
        return not (owner and owner.is_dead()) and self._recent(path)

    def _recent(self, path: Path) -> bool:
        """Whether a file is there and was renewed within the lease."""
        try:
            return self._now() - path.stat().st_mtime <= self.lease
        except FileNotFoundError:
            return False

    def _now(self) -> float:
        """A sign of life, and the time on the file system's clock: those of machines differ."""
        with self._lock:
            while True:
                with suppress(FileNotFoundError):
                    return touch(self._file)
                # Others took this process for dead while it slept; it is not.
                publish(self._file, self._owner.to_json().encode(), self._owner.id)

    def _beat(self) -> None:
        while not self._ended.wait(self.lease / _BEATS):
            try:
                self._now()
            except OSError as error:
                log.warning("%s: the sign of life could not be written: %s", self.folder, error)

    def _clean(self) -> None:
        """Remove what processes left that ended without a chance to."""
        for chunk in {name.split(".")[0] for name in names(self._claims) if name.endswith(_CLAIM)}:
            name = self._hold(chunk)
            if name:
                self._drop(chunk, name)
        owners = [name for name in names(self._claims) if name.endswith(_OWNER)]
        gone = [name for name in owners if not self._lives(name)]
        writers = {name.removesuffix(_OWNER) for name in gone}
        for folder in (self.folder, self.folder / PARTS, self._claims):
            for name in names(folder):
                if name.startswith(".") and name.endswith(TEMPORARY):
                    known = name.removesuffix(TEMPORARY).rpartition(".")[2] in writers
                    if known or not self._recent(folder / name):
                        remove(folder / name)
        for name in gone:
            remove(self._claims / name)


def _number(name: str) -> int:
    return int(name.split(".")[1])
