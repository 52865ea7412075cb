"""Find the videos that a label file names below a folder, whatever folders they lie in."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

from distill.data.manifest import VIDEO_SUFFIXES, escaped
from distill.errors import ManifestError

NOT_THERE = "no such video below"  # how the reason begins where there is nothing to mend


class Finder:
    """The videos below a folder, found by name.

    A video is taken for a name where the file's name agrees (the suffix may differ, and may be
    absent from the name) and no folder speaks against it: a folder that ``folders`` matches,
    or that another name of the label file has, holds other videos. Of several, the one in the
    named folder is taken. What stays open is a reason, never a guess.

    Args:
        root: searched with its sub-folders; links to folders are followed.
        names: every name of the label file, with ``/`` between folders.
        key: of a file's name without suffix, where downloads rename videos; videos and names
            with equal keys belong together.
        folders: regular expression of folders whose names tell videos apart that are named
            alike; its first group is compared, in any case (``train_video`` and ``train``).
    """

    def __init__(
        self,
        root: Path,
        names: Iterable[str],
        key: Callable[[str], str] = str,
        folders: str = "",
    ) -> None:
        self.root, self.key, self.folders = root, key, re.compile(folders, re.I)
        self.moved: list[tuple[str, str]] = []
        self.claimed: dict[str, str] = {}
        self.videos: dict[str, list[PurePosixPath]] = defaultdict(list)
        for video in files_below(root, VIDEO_SUFFIXES):
            self.videos[key(video.stem)].append(video)
        self.named: dict[str, int] = defaultdict(int)
        self.siblings: set[str] = set()
        for name in names:
            self.named[self._key_of(PurePosixPath(name))] += 1
            self.siblings.update(self._parents(PurePosixPath(name))[-1:])

    @property
    def count(self) -> int:
        """Videos below the root."""
        return sum(map(len, self.videos.values()))

    def find(self, name: str) -> tuple[str, str]:
        """Where a named video is.

        Returns:
            Its path below the root and '', or '' and the reason why there is none.

        Raises:
            ManifestError: the video was found for another name before.
        """
        wanted = PurePosixPath(name)
        folder = self._parents(wanted)
        ranked: dict[tuple[int, int, bool], list[PurePosixPath]] = defaultdict(list)
        for video in self.videos.get(self._key_of(wanted), ()):
            parents = self._parents(self.root.name / video)
            token = self._token(parents)
            if token not in ("", self._token(folder)):
                continue
            tail = _common_tail(folder, parents)
            if tail == 0 and folder and set(parents[-1:]) & self.siblings:
                continue
            ranked[len(token), tail, video.name == wanted.name].append(video)
        if not ranked:
            return "", f"{NOT_THERE} {self.root}"
        best = max(ranked)
        found = ranked[best]
        if len(found) > 1:
            both = escaped(f"{found[0]} or {found[1]}")
            return "", f"could be {both} below {self.root}; keep one of them"
        video = found[0]
        if escaped(str(video)) != str(video):
            return "", f"{escaped(str(video))} below {self.root} is no UTF-8; rename it"
        if not os.path.isfile(self.root / video):
            return "", f"{video} below {self.root} is a link to nothing"
        if best[1] < len(folder):
            if self.named[self._key_of(wanted)] > 1:
                return "", (
                    f"{video} below {self.root} could also be another row's video;"
                    f" put it into a folder {wanted.parent}"
                )
            self.moved.append((name, str(video)))
        other = self.claimed.setdefault(str(video), name)
        if other != name:
            raise ManifestError(
                f"{self.root / video}: is the video of two rows, {other!r} and {name!r};"
                " keep one of the rows"
            )
        return str(video), ""

    def _key_of(self, name: PurePosixPath) -> str:
        return self.key(name.stem if name.suffix.lower() in VIDEO_SUFFIXES else name.name)

    def _parents(self, path: PurePosixPath) -> tuple[str, ...]:
        return tuple(self._token((part,)) or part for part in path.parent.parts)

    def _token(self, parents: tuple[str, ...]) -> str:
        """What the innermost telling folder says, or ''."""
        matches = (self.folders.fullmatch(part) for part in reversed(parents))
        return next((m[1].lower() for m in matches if m and m.re.groups), "")


def _common_tail(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    count = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        count += 1
    return count


def files_below(
    root: Path,
    suffixes: Collection[str],
    unreadable: Callable[[OSError], None] | None = None,
) -> Iterable[PurePosixPath]:
    """Paths below the root of files with these suffixes (lower case), sorted within a folder.

    Links to folders are followed, each folder once; what is hidden (``._a.mp4``) is left out.

    Args:
        root: the folder.
        suffixes: in lower case.
        unreadable: told about folders that cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, onerror=unreadable, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                yield inside / name
