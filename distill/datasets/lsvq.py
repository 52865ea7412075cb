"""LSVQ (CVPR 2021): 39,000 videos of the Internet Archive and Flickr, scored 0 to 100.

Source: PatchVQ's labels_train_test.csv and labels_test_1080p.csv (``is_test`` tells train from
test), the same in three files LSVQ_whole_*.csv (SimpleVQA), and FAST-VQA's txt files.
"""

import logging
from pathlib import Path, PurePosixPath

from distill.checks import one_of
from distill.data.published import Published, Record, label_files, number
from distill.data.tables import read_label_lines, read_records
from distill.errors import ManifestError

log = logging.getLogger(__name__)

PUBLISHED = Published(
    "LSVQ",
    # Authors drop different broken videos.
    sizes={"train": (28056, 28056), "test": (7182, 7220), "1080p": (3561, 3573)},
    scores=(0, 100),
    folders=r"((?:ia|yfcc)-batch\d+|backup\d*)",  # 341 pairs of names stand in two of them
)
# The authors' csv first; what comes later is read for the parts that are still missing.
_FILES: dict[str, str] = {
    "labels_train_test.csv": "",
    "LSVQ_whole_train.csv": "train",
    "LSVQ_whole_test.csv": "test",
    "labels_test_1080p.csv": "1080p",
    "LSVQ_whole_test_1080p.csv": "1080p",
    "train_labels.txt": "train",
    "labels_test.txt": "test",
    "labels_1080p.txt": "1080p",
}


def read(source: Path, part: str = "main") -> list[Record]:
    """Records of train and test (``part="main"``), or of the 1080p test set (``part="1080p"``).

    Raises:
        ConfigError: no such part.
        ManifestError: no label file, or a single file of unknown name.
    """
    one_of("data.options.part", part, ("main", "1080p"))
    wanted = {"1080p"} if part == "1080p" else {"train", "test"}
    patterns = [name for name, of in _FILES.items() if not of or of in wanted]
    if part == "1080p":
        patterns.remove("labels_train_test.csv")
    known = {name.lower(): of for name, of in _FILES.items()}
    records: list[Record] = []
    for path in label_files(source, patterns, PUBLISHED.title):
        if path.name.lower() not in known:
            raise ManifestError(
                f"{path}: which part of LSVQ is it? Rename it to one of {', '.join(_FILES)}"
            )
        found = [r for r in _records(path, known[path.name.lower()]) if r.part in wanted]
        have = {record.part for record in records}
        kept = [record for record in found if record.part not in have]
        if len(kept) < len(found):
            log.info("LSVQ: %s is not read; %s has these labels", path.name, records[0].file.name)
        records += kept
    return records


def _records(path: Path, part: str) -> list[Record]:
    if path.suffix.lower() == ".txt":
        return [_record(path, line, name, mos, part) for line, name, mos in read_label_lines(path)]
    rows = read_records(path, (), ("name", "mos") if part else ("name", "mos", "is_test"))
    # The csv leaves out ".mp4", also where a name seems to have a suffix: a.mov is a.mov.mp4.
    return [
        _record(path, line, f"{cells['name']}.mp4", cells["mos"], part or _part(path, line, cells))
        for line, cells in rows
    ]


def _part(path: Path, line: int, cells: dict[str, str]) -> str:
    told = {"true": "test", "1": "test", "false": "train", "0": "train"}
    part = told.get(cells["is_test"].strip().lower())
    if part is None:
        raise ManifestError(
            f"{path}, line {line}: is_test is {cells['is_test']!r}, not true or false"
        )
    return part


def _record(path: Path, line: int, name: str, mos: str, part: str) -> Record:
    # Videos of one name in two batches are one archived item: a split within train keeps them
    # together. The official split does not: 96 such pairs are in train and in test.
    group = f"{part}/{PurePosixPath(name).stem}"
    split = "train" if part == "train" else "test"
    return Record(path, line, name, number(path, line, mos), part=part, split=split, group=group)
