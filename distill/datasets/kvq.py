"""KVQ (CVPR 2024): 600 short user videos in 7 versions each; NTIRE 2024 and 2025.

Source: the challenge's csv (``filename,score``), the txt of its trainer
(``filename,cls_label,dis_label,mos``), and CAMP-VQA's metadata/KVQ_metadata.csv (``vid,mos,...``).
"""

import logging
import math
import re
from pathlib import Path

from distill.data.published import Published, Record, label_files, number
from distill.data.tables import read_label_lines, read_records
from distill.errors import ManifestError

log = logging.getLogger(__name__)

PUBLISHED = Published(
    "KVQ",
    sizes={"train": (2926, 2926), "val": (420, 420), "test": (854, 854)},
    scores=(1, 5),
    folders=r"(train|val|test)(?:_?videos?)?",
)
VERSIONS = 7  # consecutive numbers: a source and its six processed versions
_FILES = ("train_data.csv", "val_data.csv", "test_data.csv", "truth.csv", "train_split*.txt",
          "val_split*.txt", "test_split*.txt", "KVQ_metadata.csv")  # fmt: skip
_NAME = re.compile(r"(?:(train|val|test)(?:_?videos?)?/)?(\d{4})(?:\.mp4)?", re.I)
_NO_SCORE = "its score was not released; KVQ_metadata.csv has one, unchecked by the organisers"


def read(source: Path) -> list[Record]:
    """Records of every label file below ``source``; the official ones come first.

    Raises:
        ManifestError: no label file, a name that KVQ does not have, an unknown split.
    """
    records: list[Record] = []
    for path in label_files(source, _FILES, PUBLISHED.title):
        rows = _rows(path)
        records += [_record(path, line, name, score) for line, name, score in rows]
        if any(name.startswith(("val_video", "test_video")) for _, name, _ in rows):
            log.warning(
                "KVQ: val and test scores come from %s; the organisers have not confirmed them",
                path.name,
            )
    return records


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line, name and score, by the shape of the file and not by its name."""
    if path.suffix.lower() == ".txt":
        return read_label_lines(path)
    rows = read_records(path, ("filename", "score", "vid", "mos"), ())
    for name, score in (("filename", "score"), ("vid", "mos")):
        if {name, score} <= rows[0][1].keys():
            return [(line, cells[name].strip(), cells[score]) for line, cells in rows]
    raise ManifestError(f"{path}, line 1: neither `filename,score` nor `vid,mos` among the columns")


def _record(path: Path, line: int, name: str, score: str) -> Record:
    match = _NAME.fullmatch(name)
    if not match:
        raise ManifestError(
            f"{path}, line {line}: {name!r} is no video of KVQ; they are named like train/0001.mp4"
        )
    said = {s for s in ("train", "val", "test") if re.search(rf"(^|_){s}(_|$)", path.stem.lower())}
    folder = (match[1] or "").lower()
    if len(said) == 1 and folder and {folder} != said:
        raise ManifestError(
            f"{path}, line {line}: {name!r} in the labels of {said.pop()}; for a split of your"
            " own, use data=manifest"
        )
    split = folder or (said.pop() if len(said) == 1 else "")
    if not split:
        raise ManifestError(
            f"{path}, line {line}: {name!r} could be of train, val or test; write train/{name}, or"
            " name the file train_data.csv"
        )
    count, value = int(match[2]), number(path, line, score, "score")
    if not 1 <= count <= PUBLISHED.sizes[split][1]:
        raise ManifestError(f"{path}, line {line}: KVQ's {split} has no video {match[2]}")
    return Record(
        path, line, f"{split}/{match[2]}.mp4", value, part=split, split=split,
        group=_content(split, count), why=_NO_SCORE if math.isnan(value) else "",
    )  # fmt: skip


def content_of(name: str) -> str | None:
    """Source content of a video, ``test/0001`` of ``test/0007.mp4``; None: no name of KVQ's."""
    match = _NAME.fullmatch(name)
    return _content((match[1] or "").lower(), int(match[2])) if match else None


def _content(split: str, count: int) -> str:
    return f"{split}/{(count - 1) // VERSIONS * VERSIONS + 1:04d}"
