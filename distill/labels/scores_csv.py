"""``filename,score`` tables, as E-VQA and KVQ share pseudo-labels, to and from a label store."""

import csv
import io
import logging
import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distill.data.identity import content_hash
from distill.data.places import is_url
from distill.data.tables import parse_number, read_records
from distill.errors import LabelStoreError
from distill.labels.files import replace, writing
from distill.labels.rows import Label
from distill.labels.store import LabelStore
from distill.words import option_word

log = logging.getLogger(__name__)
COLUMNS = ("filename", "score")
UNKNOWN = "unknown"


class ScoresCsv(LabelStore):
    """A table of somebody else's scores that is read as a store; who gave them is not known.

    Args:
        path: UTF-8, with or without a byte order mark; columns ``filename`` and ``score``.
        root: folder that the names start from; None is the table's own.

    Raises:
        LabelStoreError: one name has two scores.
        ManifestError: no such table, or another one.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.folder = Path(path)
        self.root = Path(root) if root is not None else self.folder.parent
        self._scores = _scores(self.folder)
        self.meta: dict[str, Any] = {
            "teacher": f"{UNKNOWN} ({self.folder.name})",
            "licenses": [f"labels of {self.folder.name}: licence {UNKNOWN}"],
            "pool": str(self.folder),
            "videos": len(self._scores),
        }

    def read(self) -> list[Label]:
        """A label per line. A score that is no number is a failed one, and so is a missing video.

        The videos are hashed, so that copies of held-out ones are found as in a store.
        """
        rows = tqdm(self._scores.items(), "hashing videos", unit="video", disable=None)
        return [self._label(name, text) for name, text in rows]

    def tell_missing(self, labels: Sequence[Label]) -> None:
        """Warn of rows that name no file.

        Args:
            labels: as ``read`` gives them.

        Raises:
            LabelStoreError: none of them names one: the names start from another folder.
        """
        gone = [label for label in labels if not label.content]
        if not gone:
            return
        told = (
            f"{self.folder}: {len(gone)} of {len(labels)} rows name no file below {self.root}, the"
            f" first is {gone[0].video!r}; name the folder that they start from: labels_root=FOLDER"
        )
        if len(gone) == len(labels):
            raise LabelStoreError(told)
        log.warning(told)

    def pairs(self) -> Iterator[tuple[str, float]]:
        """Name and score of every line whose score is a number; no video is looked at."""
        for name, text in self._scores.items():
            with suppress(ValueError):
                if math.isfinite(score := parse_number(text)):
                    yield name, score

    def _label(self, name: str, text: str) -> Label:
        path = Path(os.path.normpath(self.root / name))
        try:
            score = parse_number(text)
        except ValueError:
            score = math.nan
        reason = "" if math.isfinite(score) else f"score {text!r} is not a finite number"
        content = ""
        try:
            content = content_hash(path)
        except OSError as error:
            reason = reason or f"no such video below {self.root}: {error.strerror}"
        status, score = ("failed", math.nan) if reason else ("ok", score)
        return Label(name, str(path), content, name, status, score=score, raw=score, reason=reason)


def write_scores(store: LabelStore, path: Path) -> tuple[int, list[str]]:
    """Write the usable labels of a store as such a table.

    A video is named as its pool has it, or by its whole path where two have one name.

    Returns:
        How many, and the words that make a training read them back. A name in capitals is for
        the user to fill in; no words where the file's own name lets no command take it for a CSV.

    Raises:
        LabelStoreError: there is no label, or the table cannot be written.
    """
    counts: Counter[str] = Counter()
    for table in store.tables(["video", "status"]):
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        counts.update(video for video, status in rows if status == "ok")
    if not counts:
        raise LabelStoreError(f"{store.folder}: no usable label to write")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    roots: set[str] = set()
    for video, file, score in _usable(store):
        writer.writerow([video if counts[video] == 1 else file, repr(score)])
        if counts[video] == 1 and not os.path.isabs(video):
            roots.add(_start_of(video, file))
    with writing(path.parent):
        replace(path, text.getvalue().encode())
    return counts.total(), _words(path, roots)


def _start_of(video: str, file: str) -> str:
    """The folder that a name starts from; '' where the path does not tell."""
    end = f"/{os.path.normpath(video)}"
    return (file.removesuffix(end) or "/") if file.endswith(end) and not is_url(file) else ""


def _words(path: Path, roots: Collection[str]) -> list[str]:
    if path.suffix.lower() != ".csv":
        return []
    words = [option_word("labels", str(path))]
    if roots and set(roots) != {os.path.abspath(path.parent)}:
        root = next(iter(roots)) if len(roots) == 1 else ""
        words.append(option_word("labels_root", root or "FOLDER"))
    return words


def _usable(store: LabelStore) -> Iterator[tuple[str, str, float]]:
    for table in store.tables(["video", "path", "status", "score"]):
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        yield from ((video, path, score) for video, path, status, score in rows if status == "ok")


def _scores(path: Path) -> dict[str, str]:
    """Name -> score as text, each once."""
    found: dict[str, tuple[str, int]] = {}
    for line, cells in read_records(path, COLUMNS, COLUMNS):
        name, text = cells["filename"].strip(), cells["score"].strip()
        if not name:
            raise LabelStoreError(f"{path}, line {line}: the cell `filename` is empty")
        before, first = found.setdefault(name, (text, line))
        if before != text:
            raise LabelStoreError(
                f"{path}: {name!r} has two scores, {before} in line {first} and {text} in line"
                f" {line}; keep one"
            )
    return {name: text for name, (text, _) in found.items()}
