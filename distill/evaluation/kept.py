"""Scores of an evaluation on disk as they come, so that one that was stopped goes on from there."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.data.reader import VideoInfo
from distill.data.rows import Row
from distill.errors import OutputError
from distill.scored import Scored


class KeptScores:
    """What one model said of the videos of one table: a line of JSON each, written at once.

    Videos that had no score are not kept, and those whose file has changed since count as new.

    Args:
        path: of the file; made with its folder if missing.
        resumed: take over what is in it; else it begins anew.
    """

    def __init__(self, path: Path, resumed: bool) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if resumed and path.is_file() else []
        self._kept = dict(_records(lines))
        whole = [_line(record) for record in self._kept.values()]
        path.write_text("".join(whole), encoding="utf-8")  # without a line that was cut off

    def complete(
        self, rows: Sequence[Row], score: Callable[[Sequence[Row]], Iterator[Scored]]
    ) -> Iterator[Scored]:
        """A result for each row, in their order; only those that are not kept are scored.

        Args:
            rows: of the table.
            score: gives a result for each of the rows that it is given, in their order.

        Raises:
            OutputError: there is no space to keep a score.
        """
        known = [self._scored(row) for row in rows]
        new = [row for row, scored in zip(rows, known, strict=True) if scored is None]
        results = score(new) if new else iter(())
        with self.path.open("a", encoding="utf-8") as file:
            for scored in known:
                if scored is None:
                    scored = next(results)
                    if not scored.error:
                        self._write(file, scored)
                yield scored
            next(results, None)  # lets it end, and tell what it has to tell

    def _scored(self, row: Row) -> Scored | None:
        record = self._kept.get(str(row.path))
        if record is None or record["stamp"] != _stamp(row.path):
            return None
        record = {name: value for name, value in record.items() if name not in ("path", "stamp")}
        return Scored(row, **record | {"info": VideoInfo(**record["info"])})

    def _write(self, file: Any, scored: Scored) -> None:
        assert scored.info is not None
        record = {
            "path": str(scored.row.path), "stamp": _stamp(scored.row.path), "raw": scored.raw,
            "members": scored.members, "frame_scores": scored.frame_scores,
            "info": asdict(scored.info), "content": scored.content, "seconds": scored.seconds,
        }  # fmt: skip
        try:
            file.write(_line(record))
            file.flush()
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); free some space, then run the"
                " same command with resume=true"
            ) from error


def _records(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # cut off
            continue
        yield record["path"], record


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _stamp(path: Path) -> list[int] | None:
    """Size and time of change of a file; None where it is gone."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
