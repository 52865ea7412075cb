"""Middle frames of videos as small JPEGs inside the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from distill.data.places import RemotePath, place_of
from distill.data.reader import VideoReader
from distill.errors import VideoError

_SIDE = 240  # pixels of the longer side
_QUALITY = 72
_BYTES = 1_200_000  # of all of a page; in base64 a third more


@dataclass(frozen=True)
class Frame:
    """A picture, or why there is none."""

    image: str = ""
    size: tuple[int, int] = (0, 0)
    reason: str = ""


class Frames:
    """Frames of a page, each decoded once.

    Args:
        reader: of the videos; None leaves all frames out.
        most: bytes of JPEG after which no more are taken.
    """

    def __init__(self, reader: VideoReader | None, most: int = _BYTES) -> None:
        self._reader, self._left = reader, most
        self._known: dict[str, Frame] = {}

    def of(self, path: str) -> Frame:
        """The middle frame of a video; whatever is wrong with it is the reason why not."""
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def _read(self, path: str) -> Frame:
        if self._reader is None:
            return Frame(reason="frames are left out of this report")
        if not path:
            return Frame(reason="the run did not note where the video is")
        place = place_of(path)
        if isinstance(place, RemotePath):
            return Frame(reason="the video is not on this machine")
        if self._left <= 0:
            return Frame(reason="the report has as many frames as it may")
        try:
            return self._shrink(place)
        except VideoError as error:
            return Frame(reason=error.reason)
        except OSError as error:
            return Frame(reason=error.strerror or str(error))

    def _shrink(self, path: Path) -> Frame:
        assert self._reader is not None
        middle = max(0, self._reader.probe(path).num_frames // 2)
        for _, frame in self._reader.read(path, [middle]):
            picture = Image.fromarray(frame)
            picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            held = io.BytesIO()
            picture.save(held, "JPEG", quality=_QUALITY, optimize=True)
            self._left -= held.tell()
            text = base64.b64encode(held.getvalue()).decode("ascii")
            return Frame(f"data:image/jpeg;base64,{text}", picture.size)
        return Frame(reason="it has no frame in its middle")


def embedded(path: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
