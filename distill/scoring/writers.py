"""Where the scores go: a table, CSV, JSON, JSON lines, pictures."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from distill.config import folder
from distill.errors import OutputError
from distill.scoring.pictures import Pictures
from distill.scoring.records import COLUMNS, FRAME_SCORES, FRAME_TIMES, Record
from distill.scoring.sparkline import marks_for, sparkline
from distill.terminal import for_terminal


class Writer(Protocol):
    """One output."""

    def add(self, row: Record, fresh: bool) -> None:
        """Take a video's record, in the order of the videos.

        Args:
            row: the record.
            fresh: false for one that an earlier run has written to the file of ``--jsonl``.
        """
        ...

    def close(self) -> None:
        """Finish, also after a part of the videos only."""
        ...


def open_writers(options: argparse.Namespace) -> list[Writer]:
    """What the options ask for; files that are written line by line are begun.

    Raises:
        OutputError: a file cannot be written.
    """
    writers: list[Writer] = []
    files = [options.csv, options.json, options.jsonl]
    if options.jsonl is not None:
        writers.append(_Lines(options.jsonl, options.frames, options.resume))
    if options.csv is not None:
        writers.append(_Csv(options.csv, options.frames))
    if options.json is not None:
        writers.append(_Json(options.json, options.frames))
    if options.sparkline or files == [None] * len(files):
        writers.append(_Table(options.sparkline))
    if options.plots is not None:
        writers.append(Pictures(folder(options.plots)))
    return writers


class _Stream:
    """A file, or standard output, of which a reader sees every line when it is written."""

    def __init__(self, name: str, append: bool = False) -> None:
        self.name, self._count = "standard output" if name == "-" else name, 0
        self._file: TextIO = sys.stdout
        if name != "-":
            with _told(self.name, 0):
                # A folder's own name may hold bytes that are no UTF-8.
                self._file = folder(name).open(
                    "a" if append else "w", newline="", encoding="utf-8",
                    errors="backslashreplace",
                )  # fmt: skip

    def write(self, text: str) -> int:
        """Write and flush; for csv.writer too."""
        with _told(self.name, self._count):
            self._file.write(text)
            self._file.flush()
        self._count += 1
        return len(text)

    def close(self) -> None:
        if self._file is not sys.stdout:
            with _told(self.name, self._count):
                self._file.close()


@contextmanager
def _told(name: str, lines: int) -> Iterator[None]:
    """Errors of the file system in a user's words; a closed pipe is the door's business."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"{name}: cannot be written ({error.strerror}); {lines} lines are in it. Free some"
            " space, and continue with --jsonl FILE --resume"
        ) from error


class _Lines:
    def __init__(self, name: str, frames: bool, append: bool) -> None:
        self._stream, self._frames = _Stream(name, append), frames

    def add(self, row: Record, fresh: bool) -> None:
        if fresh:
            self._stream.write(json.dumps(_shown(row, self._frames), allow_nan=False) + "\n")

    def close(self) -> None:
        self._stream.close()


def _shown(row: Record, frames: bool) -> Record:
    """Without the scores of frames where only a picture needs them."""
    return {k: v for k, v in row.items() if frames or k not in (FRAME_SCORES, FRAME_TIMES)}


class _Csv:
    def __init__(self, name: str, frames: bool) -> None:
        self._stream = _Stream(name)
        columns = [*COLUMNS, *((FRAME_SCORES, FRAME_TIMES) if frames else ())]
        self._writer = csv.DictWriter(self._stream, columns, extrasaction="ignore")
        self._writer.writeheader()

    def add(self, row: Record, fresh: bool) -> None:
        self._writer.writerow({name: _cell(value) for name, value in row.items()})

    def close(self) -> None:
        self._stream.close()


def _cell(value: Any) -> Any:
    """Lists with spaces between, truth as JSON has it."""
    if isinstance(value, list):
        return " ".join("nan" if each is None else str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else value


class _Json:
    def __init__(self, name: str, frames: bool) -> None:
        self._name, self._frames, self._rows = name, frames, list[Record]()

    def add(self, row: Record, fresh: bool) -> None:
        self._rows.append(_shown(row, self._frames))

    def close(self) -> None:
        stream = _Stream(self._name)
        stream.write(json.dumps(self._rows, indent=2, allow_nan=False) + "\n")
        stream.close()


class _Table:
    """For people; columns as wide as what they hold, so it comes at the end."""

    def __init__(self, course: bool) -> None:
        self._course, self._rows = course, list[Record]()

    def add(self, row: Record, fresh: bool) -> None:
        self._rows.append(row)

    def close(self) -> None:
        stream = _Stream("-")
        stream.write("".join(f"{line}\n" for line in table(self._rows, self._course)))


def table(rows: Sequence[Record], course: bool, encoding: str | None = None) -> list[str]:
    """Lines of a table for a terminal.

    Args:
        rows: records.
        course: whether there is a column with the course of the score over time; all videos
            share its scale, from the lowest score of any frame to the highest.
        encoding: of the terminal; None is standard output's.
    """
    marks = marks_for(encoding or sys.stdout.encoding)
    names = [for_terminal(row["video"]) for row in rows]
    width = max([5, *map(len, names)])
    courses = [row.get(FRAME_SCORES, []) if course else [] for row in rows]
    every = [score for scores in courses for score in scores]
    low, high = min(every, default=0.0), max(every, default=0.0)
    drawn = [sparkline(scores, low, high, marks) for scores in courses]
    scale = f"{low:.2f} to {high:.2f}" if every else ""
    broad = max(map(len, [scale, *drawn]))

    def line(
        video: str, score: str, size: str, fps: str, seconds: str, over: str, note: str
    ) -> str:
        middle = f"  {over:{broad}}" if course else ""
        return f"{video:{width}}  {score:>5}  {size:10}  {fps:>5}  {seconds:>7}{middle}  {note}"

    noted = "note" if any(row["note"] for row in rows) else ""
    told = [line("video", "score", "size", "fps", "seconds", scale, noted)]
    for row, name, over in zip(rows, names, drawn, strict=True):
        if row["error"]:
            told.append(f"{name:{width}}  failed: {for_terminal(row['error'])}")
            continue
        told.append(
            line(
                name, f"{row['score']:.2f}", f"{row['width']}x{row['height']}",
                f"{row['fps']:.1f}", f"{row['duration']:.1f}", over, row["note"],
            )
        )  # fmt: skip
    # One model, so that one row says it for all.
    if rows and rows[0]["calibrated"] and rows[0]["scale_low"] is not None:
        ends = f"{rows[0]['scale_low']:g} to {rows[0]['scale_high']:g}"
        told.append(f"The labels that the model learned from go from {ends}.")
    if rows and rows[0]["warning"]:
        told.append(f"!! {rows[0]['warning']} !!")
    return [each.rstrip() for each in told]
