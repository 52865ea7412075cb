"""A pool of videos of any size in little memory."""

from array import array
from collections.abc import Iterable, Iterator

from distill.data.places import place_of
from distill.data.rows import Row


class Pool:
    """Unlabelled videos as one piece of text; a row is made when it is asked for.

    A list of rows takes about 1 kB a video, this the length of its path and name and 8 bytes.

    Args:
        rows: taken one by one; of each, ``video``, ``path`` and ``group`` are kept.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._text, self._ends = bytearray(), array("q", [0])
        for row in rows:
            words = [str(row.path), row.video]
            if row.group != row.video:
                words.append(row.group)
            self._text += "\0".join(words).encode("utf-8", "surrogateescape")
            self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, at: int) -> Row:
        """A row by its position, 0 to len - 1."""
        path, video, *group = self._words(at)
        return Row(video, place_of(path), group=group[0] if group else video)

    def paths(self) -> Iterator[str]:
        """Of all videos, in order."""
        return (self._words(at)[0] for at in range(len(self)))

    def _words(self, at: int) -> list[str]:
        if not 0 <= at < len(self):
            raise IndexError(at)
        text = self._text[self._ends[at] : self._ends[at + 1]]
        return text.decode("utf-8", "surrogateescape").split("\0", 2)
