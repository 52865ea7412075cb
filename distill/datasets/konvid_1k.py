"""KoNViD-1k (QoMEX 2017): 1200 videos from Flickr, 540p, 8 seconds, scored 1 to 5.

Source: KoNViD_1k_attributes.csv and KoNViD_1k_mos.csv of the authors, KONVID_1K_metadata.csv of
BVQA_Benchmark (rows sorted by MOS), labels.txt of FAST-VQA.
"""

from pathlib import Path, PurePosixPath

from distill.data.published import Published, Record, first_label_file, number
from distill.data.tables import read_label_lines, read_records


def flickr_id(stem: str) -> str:
    """``3339962845`` of ``3339962845_original_centercrop_960x540_8s``, an older release's name."""
    return stem.split("_")[0]


PUBLISHED = Published("KoNViD-1k", sizes={"all": (1200, 1200)}, scores=(1, 5), key=flickr_id)
_FILES = ("KoNViD_1k_attributes.csv", "KoNViD_1k_mos.csv", "KONVID_1K_metadata.csv",
          "labels.txt")  # fmt: skip


def read(source: Path) -> list[Record]:
    """Records of the first label file that is there; no split is official.

    Raises:
        ManifestError: no label file, or not of this shape.
    """
    path = first_label_file(source, _FILES, PUBLISHED.title)
    if path.suffix.lower() == ".txt":
        return [
            Record(
                path, line, f"{flickr_id(PurePosixPath(name).stem)}.mp4", number(path, line, mos)
            )
            for line, name, mos in read_label_lines(path)
        ]
    return [
        Record(path, line, f"{cells['flickr_id'].strip()}.mp4", number(path, line, cells["mos"]))
        for line, cells in read_records(path, ("mos", "flickr_id"), ("flickr_id", "mos"))
    ]
