"""CVD2014 (TIP 2016): 234 videos of 78 cameras, five scenes in six tests, scored about 0 to 100.

Source: labels.txt of ExplainableVQA; Realignment_MOS.csv of the authors (semicolons, decimal
commas), as VSFA's and SimpleVQA's readers take it.
"""

import re
from pathlib import Path, PurePosixPath

from distill.data.published import Published, Record, first_label_file, number
from distill.data.tables import read_label_lines, read_records
from distill.errors import ManifestError

# Realigned scores leave the scale: the file goes from -6.5 to 93.38.
PUBLISHED = Published("CVD2014", sizes={"all": (234, 234)}, scores=(-10, 100))
_FILES = ("labels.txt", "*Realignment_MOS.csv")
_NAME = re.compile(r"Test0([1-6])_(\w+)_D\d\d")


def read(source: Path) -> list[Record]:
    """Records of the first label file that is there; no split is official.

    The scene is the content: one scene was filmed by many cameras, and again in other tests.

    Raises:
        ManifestError: no label file, or a name that tells no scene.
    """
    path = first_label_file(source, _FILES, PUBLISHED.title)
    if path.suffix.lower() == ".txt":
        rows = read_label_lines(path)
    else:
        table = read_records(path, (), ("File_name", "Realignment MOS"), delimiter=";")
        rows = [
            (line, f"{cells['File_name'].strip()}.avi", cells["Realignment MOS"].replace(",", "."))
            for line, cells in table
            if cells["File_name"].strip()
        ]
    return [_record(path, line, name, mos) for line, name, mos in rows]


def _record(path: Path, line: int, name: str, mos: str) -> Record:
    match = _NAME.fullmatch(PurePosixPath(name).stem)
    if not match:
        raise ManifestError(
            f"{path}, line {line}: {name!r} is no video of CVD2014; they are named"
            " like Test01_City_D01.avi"
        )
    scene = match[2].lower()
    return Record(
        path, line, PurePosixPath(name).name, number(path, line, mos), group=scene,
        extra={"test": match[1]},
    )  # fmt: skip
