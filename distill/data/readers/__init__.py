"""Readers by name: the one place that knows which exist and what each needs."""

import importlib
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np

from distill.checks import one_of
from distill.data.reader import VideoReader
from distill.errors import ConfigError

NAMES = ("auto", "pyav", "decord", "torchcodec")
_ISOLATED: "WeakValueDictionary[Any, VideoReader]" = WeakValueDictionary()
_INSTALL = {
    "decord": "pip install decord2 (it is imported as decord)",
    "pyav": "pip install av",
}


def make_reader(
    name: str = "auto",
    *,
    threads: int = 1,
    hdr: Literal["keep", "refuse"] = "keep",
    time_limit: float | None = None,
) -> VideoReader:
    """The video reader of a name.

    Args:
        name: ``pyav``, ``decord`` (guarded, see DecordReader), ``torchcodec`` (likewise), or
            ``auto``: what measured best, pyav (docs/video.md).
        threads: decoder threads of one read, >= 1.
        hdr: what to do with HDR video: ``keep`` or ``refuse``.
        time_limit: seconds that a video may take; it is decoded in a process that can be stopped
            (see IsolatedReader; equal ones are one). None decodes in this process, without a limit.

    Raises:
        ConfigError: the name is unknown, or what it needs is not installed or does not work.
    """
    one_of("reader", name, NAMES)
    if time_limit is not None:
        from distill.data.readers.isolated import IsolatedReader

        # One for all: the runs of a sweep leave theirs in cycles that nobody collects for long.
        key = (name, time_limit, threads, hdr)
        reader = _ISOLATED.get(key)
        if reader is None:
            reader = IsolatedReader(name, time_limit, threads=threads, hdr=hdr)
            _ISOLATED[key] = reader
        return reader
    if name == "decord":
        return _decord(threads, hdr)
    if name == "torchcodec":
        return _torchcodec(threads, hdr)
    return _pyav(threads, hdr)


def _pyav(threads: int, hdr: Literal["keep", "refuse"]) -> VideoReader:
    try:
        from distill.data.readers.pyav import PyAVReader
    except (ImportError, OSError) as error:
        raise ConfigError(f"reader 'pyav' needs PyAV: {_INSTALL['pyav']} ({error})") from error
    return PyAVReader(threads=threads, hdr=hdr)


def _decord(threads: int, hdr: Literal["keep", "refuse"]) -> VideoReader:
    problem = _decord_problem()
    if problem:
        raise ConfigError(f"reader 'decord' does not work here: {problem}; or choose reader 'pyav'")
    from distill.data.readers.decord_reader import DecordReader

    return DecordReader(threads=threads, hdr=hdr)


def _torchcodec(threads: int, hdr: Literal["keep", "refuse"]) -> VideoReader:
    _pyav(threads, hdr)  # the guard needs it
    from distill.data.readers.torchcodec_reader import TorchcodecReader, why_unavailable

    with tempfile.TemporaryDirectory(prefix="distill-reader-") as folder:
        video = Path(folder) / "probe.mp4"
        _write_probe(video)
        problem = why_unavailable(video)
    if problem:
        raise ConfigError(
            f"reader 'torchcodec' does not work here: {problem}; or choose reader 'pyav'"
        )
    return TorchcodecReader(threads=threads, hdr=hdr)


@lru_cache(maxsize=1)
def _decord_problem() -> str:
    """Why decord cannot be used, or an empty text; found out once per process."""
    _pyav(1, "keep")  # the guard needs it
    try:
        decord = _import_decord()
    except (ImportError, OSError) as error:  # OSError: its native library does not load
        return f"{_INSTALL['decord']} ({error})"
    try:
        with tempfile.TemporaryDirectory(prefix="distill-reader-") as folder:
            video = Path(folder) / "probe.mp4"
            _write_probe(video)
            frames = decord.VideoReader(str(video), num_threads=1).get_batch([0, 2]).asnumpy()
    except Exception as error:  # what a native library throws has no one base
        return f"it fails on a small MPEG-4 video ({' '.join(str(error).split())[:120]})"
    if frames.shape != (2, 64, 64, 3) or frames[1].mean() - frames[0].mean() < 50:
        return "it decodes a small MPEG-4 video wrongly"
    return ""


def _import_decord() -> Any:
    """decord, without the CUDA libraries of torch's wheels.

    decord2 3.4.0 loads all that it finds at its import: 390 MB and 0.2 s in each process, for
    decoding on the CPU. A build of it for CUDA needs them.
    """
    if "decord" in sys.modules or "nvidia" in sys.modules:
        return importlib.import_module("decord")
    sys.modules["nvidia"] = None  # type: ignore[assignment]  # "there is no such package"
    try:
        return importlib.import_module("decord")
    except OSError:
        pass
    finally:
        del sys.modules["nvidia"]
    return importlib.import_module("decord")


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
