"""Runs an exported graph with onnxruntime; imports no torch, and neither does what it calls."""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.identity import content_hash, seed_of
from distill.data.looks import Look, further_looks, read_looks
from distill.data.places import RemotePath
from distill.data.reader import VideoInfo, VideoReader
from distill.data.rows import Row
from distill.data.views import at_full_count
from distill.deploy.exports import FRAME_SCORES, INT8, ONNX, SCORE, Export
from distill.errors import ConfigError, VideoError, why
from distill.scored import Doubtful, Scored, no_number

INSTALL = "pip install onnxruntime (onnxruntime-gpu for CUDA)"


@dataclass(frozen=True)
class Seen:
    """A video as the network sees it, or the reason why it cannot be seen.

    Attributes:
        row: the video.
        looks: the evaluation views, name -> uint8 (*view.shape), and further draws of them.
        info, content, error: as in :class:`~distill.scored.Scored`.
    """

    row: Row
    looks: list[dict[str, np.ndarray]] = field(default_factory=list)
    info: VideoInfo | None = None
    content: str = ""
    error: str = ""


class OnnxModel:
    """A student's ONNX graph.

    Args:
        export: where it is.
        kind: ``onnx``, or ``int8`` for the quantised graph.
        device: ``auto`` is CUDA where onnxruntime has it, else the CPU; ``cpu``, ``cuda``,
            ``cuda:1``.
        threads: of the network; 0 is one for each core.
        graph: a file that is not yet part of the export; None is the export's.

    Raises:
        ConfigError: onnxruntime is not installed, or has no such device.
        BundleError: there is no such graph, or it is damaged.
    """

    def __init__(
        self,
        export: Export,
        kind: str = ONNX,
        device: str = "auto",
        threads: int = 0,
        graph: Path | None = None,
    ) -> None:
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; its warnings are of its own insides
        providers = _providers(device, runtime.get_available_providers())
        self._session = runtime.InferenceSession(
            str(graph or export.graph(kind)), options, providers=providers
        )
        self.views, self.test_views = export.views, int(export.spec.get("test_views", 1))
        self._full = {name: at_full_count(view) for name, view in export.views.items()}
        # One video at a time on a CPU, where more took longer for each (docs/deploy.md); and in
        # int8, where the scale of a layer's input is taken over all that it is given.
        self._batches = providers[0] != "CPUExecutionProvider" and kind != INT8

    def __call__(self, views: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Raw scores of a batch.

        Args:
            views: name -> uint8 (B, *view.shape).

        Returns:
            (B,) and (B, T) float32; None where the network has no scores of frames.
        """
        names = [output.name for output in self._session.get_outputs()]
        found = dict(zip(names, self._session.run(None, dict(views)), strict=True))
        return found[SCORE], found.get(FRAME_SCORES)

    def see(self, reader: VideoReader, row: Row) -> Seen:
        """Decode a video once and make its views: those of ``VideoDataset``, bit for bit."""
        try:
            with _local(row.path) as path:
                content = content_hash(path)
                looks = [Look(self.views, seed_of(content), False)]
                looks += further_looks(self._full, content, self.test_views)
                found, info = read_looks(path, reader, looks, row.path)
        except (VideoError, OSError) as error:
            return Seen(row, error=why(error))
        return Seen(row, found, info, content)

    def score_rows(
        self,
        rows: Iterable[Row],
        reader: VideoReader,
        *,
        batch_size: int = 4,
        num_workers: int = 0,
    ) -> Iterator[Scored]:
        """Score videos in order; a broken one is a result with a reason.

        Args:
            rows: the videos, taken as they are decoded.
            reader: of the videos.
            batch_size: videos at a time on a GPU.
            num_workers: threads that decode ahead; 0 decodes as it goes.
        """
        size, start = batch_size if self._batches else 1, time.perf_counter()
        waiting: list[Seen] = []
        doubtful = Doubtful()
        seen = _ahead(partial(self.see, reader), rows, num_workers)
        for video in seen:
            waiting.append(video)
            if len(waiting) < size:
                continue
            yield from self._scored(waiting, start)
            doubtful.see(video.info for video in waiting if video.info)
            waiting, start = [], time.perf_counter()
        yield from self._scored(waiting, start)
        doubtful.see(video.info for video in waiting if video.info)
        doubtful.tell()

    def _scored(self, videos: list[Seen], start: float) -> list[Scored]:
        sound = [video for video in videos if not video.error]
        scores, frames = self._passes(sound) if sound else (np.empty(0), None)
        seconds = (time.perf_counter() - start) / max(1, len(videos))
        results, at = [], 0
        for video in videos:
            if video.error:
                results.append(Scored(video.row, error=video.error, seconds=seconds))
                continue
            score, line = float(scores[at]), [] if frames is None else frames[at].tolist()
            at += 1
            if math.isfinite(score):
                results.append(
                    Scored(
                        video.row, score, frame_scores=line, info=video.info,
                        content=video.content, seconds=seconds,
                    )
                )  # fmt: skip
            else:
                results.append(Scored(video.row, error=no_number(score), seconds=seconds))
        return results

    def _passes(self, videos: list[Seen]) -> tuple[np.ndarray, np.ndarray | None]:
        """The mean score of all looks (B,); the scores of the first look's frames (B, T)."""
        says = [
            self({name: np.stack([video.looks[look][name] for video in videos]) for name in views})
            for look, views in enumerate(videos[0].looks)
        ]
        return np.mean([score.astype(np.float64) for score, _ in says], axis=0), says[0][1]


def _local(path: Path) -> AbstractContextManager[Path]:
    """The file itself, or a remote one's copy; only that needs more than this module does."""
    if not isinstance(path, RemotePath):
        return nullcontext(path)
    from distill.data.spool import local

    return local(path)


def onnxruntime() -> Any:
    """The module.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"runtime onnx needs onnxruntime: {INSTALL} ({error})") from error
    return onnxruntime


def _providers(device: str, available: list[str]) -> list[Any]:
    """What onnxruntime calls a device; the CPU stands behind a GPU for what that cannot run."""
    cuda = "CUDAExecutionProvider" in available
    cpu = "CPUExecutionProvider"
    if device == "cpu" or (device == "auto" and not cuda):
        return [cpu]
    name, _, number = device.partition(":")
    if name not in ("auto", "cuda") or (number and not number.isdigit()):
        raise ConfigError(f"device={device}: the onnx runtime knows auto, cpu, cuda and cuda:N")
    if not cuda:
        raise ConfigError(
            f"device={device}: this onnxruntime has no CUDA; pip install onnxruntime-gpu, or use"
            " cpu"
        )
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), cpu]


def _ahead(see: Any, rows: Iterable[Row], threads: int) -> Iterator[Seen]:
    """What ``see`` says of each row, in order, with so many threads that are a few rows ahead."""
    if threads < 1:
        yield from map(see, rows)
        return
    pool, begun = ThreadPoolExecutor(threads), deque[Future[Seen]]()
    try:
        for row in rows:
            begun.append(pool.submit(see, row))
            if len(begun) > 2 * threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:  # a caller that stops early waits for no video but those begun
        pool.shutdown(wait=False, cancel_futures=True)
