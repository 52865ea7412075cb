"""Whether exported graphs say what the network says, on real videos, and how long they take."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from distill.bundle import Bundle
from distill.data.reader import VideoReader
from distill.data.rows import Row
from distill.deploy.exports import Export
from distill.deploy.onnx_model import OnnxModel, Seen
from distill.errors import ExportError
from distill.logistic import Logistic4
from distill.model import QualityModel

TOLERANCE = 1e-4  # MOS; of bundles without a calibration, of the raw score
Says = Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray | None]]
_TOGETHER = 3  # videos of the batch that is compared, beside each by itself


def see_clips(model: OnnxModel, rows: Sequence[Row], reader: VideoReader) -> list[Seen]:
    """Decode the clips to check with; those that cannot be decoded are left out.

    Raises:
        ExportError: none can be decoded.
    """
    seen = [model.see(reader, row) for row in rows]
    sound = [video for video in seen if not video.error]
    if not sound:
        told = "; ".join(f"{video.row.video}: {video.error}" for video in seen[:3])
        raise ExportError(f"none of the clips can be decoded ({told}); name others: --clips")
    return sound


def on_torch(model: QualityModel) -> Says:
    """A network as :class:`~distill.deploy.onnx_model.OnnxModel` is called: arrays in and out."""

    def says(views: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        with torch.inference_mode():
            found = model({name: torch.from_numpy(view) for name, view in views.items()})
        frames = found.frame_scores
        return found.score.numpy(), None if frames is None else frames.numpy()

    return says


def largest_difference(bundle: Bundle, graph: Says, seen: Sequence[Seen]) -> float:
    """Largest difference of a score, of a video or a frame, between a graph and the network.

    Each look at each video by itself, and several videos in a batch; of one video, its copies.

    Args:
        bundle: the network, and the calibration that both are compared after.
        graph: what was exported.
        seen: the videos.

    Returns:
        In MOS; nan where a graph says nan, or does not score what the network scores.
    """
    network, most = on_torch(bundle.model), 0.0
    some = [seen[k % len(seen)] for k in range(_TOGETHER)]
    for batch in [*([video] for video in seen), some]:
        for look, names in enumerate(batch[0].looks):
            views = {name: np.stack([video.looks[look][name] for video in batch]) for name in names}
            for ours, theirs in zip(network(views), graph(views), strict=True):
                if ours is None and theirs is None:
                    continue
                if ours is None or theirs is None or ours.shape != theirs.shape:
                    return float("nan")
                apart = _calibrated(bundle.calibration, ours)
                apart = np.abs(apart - _calibrated(bundle.calibration, theirs))
                most = float(np.maximum(most, apart.max()))  # nan stays nan
    return most


def check(name: str, difference: float) -> None:
    """Refuse a graph that is too far from the network.

    Raises:
        ExportError: it is.
    """
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{name} differs from the network by up to {difference:.2g} MOS, more than"
            f" {TOLERANCE:g}: nothing is exported"
        )


def seconds_each(graphs: Sequence[OnnxModel], seen: Sequence[Seen], rounds: int = 9) -> list[float]:
    """Least seconds of a video's forward pass in each graph, decoding apart.

    The graphs take turns. The least, because a busy machine can only make a pass slower: medians
    of nine have taken the faster graph for the slower one.
    """
    times: list[list[float]] = [[] for _ in graphs]
    for number in range(rounds + 1):
        video = seen[number % len(seen)]
        views = {name: view[None] for name, view in video.looks[0].items()}
        for graph, spent in zip(graphs, times, strict=True):
            start = time.perf_counter()
            graph(views)
            spent.append(time.perf_counter() - start)
    return [min(spent[1:]) for spent in times]  # the first pass plans


def mos(export: Export, graph: OnnxModel, seen: Sequence[Seen]) -> np.ndarray:
    """Scores of videos (N,), calibrated; the mean of all looks."""
    scores = []
    for video in seen:
        looks = [graph({n: v[None] for n, v in look.items()})[0][0] for look in video.looks]
        scores.append(np.mean(looks, dtype=np.float64))
    return _calibrated(export.calibration, np.array(scores))


def _calibrated(calibration: Logistic4 | None, raw: np.ndarray) -> np.ndarray:
    return raw.astype(np.float64) if calibration is None else calibration(raw)
