"""VDPVE (CVPRW 2023): enhanced videos of the NTIRE 2023 challenge, scored 0 to 100.

Source: Zoom-VQA's four txt files, or the challenge's train.txt (``name, mos``). Only the 839
training videos have a public MOS; Zoom-VQA holds 111 of them out.
"""

import re
from pathlib import Path, PurePosixPath

from distill.data.published import Published, Record, label_files, number
from distill.data.tables import read_label_lines
from distill.errors import ManifestError

PUBLISHED = Published(
    "VDPVE",
    sizes={"training": (839, 839), "validation": (119, 119), "test": (253, 253)},
    scores=(0, 100),
    folders=r"(train|val|test)(?:ing|idation)?(?:_?(?:set|data|videos?))?",
)
_FILES = ("train_labels.txt", "val_offline_labels.txt", "val_ol_labels.txt", "test_labels.txt",
          "train.txt")  # fmt: skip
_SOURCE = re.compile(r"([ABC]\d{4})_\d\d")  # kind and number of the source, then the method
_NO_SCORE = "its MOS was never released; a number beside it is a model's prediction"


def read(source: Path) -> list[Record]:
    """Records of every label file; ``train.txt`` only where it stands alone.

    Raises:
        ManifestError: no label file, or a name that VDPVE does not have.
    """
    paths = label_files(source, _FILES, PUBLISHED.title)
    if any(path.name == "train_labels.txt" for path in paths):
        paths = [path for path in paths if path.name != "train.txt"]
    return [_record(path, *row) for path in paths for row in read_label_lines(path)]


def _record(path: Path, line: int, video: str, score: str) -> Record:
    name = PurePosixPath(video)
    match = _SOURCE.fullmatch(name.stem)
    if match:
        mos = number(path, line, score)
        split = "val" if path.stem.startswith("val") else "train"
        if mos == -1:
            raise ManifestError(f"{path}, line {line}: {name} has mos -1, but train has labels")
        place = f"train/{name.name}"  # the videos that Zoom-VQA holds out lie there too
        return Record(path, line, place, mos, part="training", split=split, group=match[1])
    if not re.fullmatch(r"\d{4}", name.stem):
        raise ManifestError(
            f"{path}, line {line}: {video!r} is no video of VDPVE; they are named like"
            " A0023_01.mp4, or like 0001.mp4 in validation and test"
        )
    kinds = [kind for kind in ("val", "test") if path.stem.lower().startswith(kind)]
    if not kinds:
        raise ManifestError(
            f"{path}, line {line}: {video!r} could be of validation or test; name the file"
            " val_ol_labels.txt or test_labels.txt"
        )
    part = {"val": "validation", "test": "test"}[kinds[0]]
    return Record(path, line, f"{kinds[0]}/{name.name}", part=part, split=kinds[0], why=_NO_SCORE)
