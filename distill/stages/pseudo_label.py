"""Let the teacher score videos without labels and write a label store (Parquet and meta.json).

    python pseudo_label.py                                  newest teacher, the demo's pool
    python pseudo_label.py pool=FOLDER                      your videos, with sub-folders
    python pseudo_label.py pool=videos.txt                  a list of paths, or a CSV table
    python pseudo_label.py pool=FOLDER dry_run=true         what it will take, from a sample
    python pseudo_label.py teacher_bundle=DIR store=DIR
    python pseudo_label.py store=DIR                        go on with a store after a kill
    python pseudo_label.py store=DIR retry_failed=true      try broken videos again

Killed at any moment, the next start on the same store continues; broken videos are rows with a
reason. Several processes, on several machines too, may work on one store at a time. What a store
holds: python -m distill.labels DIR. Next: python train_student.py +budget=120
"""

import logging
import math
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distill import plots
from distill.bundle import Bundle
from distill.config import PseudoLabelConfig, folder, to_config
from distill.data.loading import Waiting, decoding_workers
from distill.data.manifest import Manifest, read_pool
from distill.data.pool import Pool
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.errors import Interrupted, ManifestError
from distill.inference import score_rows
from distill.labelling import Score, label_chunks, label_of
from distill.labels import META, Claims, LabelStore, find_store, keys_of, plan
from distill.labels.files import full_disk
from distill.labels.summary import summarise
from distill.runs import Run, packages
from distill.stages.inputs import load_manifest, take_bundle, tell_problems
from distill.stages.label_report import report_labels
from distill.stages.labelling_progress import Progress, tell_estimate
from distill.tracking import Tracker

log = logging.getLogger(__name__)
_TABLE_ROWS = 10_000  # of the labels that W&B gets as a table
_REPORTED = 100_000  # labels whose kinds and disputes are told, in memory
_POLL = 5.0  # seconds between looks at what other processes hold


def run(cfg: DictConfig, out: Path, resumed: bool = False) -> dict[str, Any]:
    """Label a pool.

    Args:
        cfg: what Hydra composed; see ``PseudoLabelConfig``.
        out: run directory.
        resumed: not used; a store is always continued.

    Returns:
        What ``result.json`` holds, or for a dry run, what it found.

    Raises:
        DistillError: no teacher, no pool, a store of another teacher, or no space.
    """
    config: PseudoLabelConfig = to_config(cfg, PseudoLabelConfig)
    bundle = take_bundle(config.teacher_bundle, Path(config.outputs), "teacher", "teacher_bundle")
    manifest = _pool(config)
    pool, source, problems = Pool(manifest.rows), manifest.path, manifest.problems
    del manifest
    reader = make_reader(**vars(config.reader))
    where = folder(config.store) if config.store else out / "store"
    log.info("plan: %d videos -> %s", len(pool), where)
    waiting = Waiting()
    score = _scoring(bundle, reader, config, waiting)
    meta = _meta(bundle, source, len(pool))
    if config.dry_run:
        return tell_estimate(pool, _left(pool, where, meta, config), score, bundle, config)
    with full_disk(where):
        this = Run(out, config)
        this.problems(problems)
        tracker = Tracker(config.tracking, out, "pseudo_label", config)
        store = LabelStore.open(where, meta)
        try:
            _label(store, pool, bundle, score, waiting, tracker, config)
        except KeyboardInterrupt as stop:
            raise Interrupted.by(
                stop,
                f"stopped; {len(store.index())} videos are in the store; go on with"
                f" `python pseudo_label.py store={where}` and the other options as before",
            ) from stop
        data_wait = waiting.whole_share()
        log.info("labelling waited for videos %.0f%% of its time", 100 * data_wait)
        result = _report(store, this, tracker, bundle, config) | {"data_wait": round(data_wait, 4)}
        if result["labelled"] <= _REPORTED:
            report_labels(store.usable(), this, tracker, reader)
        tracker.close()
        this.finish(result)
    return result


def _label(
    store: LabelStore, pool: Pool, bundle: Bundle, score: Score, waiting: Waiting,
    tracker: Tracker, config: PseudoLabelConfig,
) -> None:  # fmt: skip
    keys, index = keys_of(pool.paths()), store.index()
    chunks = plan(keys, index, config.commit_every, config.retry_failed)
    todo = sum(len(chunk.todo) for chunk in chunks)
    store.expect(index.union(keys))
    if todo < len(pool):
        log.info("%d videos are labelled already", len(pool) - todo)
    with (
        Claims(store.folder, chunks, config.lease) as claims,
        Progress(todo, claims, waiting, tracker) as progress,
    ):
        del chunks, keys, index
        label = partial(label_of, bundle=bundle)
        while True:
            label_chunks(claims, pool, score, label, progress.one)
            if not claims.waiting:
                return
            progress.wait()
            time.sleep(min(_POLL, config.lease / 4) * random.uniform(0.5, 1))  # not in step


def _left(pool: Pool, where: Path, meta: dict[str, Any], config: PseudoLabelConfig) -> list[int]:
    """Positions of the videos that have no label yet."""
    if not (where / META).is_file():
        return list(range(len(pool)))
    store = LabelStore(where)
    store.check(meta)
    chunks = plan(keys_of(pool.paths()), store.index(), config.commit_every, config.retry_failed)
    return [at for chunk in chunks for at in chunk.todo]


def _scoring(
    bundle: Bundle, reader: VideoReader, config: PseudoLabelConfig, waiting: Waiting
) -> Score:
    return partial(
        score_rows,
        bundle.model,
        reader=reader,
        batch_size=config.batch_size,
        num_workers=decoding_workers(config.data.num_workers),
        prefetch=config.data.prefetch,
        device=config.device,
        waiting=waiting,
        test_views=bundle.test_views,
    )


def _pool(config: PseudoLabelConfig) -> Manifest:
    if config.pool is not None:
        pool = read_pool(folder(config.pool))
        tell_problems(pool.problems, len(pool.rows))
        return pool
    manifest = load_manifest(config.data)
    rows = manifest.split("pool")
    if not rows:
        raise ManifestError(f"{manifest.path}: no row without a mos to label; give pool=FOLDER")
    log.info("pool: the unlabelled videos of the data set; your own: pool=FOLDER_LIST_OR_TABLE")
    return Manifest(manifest.path, rows, manifest.problems)


def _meta(bundle: Bundle, pool: Path, videos: int) -> dict[str, Any]:
    return {
        "teacher": bundle.fingerprint,
        "views": bundle.spec["views"],
        "calibration": bundle.spec["calibration"],
        "test_views": bundle.test_views,
        "precision": "float32",  # what score_rows computes in
        "bundle": str(bundle.folder),
        "distill_vqa": bundle.spec["distill_vqa"],
        "packages": packages(),
        "licenses": bundle.spec["licenses"],
        "pool": str(pool),
        "videos": videos,
    }


def _report(
    store: LabelStore, run: Run, tracker: Tracker, bundle: Bundle, config: PseudoLabelConfig
) -> dict[str, Any]:
    found = summarise(store)
    scores, spreads = found.scores, found.spreads
    result: dict[str, Any] = {
        "store": str(store.folder),
        "teacher": bundle.fingerprint,
        "labelled": len(scores),
        "failed": found.failed,
    }
    if found.failed:
        shown = "".join(f"\n  {reason} (x{n})" for reason, n in found.reasons.most_common(5))
        log.warning("%d videos failed:%s\nretry them: retry_failed=true", found.failed, shown)
    if len(scores):
        result |= {"mean": float(scores.mean()), "low": float(scores.min()),
                   "high": float(scores.max())}  # fmt: skip
        result["spread"] = None if math.isnan(found.spread) else found.spread
        picture = run.plots / "pseudo_labels.png"
        plots.distributions(picture, {"pseudo-labels": scores.tolist()}, "pseudo-labels")
        tracker.picture("plots/pseudo_labels", picture)
        tracker.histogram("pseudo_labels/score", scores.tolist())
        tracker.histogram("pseudo_labels/member_spread", spreads.tolist())
        tracker.predictions("pseudo_labels", _first_rows(store, _TABLE_ROWS))
    tracker.summary({k: v for k, v in result.items() if k not in ("store", "teacher")})
    told = f"labelled {len(scores)} videos, {found.failed} failed"
    if len(scores):
        told += f"; scores {result['low']:.2f} to {result['high']:.2f}"
    if result.get("spread") is not None:
        told += f", members differ by {found.spread:.2f} on average"
    log.info("%s\nstore: %s", told, store.folder)
    if not len(scores):
        return result
    newest = find_store(Path(config.outputs)) == store.folder
    log.info(
        "next: python train_student.py +budget=120%s", "" if newest else f" labels={store.folder}"
    )
    return result


def _first_rows(store: LabelStore, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for table in store.tables(["video", "status", "score", "std"]):
        rows += [
            {"video": row["video"], "predicted": row["score"], "std": row["std"]}
            for row in table.to_pylist()
            if row["status"] == "ok"
        ]
        if len(rows) >= count:
            break
    return rows[:count]
