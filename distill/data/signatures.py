"""Signatures of videos on disk: made once per content, by decoding workers, killable."""

import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from distill.data.dataset import Example
from distill.data.identity import content_hash
from distill.data.loading import eval_loader
from distill.data.manifest import Row
from distill.data.perceptual import LENGTH, Signature
from distill.data.reader import VideoReader
from distill.data.spool import local
from distill.errors import CacheError, VideoError

log = logging.getLogger(__name__)
# Raise it when the code changes what comes out: of the view, of readers, of resizing.
_VERSION = 1
_COMMIT_EVERY = 256  # videos per part: what a kill costs at the most
_SCHEMA = pa.schema([("content", pa.string()), ("signature", pa.binary(LENGTH))])


class SignatureStore:
    """Signatures by content hash, in Parquet parts; many processes may add to one folder.

    Args:
        folder: of the store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder) / f"v{_VERSION}"

    def load(self) -> dict[str, np.ndarray]:
        """Content hash -> (LENGTH,) uint8; a part that cannot be read is left out and told."""
        found: dict[str, np.ndarray] = {}
        for part in sorted(self.folder.glob("part-*.parquet")):
            try:
                table = pq.read_table(part, schema=_SCHEMA)
            except (pa.ArrowException, OSError) as error:
                log.warning("%s: cannot be read, so its videos are decoded again: %s", part, error)
                continue
            for content, signature in zip(*(c.to_pylist() for c in table.columns), strict=True):
                found[content] = np.frombuffer(signature, np.uint8)
        return found

    def save(self, signatures: Mapping[str, np.ndarray]) -> None:
        """Add a part, whole or not at all.

        Raises:
            CacheError: the folder cannot be written to.
        """
        if not signatures:
            return
        rows = [{"content": c, "signature": s.tobytes()} for c, s in signatures.items()]
        name = f"part-{uuid.uuid4().hex}.parquet"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), self.folder / f".{name}")
            os.replace(self.folder / f".{name}", self.folder / name)
        except OSError as error:
            raise CacheError(
                f"{self.folder}: signatures of videos cannot be written ({error.strerror}); free"
                " some space, or set DISTILL_CACHE=FOLDER"
            ) from error


def sign(
    videos: Mapping[Path, str], reader: VideoReader, store: SignatureStore, num_workers: int
) -> tuple[dict[Path, np.ndarray], dict[Path, str]]:
    """The signatures of videos; what the store does not have is made and kept.

    Args:
        videos: path -> content hash; empty where it is not known.
        reader: of the videos.
        store: of signatures.
        num_workers: decoding processes.

    Returns:
        Path -> (LENGTH,) uint8; and path -> reason for those that cannot be decoded.

    Raises:
        CacheError: the store's folder cannot be written to.
    """
    known, failed = store.load(), dict[Path, str]()
    contents: dict[Path, str] = {}
    for path, content in videos.items():
        try:
            contents[path] = content or _content(path)
        except VideoError as error:
            failed[path] = error.reason
        except OSError as error:
            failed[path] = str(error.strerror or error)
    first: dict[str, Path] = {}
    for path, content in contents.items():
        if content not in known:
            first.setdefault(content, path)
    todo = list(first.values())
    if todo:
        log.info("looking at %d videos whose signature is not known; %s", len(todo), store.folder)
    fresh: dict[str, np.ndarray] = {}
    loader = eval_loader(
        [Example(Row(path.name, path)) for path in todo], {"signature": Signature()}, reader,
        batch_size=4, num_workers=min(num_workers, len(todo)),
    )  # fmt: skip
    try:
        with tqdm(
            total=len(todo), desc="signatures", unit="video", dynamic_ncols=True, disable=not todo
        ) as bar:
            for batch in loader:
                for at, index in enumerate(batch.index.tolist()):
                    # Under the hash of the labels' time: who asks again has nothing else.
                    fresh[contents[todo[index]]] = batch.views["signature"][at].numpy()
                failed |= {todo[index]: reason for index, reason in batch.failed}
                if len(fresh) >= _COMMIT_EVERY:
                    store.save(fresh)
                    known |= fresh
                    fresh = {}
                bar.update(len(batch) + len(batch.failed))
    finally:  # a signal keeps what is made
        store.save(fresh)
    known |= fresh
    broken = {contents[path]: why for path, why in failed.items() if path in contents}
    failed |= {path: broken[c] for path, c in contents.items() if c in broken}
    return {path: known[c] for path, c in contents.items() if c in known}, failed


def _content(path: Path) -> str:
    with local(path) as file:
        return content_hash(file)
