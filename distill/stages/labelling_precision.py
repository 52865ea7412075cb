"""How far bfloat16's labels are from float32's, on the first videos of a pool."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distill.bundle import Bundle
from distill.data.pool import Pool
from distill.engines.job import Job, Labeller
from distill.labels import LabelStore

log = logging.getLogger(__name__)


def tell_precision(store: LabelStore, job: Job, pool: Pool, bundle: Bundle) -> dict[str, Any]:
    """Score the first videos in float32 and compare them with their labels; in float32, nothing.

    Args:
        store: of the labels.
        job: what was done; ``sample`` of its options says how many videos.
        pool: the videos.
        bundle: of the teacher.

    Returns:
        How many were compared, and the largest and mean absolute difference, on the MOS scale.
    """
    config = job.config
    if config.precision == "float32":
        return {}
    rows = [pool[at] for at in range(min(len(pool), config.sample))]
    paths = [str(row.path) for row in rows]
    labels: dict[str, float] = {}
    for table in store.tables(["path", "status", "score"]):
        ok = pc.and_(pc.is_in(table["path"], pa.array(paths)), pc.equal(table["status"], "ok"))
        found = table.filter(ok)
        labels |= zip(found["path"].to_pylist(), found["score"].to_pylist(), strict=True)
    full = replace(job, config=replace(config, precision="float32", compile=False))
    compared = [row for row in rows if str(row.path) in labels]
    away = [
        abs(bundle.calibrated(scored.raw) - labels[str(scored.row.path)])
        for scored in Labeller(full, bundle).score(compared)
        if not scored.error
    ]
    if not away:
        return {}
    found = {"compared": len(away), "largest": max(away), "mean": float(np.mean(away))}
    log.info(
        "%s against float32 on %d videos: scores differ by %.4f MOS on average, %.4f at the most",
        config.precision, found["compared"], found["mean"], found["largest"],
    )  # fmt: skip
    return {f"{config.precision}_{name}": value for name, value in found.items()}
