"""Scores for videos: one loop for evaluation, labelling and the scoring command."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from distill.data.dataset import Batch, Example
from distill.data.features import FeatureStore
from distill.data.loading import Waiting, stream_loader
from distill.data.manifest import Row
from distill.data.reader import VideoReader
from distill.data.transfer import on_device
from distill.errors import ConfigError
from distill.model import Prediction, QualityModel
from distill.scored import Doubtful, Scored, no_number

Forward = Callable[[Mapping[str, Tensor]], Prediction]


def pick_device(name: str) -> torch.device:
    """The device of an option: ``auto`` is the first GPU, or else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"device={name}: {first}; use auto, cpu or cuda") from error
    return device


@torch.inference_mode()
def score_rows(
    model: QualityModel,
    rows: Iterable[Row],
    reader: VideoReader,
    *,
    batch_size: int = 4,
    num_workers: int = 0,
    prefetch: int = 2,
    device: str = "auto",
    features: FeatureStore | None = None,
    waiting: Waiting | None = None,
    test_views: int = 1,
    precision: str = "float32",
    forward: Forward | None = None,
) -> Iterator[Scored]:
    """Score videos in order, evaluation views; a broken one is a result with a reason.

    Args:
        model: the network; put into evaluation mode and moved to ``device``.
        rows: the videos, however many: taken as they are decoded, in this process.
        reader: of the videos.
        batch_size: videos per forward pass; scores do not depend on it (to 1e-5).
        num_workers: decoding processes.
        prefetch: batches that each of them decodes ahead.
        device: auto, cpu, cuda ...
        features: of the model's frozen members, for all of the rows; None decodes their views.
        waiting: measures the time spent waiting for videos.
        test_views: looks at each video, whose scores are averaged; see ``VideoDataset``.
        precision: of the networks; ``bfloat16`` is autocast's, with scores in float32.
        forward: called in place of ``model``, as its compiled form.

    Yields:
        One result per row, in the order of ``rows``.
    """
    target = pick_device(device)
    model = model.to(target).eval()
    ahead: dict[int, Row] = {}  # those that were taken and not yet scored

    def examples() -> Iterator[Example]:
        for index, row in enumerate(rows):
            ahead[index] = row
            yield Example(row)

    loader = stream_loader(
        examples(), model.views, reader, batch_size=batch_size, num_workers=num_workers,
        prefetch=prefetch, frozen_views=model.frozen_views(), features=features, waiting=waiting,
        test_views=test_views,
    )  # fmt: skip
    position, start = 0, time.perf_counter()
    doubtful = Doubtful()
    lowered = torch.autocast(target.type, torch.bfloat16, enabled=precision == "bfloat16")
    for batch in on_device(loader, target):
        size = len(batch) + len(batch.failed)
        with lowered:
            results = dict(_score_batch(forward or model, batch, ahead))
        seconds = (time.perf_counter() - start) / size
        doubtful.see(batch.infos)
        for index, reason in batch.failed:
            results[index] = Scored(ahead[index], error=reason)
        for index in range(position, position + size):
            found = results[index]
            del ahead[index]
            yield Scored(**{**found.__dict__, "seconds": seconds})
        position, start = position + size, time.perf_counter()
    doubtful.tell()


def _score_batch(
    forward: Forward, batch: Batch, rows: Mapping[int, Row]
) -> Iterator[tuple[int, Scored]]:
    if len(batch) == 0:
        return
    passes = [forward(views) for views in (batch.views, *batch.others)]
    scores = _mean([each.score for each in passes])
    members = {
        n: _mean([each.member_scores[n] for each in passes]) for n in passes[0].member_scores
    }
    # Other passes look at other frames, so that only the first one's have a place in time.
    timeline = passes[0].frame_scores
    frames = None if timeline is None else timeline.cpu().tolist()
    for at, index in enumerate(batch.index.tolist()):
        if not math.isfinite(scores[at]):
            yield index, Scored(rows[index], error=no_number(scores[at]))
            continue
        yield (
            index,
            Scored(
                rows[index],
                scores[at],
                {name: values[at] for name, values in members.items()},
                frames[at] if frames else [],
                batch.infos[at],
                batch.contents[at],
            ),
        )


def _mean(scores: Sequence[Tensor]) -> list[float]:
    """Of several passes, per video."""
    return torch.stack([each.double() for each in scores]).mean(0).cpu().tolist()


def score_all(
    model: QualityModel,
    rows: Sequence[Row],
    reader: VideoReader,
    *,
    what: str,
    **options: Any,
) -> list[Scored]:
    """``score_rows`` to a list, with a progress bar that says ``what`` and the rate."""
    results = score_rows(model, rows, reader, **options)
    return list(tqdm(results, what, len(rows), unit="video", dynamic_ncols=True))
