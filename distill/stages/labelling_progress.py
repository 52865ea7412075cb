"""What labelling tells while it runs, and what it would take, before it runs."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from distill.bundle import Bundle
from distill.config import PseudoLabelConfig
from distill.data.pool import Pool
from distill.engines.job import Told
from distill.labelling import Score, label_of
from distill.labels import Label, keys_of
from distill.labels.rows import to_parquet
from distill.tracking import Tracker

log = logging.getLogger(__name__)
_REPORT_EVERY = 10.0  # seconds between rows of the tracker


class Progress:
    """A bar, and the same numbers for the tracker; a context manager.

    Args:
        todo: videos to label.
        tracker: of the run.
    """

    def __init__(self, todo: int, tracker: Tracker) -> None:
        self._todo, self._tracker = todo, tracker
        self._done = self._failed = 0
        self._waited = self._worked = 0.0  # seconds of all processes
        self._before = 0.0, 0.0  # the same at the last report
        self._start = self._told = time.monotonic()

    def __enter__(self) -> "Progress":
        self._bar = tqdm(total=self._todo, desc="labelling", unit="video", dynamic_ncols=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        if self._done:
            self._report()

    def tell(self, told: Told) -> None:
        """Count what a process tells."""
        self._done += told.done
        self._failed += told.failed
        self._waited += told.waited
        self._worked += told.seconds
        self._todo -= told.elsewhere
        if told.failed:
            self._bar.set_postfix(failed=self._failed, refresh=False)
        self._bar.total = self._todo
        self._bar.update(told.done)
        if time.monotonic() - self._told >= _REPORT_EVERY:
            self._report()

    @property
    def data_wait(self) -> float:
        """Share of the processes' time that they waited for videos."""
        return self._waited / max(self._worked, 1e-9)

    def _report(self) -> None:
        self._told = time.monotonic()
        rate = self._done / max(self._told - self._start, 1e-9)
        (waited, worked), self._before = self._before, (self._waited, self._worked)
        values = {
            "labels/videos_per_second": rate,
            "labels/failed": float(self._failed),
            "labels/minutes_left": max(0, self._todo - self._done) / rate / 60,
            "labels/data_wait": (self._waited - waited) / max(self._worked - worked, 1e-9),
        }
        self._tracker.progress(values, self._done)


def tell_estimate(
    pool: Pool, left: Sequence[int], score: Score, bundle: Bundle, config: PseudoLabelConfig
) -> dict[str, Any]:
    """Label a sample, write nothing, and say what the whole will take.

    Args:
        pool: the videos.
        left: positions of those without a label.
        score, bundle: of the teacher.
        config: ``sample`` says how many are drawn, by a hash of their paths.

    Returns:
        Videos to do and tried, how many failed, videos a second, hours, bytes.
    """
    order = np.argsort(keys_of(str(pool[at].path) for at in left), kind="stable")
    drawn = [left[at] for at in sorted(order[: config.sample].tolist())]
    start = time.monotonic()
    labels = [
        label_of(scored, bundle)
        for scored in tqdm(
            score(pool[at] for at in drawn), "sample", len(drawn), unit="video", dynamic_ncols=True
        )
    ]
    spent = max(time.monotonic() - start, 1e-9)
    failed = sum(label.status != "ok" for label in labels)
    rate = len(labels) / spent
    found = {
        "videos": len(left),
        "sample": len(labels),
        "failed": failed,
        "videos_per_second": rate,
        "hours": len(left) / rate / 3600 if labels else 0.0,
        "bytes": store_bytes(labels, len(left), config.commit_every),
    }
    for label in labels:
        if label.status != "ok":
            log.warning("%s: %s", label.video, label.reason)
    log.info(
        "dry run: %d of %d videos in %.1f s, %d failed: %.2f videos a second, start included. All"
        " of them will take about %s and %s. Nothing was written",
        len(labels), len(left), spent, failed, rate, _told_hours(found["hours"]),
        _told_bytes(found["bytes"]),
    )  # fmt: skip
    return found


def _told_hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{60 * hours:.0f} minutes" if hours >= 1 / 60 else f"{3600 * hours:.0f} s"


def _told_bytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e3:.0f} kB"


def store_bytes(labels: Sequence[Label], videos: int, commit_every: int) -> int:
    """Bytes of the parts of so many videos, from a sample of their labels."""
    if not labels:
        return 0
    sizes = [len(to_parquet([label])) for label in labels]
    one, all_ = sum(sizes) / len(sizes), len(to_parquet(labels))
    row = (all_ - one) / (len(labels) - 1) if len(labels) > 1 else 0.0
    return round(math.ceil(videos / commit_every) * (one - row) + videos * row)
