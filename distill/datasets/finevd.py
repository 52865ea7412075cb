"""FineVD (CVPR 2025): 5074 user videos, scored overall and in five dimensions, about 0 to 100.

Source: CAMP-VQA's metadata/FINEVD_*metadata.csv.
"""

from pathlib import Path

from distill.checks import one_of
from distill.data.published import Published, Record, label_files, number
from distill.data.tables import read_records
from distill.errors import ManifestError

# Standardised scores leave the scale: noise goes down to -8.58.
PUBLISHED = Published("FineVD", sizes={"all": (5074, 5074)}, scores=(-10, 100))
DIMENSIONS = ("overall", "color", "noise", "artifact", "blur", "temporal")


def read(source: Path, dimension: str = "overall") -> list[Record]:
    """Records of one dimension's file; no split is official in these files.

    Raises:
        ConfigError: no such dimension.
        ManifestError: no label file, not of this shape, or a single file of another dimension.
    """
    one_of("data.options.dimension", dimension, DIMENSIONS)
    name = f"FINEVD_{'' if dimension == 'overall' else f'MOS_{dimension}_'}metadata.csv"
    (path,) = label_files(source, (name,), PUBLISHED.title)
    if path.name.lower() != name.lower():
        raise ManifestError(
            f"{path}: the labels of data.options.dimension={dimension} are in {name}"
        )
    return [
        Record(path, line, f"{cells['vid'].strip()}.mp4", number(path, line, cells["mos"]))
        for line, cells in read_records(path, (), ("vid", "mos"))
    ]
