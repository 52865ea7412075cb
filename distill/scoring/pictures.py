"""A picture for each video: how its score goes over time."""

import re
import sys
import warnings
from pathlib import Path

from distill.errors import OutputError
from distill.scoring.records import FRAME_SCORES, FRAME_TIMES, Record

_LONGEST = 200  # bytes of a file's name; a file system takes 255


class Pictures:
    """Writes ``NAME.png`` for each video with scores of frames.

    Args:
        folder: where to; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._names, self._missing = folder, set[str](), 0

    def add(self, row: Record, fresh: bool) -> None:
        """Draw a video that was scored now; see :class:`~distill.scoring.writers.Writer`."""
        # Also of those that have a picture from before, so that names do not depend on a stop.
        path = self._folder / f"{self._name(row['video'])}.png"
        if row.get(FRAME_SCORES) and fresh:
            try:
                draw(path, row)
            except OSError as error:
                raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        self._missing += fresh and not row["error"] and not row.get(FRAME_SCORES)

    def close(self) -> None:
        """Say how many have none."""
        if self._missing:
            sys.stderr.write(
                f"no picture of {self._missing} videos, which have no scores of frames\n"
            )

    def _name(self, video: str) -> str:
        """A file's name that tells the video, and is no other's, in any case of its letters."""
        stem = re.sub(r"[^\w.-]+", "_", video).strip("._") or "video"
        stem = stem.encode()[-_LONGEST:].decode(errors="ignore")
        name, number = stem, 1
        while name.lower() in self._names:
            number += 1
            name = f"{stem}-{number}"
        self._names.add(name.lower())
        return name


def draw(path: Path, row: Record) -> None:
    """Scores of frames against seconds, or against their number where no times are known.

    Args:
        path: of the PNG.
        row: a record with at least one score of a frame.
    """
    from matplotlib.figure import Figure  # not pyplot: no backend is chosen for anybody

    scores, times = row[FRAME_SCORES], row[FRAME_TIMES]
    timed = None not in times
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(times if timed else range(1, len(scores) + 1), scores, marker="o", markersize=4)
    axes.axhline(row["score"], color="#888888", linewidth=1)
    where = (1.0, row["score"])
    axes.annotate(f" {row['score']:.2f}", where, xycoords=("axes fraction", "data"), va="center")
    if row["calibrated"] and row["scale_low"] is not None:
        every = [*scores, row["score"]]
        axes.set_ylim(min(row["scale_low"], *every), max(row["scale_high"], *every))
    axes.set_xlabel("seconds" if timed else "frame score")
    axes.set_ylabel("score (MOS)" if not row["warning"] else "score, no MOS")
    # parse_math: a dollar in a file's name is no formula.
    axes.set_title(row["video"][-90:], fontsize=9, parse_math=False)
    if row["warning"]:
        figure.suptitle(row["warning"], fontsize=9, color="#cc2222")
    axes.grid(alpha=0.25)
    with warnings.catch_warnings():  # a letter of the name that the font lacks
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(path, dpi=110)
