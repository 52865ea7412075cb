"""One decode of a video, however many views want to look at it, and however often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

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
    """

    views: Mapping[str, View]
    seed: int
    train: bool
    frozen: Mapping[str, int] = field(default_factory=dict)

    def begin(self, info: VideoInfo) -> dict[str, Collector]:
        """A collector for each view."""
        return {
            name: view.begin(
                info, self.frozen.get(name, self.seed), self.train and name not in self.frozen
            )
            for name, view in self.views.items()
        }


def read_looks(
    path: Path, reader: VideoReader, looks: Sequence[Look]
) -> tuple[list[dict[str, Tensor]], VideoInfo]:
    """Decode one video once, the union of the indices of all, and fill every view of every look.

    Args:
        path: the file.
        reader: decodes it.
        looks: what wants to see it.

    Returns:
        For each look view name -> tensor; the metadata.

    Raises:
        VideoError: it cannot be decoded, or is a strip: views enlarge the short side first; or a
            view that looks it up by its name does not find it.
    """
    info = replace(reader.probe(path), path=str(path))
    if max(info.width, info.height) > _LONGEST * min(info.width, info.height):
        shape = f"pictures of {info.width}x{info.height}"
        raise VideoError(path, reader.name, f"{shape}: more than {_LONGEST} times as long as wide")
    begun = [look.begin(info) for look in looks]
    wanted = [(c, set(c.indices.tolist())) for each in begun for c in each.values()]
    union = sorted(set().union(*(indices for _, indices in wanted)))
    read = getattr(reader, "lend", reader.read)  # views keep nothing of a frame
    for index, frame in read(path, union) if union else ():
        for collector, indices in wanted:
            if index in indices:
                collector.add(index, frame)
    return [{name: c.result() for name, c in each.items()} for each in begun], info


def read_views(
    path: Path,
    reader: VideoReader,
    views: Mapping[str, View],
    seed: int,
    train: bool,
    frozen: Mapping[str, int] = MappingProxyType({}),
) -> tuple[dict[str, Tensor], VideoInfo]:
    """:func:`read_looks` of a single look, whose arguments :class:`Look` tells."""
    (found,), info = read_looks(path, reader, [Look(views, seed, train, frozen)])
    return found, info
