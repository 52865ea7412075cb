"""One way to score videos, whatever the model is: a bundle or an export, on torch or onnxruntime.

Without torch where onnxruntime runs an export.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

from distill.checks import one_of
from distill.data.manifest import absence
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.data.rows import Row
from distill.data.timeline import timeline
from distill.data.views import View
from distill.deploy.exports import INT8, ONNX, read_export
from distill.errors import ConfigError, VideoError
from distill.logistic import Logistic4
from distill.scored import Scored, VideoScore
from distill.specification import (
    calibration_of,
    demo_only,
    is_export,
    of_demo,
    of_vmaf,
    read_spec,
    score_range_of,
    uncalibrated,
    vmaf_only,
)

RUNTIMES = ("auto", "torch", ONNX, INT8)
Video = str | os.PathLike[str]
ScoreRows = Callable[..., Iterator[Scored]]


class Scorer:
    """A model that scores videos; see :func:`load`.

    Attributes:
        spec: what the model's ``spec.json`` says.
        fingerprint: what decides a score.
        runtime: ``torch``, ``onnx`` or ``int8``.
        calibration: raw score -> MOS scale; None: raw scores are all there is.
        score_range: lowest and highest MOS that the model learned from; None: nobody told.
        demo: whether it learned from the embedded data only.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        fingerprint: str,
        runtime: str,
        calibration: Logistic4 | None,
        score_rows: ScoreRows,
        reader: VideoReader,
        views: Mapping[str, View],
    ) -> None:
        self.spec, self.fingerprint, self.runtime = spec, fingerprint, runtime
        self.calibration, self._score_rows, self._reader = calibration, score_rows, reader
        self.score_range, self.demo, self._views = score_range_of(spec), of_demo(spec), views

    @property
    def warning(self) -> str:
        """Why its scores are no MOS, in one line; empty where they are."""
        reasons = []
        if self.calibration is None:
            reasons.append("UNCALIBRATED: the network's own scale, no MOS")
        if self.demo:
            reasons.append("DEMO: learned from the demo data only, no MOS")
        if of_vmaf(self.spec):
            reasons.append("VMAF: learned VMAF of processed copies, not people's opinions")
        return "; ".join(reasons)

    @property
    def banner(self) -> str:
        """The same, so that nobody can miss it, and what to do; empty where they are."""
        told = [uncalibrated(self.fingerprint)] if self.calibration is None else []
        told += [demo_only(self.fingerprint)] if self.demo else []
        told += [vmaf_only(self.fingerprint)] if of_vmaf(self.spec) else []
        return "\n".join(told)

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
            if reason := absence(Path(videos).expanduser(), remote=False):
                raise VideoError(os.fspath(videos), "", reason.partition(": ")[0])
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
        absent = [absence(row.path, remote=False) for row in rows]  # in the words of score.py
        there = [row for row, reason in zip(rows, absent, strict=True) if not reason]
        found = self.score_rows(there, batch_size=batch_size, num_workers=workers)
        return [
            VideoScore(name, None, reason) if reason else self.judge(next(found), frames)
            for name, reason in zip(names, absent, strict=True)
        ]

    def judge(self, scored: Scored, frames: bool) -> VideoScore:
        """A raw result as a user sees it.

        Args:
            scored: of ``score_rows``.
            frames: whether the scores of frames are wanted.
        """
        name, info = scored.row.video, scored.info
        if scored.error:
            return VideoScore(name, None, scored.error)
        score = self.calibrated(scored.raw)
        line = [self.calibrated(raw) for raw in scored.frame_scores] if frames else []
        where = timeline(self._views, info, scored.content, len(line)) if info else None
        notes = []
        if self.calibration and self.score_range:
            low, high = self.score_range
            if not low <= score <= high:
                notes.append(f"outside the labels that it learned from, {low:g} to {high:g}")
        if info and info.truncated:
            notes.append(info.truncated)
        if info and info.hdr:
            notes.append(f"HDR ({info.transfer}), frames are not tone-mapped")
        if where and where.few:
            notes.append(f"short: {where.distinct} different frames for {where.wanted} looks")
        times: list[float | None] = where.seconds if where else [None] * len(line)
        return VideoScore(name, score, "", line, times, scored.raw, info, "; ".join(notes))


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
    return Scorer(
        spec, export.fingerprint(runtime), runtime, export.calibration, rows, decoder, export.views
    )


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
    return Scorer(spec, str(spec["fingerprint"]), "torch", calibration, rows, reader, network.views)
