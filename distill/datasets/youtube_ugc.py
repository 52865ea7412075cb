"""YouTube-UGC (MMSP 2019): 1380 scored clips of 20 seconds, 360p to 2160p, scored 1 to 5.

Source: YOUTUBE_UGC_metadata.csv of BVQA_Benchmark, labels.txt of ExplainableVQA (the 1147 that
were still public).
"""

from pathlib import Path, PurePosixPath

from distill.data.published import Published, Record, first_label_file, number
from distill.data.tables import read_label_lines, read_records

_H264 = "_crf_10_ss_00_t_20.0"  # Google's h264 copies of its lossless mkv


def clip_id(stem: str) -> str:
    """``Sports_2160P-4e9f`` of ``Sports_2160P-4e9f_crf_10_ss_00_t_20.0``."""
    return stem.removesuffix(_H264)


PUBLISHED = Published("YouTube-UGC", sizes={"all": (1147, 1380)}, scores=(1, 5), key=clip_id)
_FILES = ("YOUTUBE_UGC_metadata.csv", "labels.txt")


def read(source: Path) -> list[Record]:
    """Records of the first label file that is there; no split is official.

    Raises:
        ManifestError: no label file, or not of this shape.
    """
    path = first_label_file(source, _FILES, PUBLISHED.title)
    if path.suffix.lower() == ".txt":
        return [
            Record(path, line, f"{clip_id(PurePosixPath(name).stem)}.mp4", number(path, line, mos))
            for line, name, mos in read_label_lines(path)
        ]
    return [
        Record(
            path, line, f"{cells['vid'].strip()}.mp4", number(path, line, cells["MOSFull"]),
            number(path, line, cells["stdFull"], "stdFull"),
        )
        for line, cells in read_records(path, (), ("vid", "MOSFull", "stdFull"))
    ]  # fmt: skip
