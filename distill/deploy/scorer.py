"""One way to score videos, whatever the model is: a bundle or an export, on torch or onnxruntime.

Without torch where onnxruntime runs an export.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

from distill.checks import one_of
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.data.rows import Row
from distill.deploy.exports import INT8, ONNX, read_export
from distill.errors import ConfigError, VideoError
from distill.logistic import Logistic4
from distill.scored import Scored
from distill.specification import calibration_of, is_export, read_spec

RUNTIMES = ("auto", "torch", ONNX, INT8)
Video = str | os.PathLike[str]
ScoreRows = Callable[..., Iterator[Scored]]


@dataclass(frozen=True)
class VideoScore:
    """What a model says of one video.

    Attributes:
        video: as it was named.
        score: on the MOS scale, or the raw score where the model has no calibration; None where
            the video could not be scored.
        error: why; empty where it could.
        frame_scores: in the order of time, on the same scale, where they were asked for and the
            model has them. Their mean need not be ``score``.
    """

    video: str
    score: float | None
    error: str = ""
    frame_scores: list[float] = field(default_factory=list)


class Scorer:
    """A model that scores videos; see :func:`load`.

    Attributes:
        spec: what the model's ``spec.json`` says.
        fingerprint: what decides a score.
        runtime: ``torch``, ``onnx`` or ``int8``.
        calibration: raw score -> MOS scale; None: raw scores are all there is.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        fingerprint: str,
        runtime: str,
        calibration: Logistic4 | None,
        score_rows: ScoreRows,
        reader: VideoReader,
    ) -> None:
        self.spec, self.fingerprint, self.runtime = spec, fingerprint, runtime
        self.calibration, self._score_rows, self._reader = calibration, score_rows, reader

    def calibrated(self, raw: float) -> float:
        """A raw score on the MOS scale."""
        if self.calibration is None or not math.isfinite(raw):
            return raw
        return float(self.calibration(raw))

    def score_rows(
        self, rows: Iterable[Row], *, batch_size: int, num_workers: int
    ) -> Iterator[Scored]:
        """Raw scores in the order of ``rows``; see :func:`distill.inference.score_rows`."""
        return self._score_rows(rows, self._reader, batch_size=batch_size, num_workers=num_workers)

    @overload
    def score(
        self,
        videos: Video,
        *,
        frames: Literal[False] = False,
        batch_size: int = 4,
        workers: int = 0,
    ) -> float: ...

    @overload
    def score(
        self, videos: Video, *, frames: Literal[True], batch_size: int = 4, workers: int = 0
    ) -> VideoScore: ...

    @overload
    def score(
        self, videos: list[Video], *, frames: bool = False, batch_size: int = 4, workers: int = 0
    ) -> list[VideoScore]: ...

    def score(
        self,
        videos: Video | list[Video],
        *,
        frames: bool = False,
        batch_size: int = 4,
        workers: int = 0,
    ) -> float | VideoScore | list[VideoScore]:
        """Score one video or several.

        Args:
            videos: a path, or a list of paths.
            frames: give the scores of frames too.
            batch_size: videos per forward pass.
            workers: processes (torch) or threads (onnx) that decode ahead; 0 for none.

        Returns:
            Of one path its score, with ``frames`` a :class:`VideoScore`; of a list one
            :class:`VideoScore` for each, in its order, those that failed with the reason.

        Raises:
            VideoError: the one video cannot be scored. Of a list, none is raised.
            ConfigError: an option is out of range.
        """
        if batch_size < 1 or workers < 0:
            raise ConfigError(f"batch_size {batch_size} must be >= 1, workers {workers} >= 0")
        if isinstance(videos, str | os.PathLike):
            (one,) = self._scores([videos], frames, batch_size, workers)
            if one.score is None:
                who, told, reason = one.error.partition(": ")
                raise VideoError(one.video, *((who, reason) if told else ("score", one.error)))
            return one if frames else one.score
        return self._scores(videos, frames, batch_size, workers)

    def _scores(
        self, videos: list[Video], frames: bool, batch_size: int, workers: int
    ) -> list[VideoScore]:
        names = [os.fspath(video) for video in videos]
        rows = [Row(name, Path(name).expanduser()) for name in names]
        found = self.score_rows(rows, batch_size=batch_size, num_workers=workers)
        return [self._said(scored, frames) for scored in found]

    def _said(self, scored: Scored, frames: bool) -> VideoScore:
        if scored.error:
            return VideoScore(scored.row.video, None, scored.error)
        line = [self.calibrated(raw) for raw in scored.frame_scores] if frames else []
        return VideoScore(scored.row.video, self.calibrated(scored.raw), frame_scores=line)


def load(
    folder: Video,
    *,
    runtime: str = "auto",
    device: str = "auto",
    threads: int = 0,
    reader: str = "auto",
    time_limit: float | None = None,
) -> Scorer:
    """Load a model that scores videos.

    Args:
        folder: a bundle, or an export of one.
        runtime: ``torch``; ``onnx`` runs an export's graph with onnxruntime and imports no torch,
            ``int8`` its quantised graph; ``auto`` is torch for a bundle, onnx for an export.
        device: auto, cpu, cuda ...
        threads: of the network on the CPU, for the onnx runtimes; 0 is one for each core.
        reader, time_limit: see :func:`distill.data.readers.make_reader`.

    Raises:
        BundleError: the folder is neither, or is damaged; or a bundle shall run on onnx.
        ConfigError: no such runtime, device or reader, or it is not installed.
    """
    one_of("runtime", runtime, RUNTIMES)
    path = Path(folder).expanduser()
    spec = read_spec(path)
    if runtime == "auto":
        runtime = ONNX if is_export(spec) else "torch"
    if runtime == "torch":
        return _on_torch(path, spec, device, make_reader(reader, time_limit=time_limit))
    from distill.deploy.onnx_model import OnnxModel

    export = read_export(path)
    rows = OnnxModel(export, runtime, device, threads).score_rows
    decoder = make_reader(reader, time_limit=time_limit)
    return Scorer(spec, export.fingerprint(runtime), runtime, export.calibration, rows, decoder)


def _on_torch(path: Path, spec: dict[str, Any], device: str, reader: VideoReader) -> Scorer:
    from distill.inference import pick_device, score_rows

    pick_device(device)  # a wrong one is told now, not at the first video
    network: Any
    if is_export(spec):
        from distill.deploy.torch_program import TorchProgram

        network = TorchProgram(read_export(path))
    else:
        from distill.bundle import load_bundle

        bundle = load_bundle(path)
        network, spec = bundle.model, bundle.spec
    looks = int(spec.get("test_views", 1))
    rows = partial(score_rows, network, device=device, test_views=looks)
    calibration = calibration_of(spec, path)
    return Scorer(spec, str(spec["fingerprint"]), "torch", calibration, rows, reader)
