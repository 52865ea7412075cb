"""LIVE-VQC (TIP 2019): 585 phone videos, scored 0 to 100.

Source: data.mat of the authors (``video_list``, ``mos``), LIVE_VQC_metadata.csv of BVQA_Benchmark
(nine videos are called ``A012NEW.mp4`` there), labels.txt of FAST-VQA.
"""

from pathlib import Path, PurePosixPath

from distill.data.published import Published, Record, first_label_file, number
from distill.data.tables import read_label_lines, read_records
from distill.errors import ManifestError


def name_of(stem: str) -> str:
    """``A012`` of ``A012NEW``."""
    return stem.removesuffix("NEW")


PUBLISHED = Published("LIVE-VQC", sizes={"all": (585, 585)}, scores=(0, 100), key=name_of)
_FILES = ("LIVE_VQC_metadata.csv", "labels.txt", "data.mat")


def read(source: Path) -> list[Record]:
    """Records of the first label file that is there; no split is official.

    Raises:
        ManifestError: no label file, or not of this shape.
    """
    path = first_label_file(source, _FILES, PUBLISHED.title)
    kind = path.suffix.lower()
    if kind == ".mat":
        rows = _mat(path)
    elif kind == ".txt":
        rows = read_label_lines(path)
    else:
        table = read_records(path, (), ("File", "MOS"))
        rows = [(line, cells["File"].strip(), cells["MOS"]) for line, cells in table]
    return [
        Record(path, line, f"{name_of(PurePosixPath(name).stem)}.mp4", number(path, line, mos))
        for line, name, mos in rows
    ]


def _mat(path: Path) -> list[tuple[int, str, str]]:
    from scipy.io import loadmat

    try:
        data = loadmat(path, variable_names=["video_list", "mos"])
        names, scores = data["video_list"].ravel(), data["mos"].ravel()
    except Exception as error:  # scipy's own, or any other on a damaged file
        raise ManifestError(
            f"{path}: no LIVE-VQC labels `video_list` and `mos` that can be read ({error})"
        ) from error
    if len(names) != len(scores):
        raise ManifestError(f"{path}: {len(names)} names but {len(scores)} scores")
    return [
        (i, str(name.item()), repr(float(mos)))
        for i, (name, mos) in enumerate(zip(names, scores, strict=True), 1)
    ]
