"""A pool with broken files among it, a toy teacher, and the real labelling command to kill."""

import os
import shutil
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

from distill.data.manifest import read_manifest
from distill.labels import Label, LabelStore
from tests.helpers.stages import TEACHER, TRAINING, run_stage

ROOT = Path(__file__).parents[2]
OPTIONS = ["tracking=none", "data.num_workers=0", "batch_size=2", "commit_every=4"]


def toy_teacher(outputs: Path) -> Path:
    """Train one for a step on the tiny demo; its bundle."""
    out = outputs / "train_teacher" / "toy"
    words = [*TEACHER, *TRAINING, "training.epochs=1", "training.batches_per_epoch=1"]
    run_stage("train_teacher", out, *words, f"outputs={outputs}")
    return out / "bundle"


def broken_pool(folder: Path, manifest: Path, videos: int = 40) -> Path:
    """So many videos; every fifth is no video, and one is cut in the middle."""
    folder.mkdir(parents=True)
    sources = [row.path for row in read_manifest(manifest).rows]
    for at in range(videos):
        source, video = sources[at % len(sources)], folder / f"{at:03}.mp4"
        if at % 5 == 2:
            video.write_bytes(b"no video at all" * at)
        elif at == 3:
            video.write_bytes(source.read_bytes()[: source.stat().st_size // 3])
        else:
            shutil.copy(source, video)
    return folder


def labelling(bundle: Path, pool: Path, store: Path, *words: str) -> "subprocess.Popen[str]":
    """``python pseudo_label.py``, started."""
    return subprocess.Popen(
        [sys.executable, "pseudo_label.py", f"teacher_bundle={bundle}", f"pool={pool}",
         f"store={store}", *OPTIONS, *words],
        cwd=ROOT, env={**os.environ, "DISTILL_OUTPUTS": str(store.parent / "outputs")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def rows_of(store: Path) -> list[Label]:
    """By path."""
    return LabelStore(store).read()


def differences(found: list[Label], expected: list[Label], tolerance: float = 1e-5) -> list[str]:
    """What two stores do not have in common, ``seconds`` apart; scores may differ a little."""
    if [row.path for row in found] != [row.path for row in expected]:
        return [f"{len(found)} videos, not {len(expected)}, or others"]
    told = []
    for one, other in zip(found, expected, strict=True):
        numbers = [(one.score, other.score), (one.raw, other.raw), (one.std, other.std)]
        numbers += [(one.members[name], other.members.get(name, 1e9)) for name in one.members]
        close = all(a == b or abs(a - b) <= tolerance or (a != a and b != b) for a, b in numbers)
        if not close or _facts(one) != _facts(other):
            told.append(f"{one}\n{other}")
    return told


def _facts(row: Label) -> tuple[str, ...]:
    """Everything but numbers that a network made, and the time it took."""
    values = dict(zip(row.__dataclass_fields__, astuple(row), strict=True))
    for name in ("score", "raw", "std", "members", "seconds"):
        del values[name]
    return tuple(repr(value) for value in values.values())
