"""Let the teacher score videos without labels and write a label store (Parquet and meta.json).

    python pseudo_label.py                                  newest teacher, the demo's pool
    python pseudo_label.py pool=FOLDER                      your videos, with sub-folders
    python pseudo_label.py pool=videos.txt                  a list of paths, or a CSV table
    python pseudo_label.py pool=s3://bucket/videos/         a bucket, URL or .tar: docs/labels.md
    python pseudo_label.py pool=FOLDER dry_run=true         estimate time and space from a sample
    python pseudo_label.py teacher_bundle=DIR store=DIR     this teacher, into this store
    python pseudo_label.py store=DIR                        continue a store after a kill
    python pseudo_label.py store=DIR retry_failed=true      try broken videos again
    python pseudo_label.py devices=4                        four GPUs; auto uses all of the machine
    python pseudo_label.py engine=ray ray.address=auto      the machines of a Ray cluster

It can be killed at any moment: the next start on the same store continues. A broken video is a row
with a reason. Several processes, also on several machines, may work on one store at the same time
(docs/cluster.md). `python -m distill.labels DIR` prints what a store holds.
Next: python train_student.py +budget=120
"""

import importlib
import logging
import math
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from distill import plots
from distill.bundle import Bundle
from distill.config import PseudoLabelConfig, folder, place, to_config
from distill.data import spool
from distill.data.manifest import Manifest
from distill.data.places import RemotePath, place_of
from distill.data.pool import Pool
from distill.data.pool_sources import read_pool
from distill.data.readers import make_reader
from distill.engines.job import Job, Labeller
from distill.errors import Interrupted, ManifestError
from distill.labels import META, LabelStore, find_store, keys_of, plan
from distill.labels.files import full_disk
from distill.labels.summary import summarise
from distill.runs import Run, packages
from distill.stages.inputs import load_manifest, take_bundle, tell_problems
from distill.stages.label_report import report_labels
from distill.stages.labelling_precision import tell_precision
from distill.stages.labelling_progress import Progress, tell_estimate
from distill.stages.report import report
from distill.stages.teachers_data import data_words, words_of_teacher
from distill.tracking import Tracker
from distill.tracking.cards import dataset_card, labels_card, model_card
from distill.tracking.lineage import group_of_bundle
from distill.tracking.tables import MOST_ROWS, by_spread, thumbnail
from distill.words import option_word

log = logging.getLogger(__name__)
_TABLE = "video group score std width height fps duration codec".split()  # what W&B gets
_REPORTED = 100_000  # labels whose kinds and disputes are told, in memory


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
    where = folder(config.store) if config.store else out / "store"
    log.info("plan: %d videos -> %s", len(pool), where)
    job = Job(config, bundle.folder.absolute(), where.absolute())
    meta = _meta(bundle, source, len(pool), config.precision)
    if config.dry_run:
        left = _left(pool, where, meta, config)
        return tell_estimate(pool, left, Labeller(job, bundle).score, bundle, config)
    with full_disk(where):
        this = Run(out, config)
        this.problems(problems)
        origin = group_of_bundle(bundle.spec)
        tracker = Tracker(config.tracking, out, "pseudo_label", config, origins=[origin])
        if tracker.active:
            name = config.data.name if config.pool is None else "pool"
            tracker.uses(dataset_card((pool[at] for at in range(len(pool))), name))
            tracker.uses(model_card(bundle.spec))
        meta |= {"group": tracker.group, "id": uuid.uuid4().hex[:12]}
        store = LabelStore.open(where, meta)
        try:
            data_wait = _label(store, job, pool, bundle, tracker)
            extra = tell_precision(store, job, pool, bundle)
        except KeyboardInterrupt as stop:
            raise Interrupted.by(
                stop,
                f"stopped; {len(store.index())} videos are in the store; continue with"
                f" `python pseudo_label.py store={where}` and the other options as before",
            ) from stop
        log.info("labelling waited for videos %.0f%% of its time", 100 * data_wait)
        extra |= {"data_wait": round(data_wait, 4)}
        result = _report(store, this, tracker, bundle, config) | extra
        if tracker.active:
            figures = {k: v for k, v in result.items() if k not in ("store", "teacher")}
            tracker.summary(figures, "labels")
            cost = bundle.spec["cost"]
            tracker.summary({"gmacs": cost["gmacs"], "params_m": cost["params_m"]})
            tracker.makes(labels_card(store))
        reader = make_reader(**vars(config.reader))
        if result["labelled"] <= _REPORTED:
            report_labels(store.usable(), this, tracker, reader)
        tracker.close()
        this.finish(result)
        report(out, config, reader)
    return result


def _label(store: LabelStore, job: Job, pool: Pool, bundle: Bundle, tracker: Tracker) -> float:
    """Have the engine label what is left; the share of its time that it waited for videos."""
    config = job.config
    keys, index = keys_of(pool.paths()), store.index()
    chunks = plan(keys, index, config.commit_every, config.retry_failed)
    todo = sum(len(chunk.todo) for chunk in chunks)
    store.expect(index.union(keys))
    if todo < len(pool):
        log.info("%d videos are already labelled", len(pool) - todo)
    if not todo:
        return 0.0
    del keys, index  # of every video there is
    engine = importlib.import_module(f"distill.engines.{config.engine}")
    with Progress(todo, tracker) as progress:
        engine.label(job, bundle, pool, chunks, progress.tell)
    return progress.data_wait


def _left(pool: Pool, where: Path, meta: dict[str, Any], config: PseudoLabelConfig) -> list[int]:
    """Positions of the videos that have no label yet."""
    if not (where / META).is_file():
        return list(range(len(pool)))
    store = LabelStore(where)
    store.check(meta)
    chunks = plan(keys_of(pool.paths()), store.index(), config.commit_every, config.retry_failed)
    return [at for chunk in chunks for at in chunk.todo]


def _pool(config: PseudoLabelConfig) -> Manifest:
    if config.pool is not None:
        pool = read_pool(place(config.pool), remote=True)
        if any(isinstance(row.path, RemotePath) for row in pool.rows):
            spool.clean()
        tell_problems(pool.problems, len(pool.rows))
        return pool
    manifest = load_manifest(config.data)
    rows = manifest.split("pool")
    if not rows:
        raise ManifestError(f"{manifest.path}: no row without a mos to label; give pool=FOLDER")
    log.info("pool: the unlabelled videos of the data set; your own: pool=FOLDER_LIST_OR_TABLE")
    return replace(manifest, rows=rows)


def _meta(bundle: Bundle, pool: Path, videos: int, precision: str) -> dict[str, Any]:
    return {
        "teacher": bundle.fingerprint,
        "views": bundle.spec["views"],
        "calibration": bundle.spec["calibration"],
        "test_views": bundle.test_views,
        "precision": precision,
        "bundle": str(bundle.folder),
        "distill_vqa": bundle.spec["distill_vqa"],
        "packages": packages(),
        "licenses": bundle.spec["licenses"],
        "content_slopes": bundle.spec.get("content_slopes"),
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
        log.warning("%d videos failed:%s\ntry them again: retry_failed=true", found.failed, shown)
    if len(scores):
        result |= {"mean": float(scores.mean()), "low": float(scores.min()),
                   "high": float(scores.max())}  # fmt: skip
        result["spread"] = None if math.isnan(found.spread) else found.spread
        picture = run.plots / "pseudo_labels.png"
        plots.distributions(picture, {"pseudo-labels": scores.tolist()}, "pseudo-labels")
        tracker.picture("plots/pseudo_labels", picture)
        if tracker.active:
            tracker.histogram("labels/score", scores.tolist())
            tracker.histogram("labels/member_spread", spreads.tolist())
            reader = make_reader(**vars(config.reader))
            sample = _sample(store, MOST_ROWS)
            rows = [{name: row[name] for name in _TABLE} for row in sample]
            tracker.table(
                "labels/table", rows, lambda at: thumbnail(place_of(sample[at]["path"]), reader)
            )
    told = f"labelled {len(scores)} videos, {found.failed} failed"
    if len(scores):
        told += f"; scores {result['low']:.2f} to {result['high']:.2f}"
    if result.get("spread") is not None:
        told += f", members differ by {found.spread:.2f} on average"
    log.info("%s\nstore: %s", told, store.folder)
    if not len(scores):
        return result
    log.info("next: %s", _next(store, bundle, config))
    return result


def _next(store: LabelStore, bundle: Bundle, config: PseudoLabelConfig) -> str:
    """The command that trains a student on these labels, with the labelled videos to match."""
    own = data_words(config.data) if config.pool is None else []
    words = [*(own or words_of_teacher(bundle))]
    if find_store(Path(config.outputs)) != store.folder:
        words.append(option_word("labels", str(store.folder)))
    return " ".join(["python train_student.py +budget=120", *words])


def _sample(store: LabelStore, count: int) -> list[dict[str, Any]]:
    """Rows of a table of labels: drawn by a hash of their paths, the most disputed first."""
    drawn: list[tuple[bytes, dict[str, Any]]] = []
    for table in store.tables([*_TABLE, "path", "status"]):
        keys = keys_of(table["path"].to_pylist())
        drawn += [
            (key.tobytes(), row)
            for key, row in zip(keys, table.to_pylist(), strict=True)
            if row["status"] == "ok"
        ]
        drawn = sorted(drawn, key=lambda pair: pair[0])[:count]
    return sorted((row for _, row in drawn), key=lambda row: by_spread(row["std"]))
