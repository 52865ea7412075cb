"""Readers by name: the one place that knows which exist and what each needs."""

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np

from distill.data.reader import VideoReader
from distill.errors import ConfigError

_INSTALL = {
    "decord": "pip install decord2 (it is imported as decord)",
    "pyav": "pip install av",
}


def make_reader(name: str = "auto") -> VideoReader:
    """The video reader of a name.

    Args:
        name: ``decord`` (guarded, see DecordReader), ``pyav``, or ``auto``: decord where it
            imports and decodes a small video that is written for the purpose, else pyav.

    Raises:
        ConfigError: the name is unknown, or what it needs is not installed or does not work.
    """
    if name not in ("auto", "decord", "pyav"):
        raise ConfigError(f"reader {name!r} is unknown; choose one of: auto, decord, pyav")
    if name == "pyav":
        return _pyav()
    problem = _decord_problem()
    if not problem:
        from distill.data.readers.decord_reader import DecordReader

        return DecordReader()
    if name == "auto":
        return _pyav()
    raise ConfigError(f"reader 'decord' does not work here: {problem}; or choose reader 'pyav'")


def _pyav() -> VideoReader:
    try:
        from distill.data.readers.pyav import PyAVReader
    except (ImportError, OSError) as error:
        raise ConfigError(f"reader 'pyav' needs PyAV: {_INSTALL['pyav']} ({error})") from error
    return PyAVReader()


@lru_cache(maxsize=1)
def _decord_problem() -> str:
    """Why decord cannot be used, or an empty text; found out once per process."""
    _pyav()  # the guard needs it
    try:
        import decord
    except (ImportError, OSError) as error:  # OSError: its native library does not load
        return f"{_INSTALL['decord']} ({error})"
    try:
        with tempfile.TemporaryDirectory(prefix="distill-reader-") as folder:
            video = Path(folder) / "probe.mp4"
            _write_probe(video)
            frames = decord.VideoReader(str(video), num_threads=1).get_batch([0, 2]).asnumpy()
    except Exception as error:  # whatever a native library throws, auto must go on without it
        return f"it fails on a small MPEG-4 video ({' '.join(str(error).split())[:120]})"
    if frames.shape != (2, 64, 64, 3) or frames[1].mean() - frames[0].mean() < 50:
        return "it decodes a small MPEG-4 video wrongly"
    return ""


def _write_probe(path: Path) -> None:
    """Three grey frames, each brighter, by FFmpeg's own MPEG-4 encoder.

    64x64, because decord 3.4.0 cannot read frames of 32x32.
    """
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for level in (40, 120, 200):
            picture = np.full((64, 64, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
