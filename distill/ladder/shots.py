"""What goes into the distortion ladder and what comes out: shots, rows, and their manifest."""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.rows import mos_of_vmaf
from distill.ladder.ffmpeg import LadderError

COLUMNS = ("video", "mos", "mos_std", "split", "group", "shot", "processing", "detail")


@dataclass(frozen=True)
class Shot:
    """One pristine shot.

    Attributes:
        name: unique; letters, digits, ``_``, ``-`` and ``.``: it names the files.
        source: a video file, or a function that yields (H, W, 3) uint8 RGB frames of one size.
        group: the source content; versions and shots of one content share it.
        fps: frames per second; a function needs it, a file is resampled to it. None keeps
            the file's.
        start: seconds to skip in a file.
        duration: seconds to take from a file; None takes the rest.
        filters: FFmpeg filters that a file goes through first, such as ``scale=-2:320``.
        version: changes when the content does, so that the frames are made again: needed by a
            function; a file without one is hashed whole at every run.
        labelled: measure VMAF; False leaves the rows without a label.
        check: called before version 0 is made; raises VideoError where the source is not sound.
    """

    name: str
    source: Path | Callable[[], Iterable[np.ndarray]]
    group: str
    fps: float | None = None
    start: float = 0.0
    duration: float | None = None
    filters: str = ""
    version: str = ""
    labelled: bool = True
    check: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", self.name):
            raise LadderError(
                f"shot {self.name!r}: the name becomes a file name; use only letters, digits, "
                "_, - and . (no . in front)"
            )
        if isinstance(self.source, Path):
            if not self.source.is_file():
                raise LadderError(f"shot {self.name}: there is no file {self.source}")
        elif not callable(self.source) or not self.fps:
            raise LadderError(
                f"shot {self.name}: give a pathlib.Path, or a function that yields frames "
                f"together with fps; got {self.source!r} and fps={self.fps}"
            )


@dataclass(frozen=True)
class LadderRow:
    """One finished video.

    Attributes:
        video: path relative to the ladder's folder, with forward slashes.
        vmaf: mean over the frames against version 0, 0..100; None where not asked for.
        group, shot: of the shot it was made from.
        processing, detail: the kind, and its parameters in words.
    """

    video: str
    vmaf: float | None
    group: str
    shot: str
    processing: str
    detail: str

    @property
    def mos(self) -> float | None:
        """The label on the MOS scale; see ``distill.data.rows.mos_of_vmaf``."""
        return None if self.vmaf is None else mos_of_vmaf(self.vmaf)


def write_manifest(
    rows: Iterable[LadderRow], path: Path, splits: Mapping[str, str] | None = None
) -> None:
    """Write the rows as a manifest.

    Args:
        rows: what ``make_ladder`` returned.
        path: the CSV file, in the ladder's folder so that its relative paths hold.
        splits: split of every group, so that none is cut; None leaves the column out.
    """
    names = [name for name in COLUMNS if splits is not None or name != "split"]
    records = []
    for row in rows:
        record = {name: getattr(row, name, "") for name in COLUMNS}
        record["mos"] = "" if row.mos is None else f"{row.mos:.4f}"
        record["split"] = "" if splits is None else splits[row.group]
        records.append([record[name] for name in names])
    write_table(path, names, records)


def write_table(path: Path, header: Iterable[str], records: Iterable[Iterable[object]]) -> None:
    """Write a CSV whole or not at all."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(records)
    replace_text(path, out.getvalue())


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where two processes write it at once."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.write_text(text, encoding="utf-8", newline="")
    os.replace(temporary, path)
