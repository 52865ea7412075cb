"""From decoded pictures to what is seen: upright, and RGB by the filters of the ffmpeg tool."""

from typing import Any, cast

import av
import numpy as np
from av.sidedata.sidedata import Type


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The 3x3 display matrix of a decoded frame in 16.16 fixed point, row by row.

    PyAV's side data and their frame refer to each other, so after this the frame's memory is freed
    by the garbage collector only: asked of each frame, 60 frames of 4K held 0.6 GB.
    """
    items = cast(Any, frame.side_data)  # its stub is that of a dict
    for position in range(len(items)):  # iteration yields other things from PyAV 19 on
        if items[position].type == Type.DISPLAYMATRIX:
            return tuple(np.frombuffer(bytes(items[position])[:36], dtype=np.int32).tolist())
    return None


def clockwise(matrix: tuple[int, ...] | None) -> float:
    """Degrees clockwise, in [0, 360), that turn a stored frame upright."""
    if matrix is None:
        return 0.0
    scale = np.hypot(matrix[0], matrix[3]), np.hypot(matrix[1], matrix[4])
    if not all(scale):
        return 0.0
    degrees = np.degrees(np.arctan2(matrix[1] / scale[1], matrix[0] / scale[0]))
    return float(np.round(degrees)) % 360


def is_turn(matrix: tuple[int, ...] | None, rotation: int) -> bool:
    """Whether the matrix is exactly a rotation by ``rotation`` degrees clockwise."""
    if matrix is None:
        return rotation == 0
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[rotation]
    return matrix[:2] == (cos << 16, sin << 16) and matrix[3:5] == (-sin << 16, cos << 16)


class ToRGB:
    """Turns decoded frames upright and into RGB by the filters that the ffmpeg tool inserts.

    A filter graph, because it is what makes 10-bit exact: PyAV's own ``reformat`` differs from
    ffmpeg by 17 levels or more there, whatever its flags.

    Args:
        matrix: display matrix of the video's first picture.
        rotation: that picture's own ``rotation``.
    """

    def __init__(self, matrix: tuple[int, ...] | None, rotation: int) -> None:
        self._matrix, self._rotation = matrix, rotation
        self._built_for: tuple[Any, ...] = ()
        self._graph: av.filter.Graph

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        # The matrix of each frame is not asked for: that would leave the frame to the collector.
        same = frame.rotation == self._rotation
        matrix = self._matrix if same else display_matrix(frame)
        size, colour = (frame.width, frame.height), (frame.colorspace, frame.color_range)
        looks = (size, frame.format.name, colour, matrix)
        if looks != self._built_for:  # some files change size in mid-stream
            self._build(frame, matrix)
            self._built_for = looks
        self._graph.vpush(frame)
        return np.ascontiguousarray(self._graph.vpull().to_ndarray())

    def _build(self, frame: av.VideoFrame, matrix: tuple[int, ...] | None) -> None:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base="1/1000",
            pixel_aspect="1/1",
            colorspace=str(int(frame.colorspace)),
            range=str(int(frame.color_range)),
        )
        upright = [graph.add(name, argument) for name, argument in _upright(matrix)]
        graph.link_nodes(source, *upright, graph.add("format", "rgb24"), graph.add("buffersink"))
        graph.configure(auto_buffer=False)
        self._graph = graph


def _upright(matrix: tuple[int, ...] | None) -> list[tuple[str, str | None]]:
    """The filters for a display matrix, mirrored ones included.

    Source: the choice of filters is that of the ffmpeg tool's ``-autorotate``.
    """
    if matrix is None:
        return []
    turn = clockwise(matrix)
    if turn == 90:
        return [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
    if turn == 270:
        return [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
    if turn == 180:
        flips = (("hflip", matrix[0] < 0), ("vflip", matrix[4] < 0))
        return [(name, None) for name, needed in flips if needed]
    if turn:
        return [("rotate", f"{turn}*PI/180")]
    return [("vflip", None)] if matrix[4] < 0 else []
