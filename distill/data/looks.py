"""One decode of a video, however many views want to look at it, and however often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from distill.augment import MIRRORED, AugmentConfig
from distill.data.identity import seed_of
from distill.data.reader import VideoInfo, VideoReader
from distill.data.views import Collector, View
from distill.errors import VideoError

_LONGEST = 32  # times its short side


@dataclass(frozen=True)
class Look:
    """Views of a video, and how they draw.

    Args:
        views: name -> view; none of them: metadata only.
        seed: of the views' randomness; see ``View.begin``.
        train: random frames and crops.
        frozen: views that are evaluation views in training too, with the seed of the content.
        augment: what is done to the other views' pictures in training; None is nothing.
    """

    views: Mapping[str, View]
    seed: int
    train: bool
    frozen: Mapping[str, int] = field(default_factory=dict)
    augment: AugmentConfig | None = None

    def begin(self, info: VideoInfo) -> dict[str, "_Turned"]:
        """What each view collects with."""
        flip, reverse = self.augment.draw(self.seed) if self.augment else (False, False)
        begun = {}
        for name, view in self.views.items():
            train = self.train and name not in self.frozen
            collector = view.begin(info, self.frozen.get(name, self.seed), train)
            last = info.num_frames - 1 if train and reverse else None
            frames = getattr(view, "mirror_frames", False)
            begun[name] = _Turned(collector, train and flip, frames, last)
        return begun


class _Turned:
    """A collector that is shown another video: mirrored, or from its end to its start.

    Backwards it gets frame ``last - i`` as its frame i, so that its padding, its clips and what it
    shares with other views are those of a video that was filmed so. Mirrored, the finished array
    is: of fragments that turns the grid and every patch, as a mirrored frame would, and of small
    views it copies less than mirroring native frames does.

    Args:
        collector: of a view; one that wants no frames (a table's numbers) stays as it is.
        flip: mirror it.
        frames: mirror what it sees, not what it made of it.
        last: number of the video's last frame; None is forwards.
    """

    def __init__(
        self, collector: Collector, flip: bool, frames: bool, last: int | None
    ) -> None:  # fmt: skip
        self._collector, self._last = collector, last
        wanted = set(collector.indices.tolist())
        self._flip_frames = flip and frames
        self._flip = flip and not frames and bool(wanted)
        self.indices = {last - index for index in wanted} if last is not None else wanted

    def add(self, index: int, frame: np.ndarray) -> None:
        """Take one decoded frame, by its number in the file."""
        seen = frame[:, ::-1] if self._flip_frames else frame
        self._collector.add(index if self._last is None else self._last - index, seen)

    def result(self) -> np.ndarray:
        """The view's array."""
        found = self._collector.result()
        return np.ascontiguousarray(found[..., ::-1]) if self._flip else found


def further_looks(full: Mapping[str, View], content: str, count: int) -> list[Look]:
    """The looks at a video in evaluation after the first, ``count`` with it.

    Args:
        full: name -> view at its full count (``at_full_count``).
        content: hash of the video, which with the look's number seeds what is drawn.
        count: >= 1.
    """
    seeds = [seed_of(content, "test view", number) for number in range(1, count)]
    return [Look(full, seed, True, augment=MIRRORED) for seed in seeds]


def read_looks(
    path: Path, reader: VideoReader, looks: Sequence[Look], place: Path | None = None
) -> tuple[list[dict[str, np.ndarray]], VideoInfo]:
    """Decode one video once, the union of the indices of all, and fill every view of every look.

    Args:
        path: the file.
        reader: decodes it.
        looks: what wants to see it.
        place: where the video is, if the file is a copy of it; views are told.

    Returns:
        For each look view name -> uint8 array; the metadata.

    Raises:
        VideoError: it cannot be decoded, or is a strip: views enlarge the short side first; or a
            view that looks it up by its name does not find it.
    """
    info = replace(reader.probe(path), path=str(place or path))
    if max(info.width, info.height) > _LONGEST * min(info.width, info.height):
        shape = f"pictures of {info.width}x{info.height}"
        raise VideoError(path, reader.name, f"{shape}: more than {_LONGEST} times as long as wide")
    begun = [look.begin(info) for look in looks]
    collectors = [collector for each in begun for collector in each.values()]
    union = sorted(set().union(*(collector.indices for collector in collectors)))
    read = getattr(reader, "lend", reader.read)  # views keep nothing of a frame
    for index, frame in read(path, union) if union else ():
        for collector in collectors:
            if index in collector.indices:
                collector.add(index, frame)
    return [{name: c.result() for name, c in each.items()} for each in begun], info


def read_views(
    path: Path,
    reader: VideoReader,
    views: Mapping[str, View],
    seed: int,
    train: bool,
    frozen: Mapping[str, int] = MappingProxyType({}),
) -> tuple[dict[str, np.ndarray], VideoInfo]:
    """:func:`read_looks` of a single look, whose arguments :class:`Look` tells."""
    (found,), info = read_looks(path, reader, [Look(views, seed, train, frozen)])
    return found, info
