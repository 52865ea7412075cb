"""Let the teacher score videos without labels and write a label store (Parquet and meta.json).

    python pseudo_label.py                                  newest teacher, the demo's pool
    python pseudo_label.py pool=FOLDER                      your videos, with sub-folders
    python pseudo_label.py pool=videos.txt                  a list of paths, or a CSV table
    python pseudo_label.py teacher_bundle=DIR store=DIR
    python pseudo_label.py store=DIR                        go on with a store after a kill
    python pseudo_label.py store=DIR retry_failed=true      try broken videos again

Killed at any moment, the next start on the same store continues; broken videos are rows with a
reason. Next: python train_student.py +budget=120
"""

import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from distill import plots
from distill.bundle import Bundle
from distill.config import PseudoLabelConfig, folder, to_config
from distill.data.loading import Waiting, decoding_workers
from distill.data.manifest import Manifest, read_pool
from distill.data.readers import make_reader
from distill.errors import Interrupted, LabelStoreError, ManifestError
from distill.inference import Scored, score_rows
from distill.labels import Label, LabelStore, find_store, member_std
from distill.runs import Run
from distill.stages.inputs import load_manifest, take_bundle, tell_problems
from distill.tracking import Tracker

log = logging.getLogger(__name__)
COMMIT_EVERY = 32  # videos per part: what a kill costs at the most


def run(cfg: DictConfig, out: Path, resumed: bool = False) -> dict[str, Any]:
    """Label a pool.

    Args:
        cfg: what Hydra composed; see ``PseudoLabelConfig``.
        out: run directory.
        resumed: not used; a store is always continued.

    Returns:
        What ``result.json`` holds; empty for a dry run.

    Raises:
        DistillError: no teacher, no pool, a store of another teacher, or one in use.
    """
    config: PseudoLabelConfig = to_config(cfg, PseudoLabelConfig)
    bundle = take_bundle(config.teacher_bundle, Path(config.outputs), "teacher", "teacher_bundle")
    pool = _pool(config)
    reader = make_reader(**vars(config.reader))
    where = folder(config.store) if config.store else out / "store"
    log.info("plan: %d videos -> %s", len(pool.rows), where)
    if config.dry_run:
        log.info("dry run: nothing was labelled")
        return {}
    this = Run(out, config)
    this.problems(pool.problems)
    tracker = Tracker(config.tracking, out, "pseudo_label", config)
    store = LabelStore.open(where, _meta(bundle, pool))
    try:
        with store.writer_lock():
            done = store.done(config.retry_failed)
            todo = [row for row in pool.rows if str(row.path) not in done]
            store.expect(len(done | {str(row.path) for row in pool.rows}))
            if len(todo) < len(pool.rows):
                log.info("%d videos are labelled already", len(pool.rows) - len(todo))
            waiting = Waiting()
            results = score_rows(
                bundle.model,
                todo,
                reader,
                batch_size=config.batch_size,
                num_workers=decoding_workers(config.data.num_workers),
                prefetch=config.data.prefetch,
                device=config.device,
                waiting=waiting,
                test_views=bundle.test_views,
            )
            pending: list[Label] = []
            bar = tqdm(results, "labelling", len(todo), unit="video", dynamic_ncols=True)
            try:
                for scored in bar:
                    pending.append(_label(scored, bundle))
                    if len(pending) >= COMMIT_EVERY:
                        store.append(pending)
                        pending = []
            finally:  # a signal keeps what is scored
                store.append(pending)
    except KeyboardInterrupt as stop:
        raise Interrupted.by(
            stop,
            f"stopped; {len(store.read())} videos are in the store; go on with"
            f" `python pseudo_label.py store={where}` and the other options as before",
        ) from stop
    except filelock.Timeout as error:
        raise LabelStoreError(f"{where}: another process is labelling into it") from error
    data_wait = waiting.whole_share() if todo else 0.0
    log.info("labelling waited for videos %.0f%% of its time", 100 * data_wait)
    result = _report(store, this, tracker, bundle, config) | {"data_wait": round(data_wait, 4)}
    tracker.close()
    this.finish(result)
    return result


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


def _meta(bundle: Bundle, pool: Manifest) -> dict[str, Any]:
    return {
        "teacher": bundle.fingerprint,
        "views": bundle.spec["views"],
        "calibration": bundle.spec["calibration"],
        "bundle": str(bundle.folder),
        "distill_vqa": bundle.spec["distill_vqa"],
        "licenses": bundle.spec["licenses"],
        "pool": str(pool.path),
        "videos": len(pool.rows),
    }


def _label(scored: Scored, bundle: Bundle) -> Label:
    row, info = scored.row, scored.info
    if scored.error or info is None:
        return Label(
            row.video, str(row.path), group=row.group, status="failed", reason=scored.error,
            seconds=scored.seconds,
        )  # fmt: skip
    members = {name: bundle.calibrated(value) for name, value in scored.members.items()}
    return Label(
        video=row.video,
        path=str(row.path),
        content=scored.content,
        group=row.group,
        score=bundle.calibrated(scored.raw),
        raw=scored.raw,
        std=member_std(members.values()),
        members=members,
        duration=info.duration,
        width=info.width,
        height=info.height,
        fps=info.fps,
        num_frames=info.num_frames,
        codec=info.codec,
        seconds=scored.seconds,
    )


def _report(
    store: LabelStore, run: Run, tracker: Tracker, bundle: Bundle, config: PseudoLabelConfig
) -> dict[str, Any]:
    labels = store.read()
    usable = [label for label in labels if label.status == "ok"]
    failed = [label for label in labels if label.status != "ok"]
    scores = np.array([label.score for label in usable])
    spreads = np.array([label.std for label in usable if not math.isnan(label.std)])
    result: dict[str, Any] = {
        "store": str(store.folder),
        "teacher": bundle.fingerprint,
        "labelled": len(usable),
        "failed": len(failed),
    }
    if failed:
        reasons = Counter(label.reason for label in failed)
        shown = "".join(f"\n  {reason} (x{n})" for reason, n in reasons.most_common(5))
        log.warning("%d videos failed:%s\nretry them: retry_failed=true", len(failed), shown)
    if len(usable):
        result |= {"mean": float(scores.mean()), "low": float(scores.min()),
                   "high": float(scores.max())}  # fmt: skip
        result["spread"] = float(spreads.mean()) if len(spreads) else None
        picture = run.plots / "pseudo_labels.png"
        plots.distributions(picture, {"pseudo-labels": scores.tolist()}, "pseudo-labels")
        tracker.picture("plots/pseudo_labels", picture)
        tracker.histogram("pseudo_labels/score", scores.tolist())
        tracker.histogram("pseudo_labels/member_spread", spreads.tolist())
        tracker.predictions(
            "pseudo_labels",
            [{"video": u.video, "predicted": u.score, "std": u.std} for u in usable],
        )
    tracker.summary({k: v for k, v in result.items() if k not in ("store", "teacher")})
    log.info(
        "labelled %d videos, %d failed; scores %.2f to %.2f, members differ by %.2f on average\n"
        "store: %s", len(usable), len(failed), result.get("low", math.nan),
        result.get("high", math.nan), result.get("spread") or math.nan, store.folder,
    )  # fmt: skip
    newest = find_store(Path(config.outputs)) == store.folder
    log.info(
        "next: python train_student.py +budget=120%s", "" if newest else f" labels={store.folder}"
    )
    return result
