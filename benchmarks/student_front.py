"""The tables of docs/results.md on students: a front of budgets, pseudo-labels, losses, doubt.

    python benchmarks/student_front.py                      ../shared/realladder beside the checkout
    python benchmarks/student_front.py FOLDER --out DIR --minutes 60
    python benchmarks/student_front.py --tables             print what is finished; test, paired

The first 14 train contents (sorted by name) are labelled, the other 41 are the pool. Once: a
teacher, its labels of the pool, and a ladder (VMAF) made of the pool's best videos by these labels.
Then every run of ``plan`` that is not in the table yet, each a process as a user types it. A
finished run is a row of students/measured.csv, which ``student=fit`` goes by. Killed, the next
start goes on with the run that was broken off. The test split is read by --tables alone, and
not for losses, which are compared on validation.
"""

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr

from distill.bundle import load_bundle
from distill.data.manifest import read_manifest
from distill.data.readers import make_reader
from distill.inference import score_all
from distill.resampling import difference_over_contents, interval_over_contents
from distill.runs import git_state
from students.rungs import ARM, COLUMNS, MEASURED, RUNGS

LABELLED = 14  # contents, the first by name
LADDER = {rung.name: rung for rung in RUNGS}
# Rungs that differ in frames alone are one training: the second is the first, calibrated anew.
TRAINED_AS = {
    "mixed_lite0_1x224": "mixed_lite0_4x224",
    "mixed_lite2_16x224": "mixed_lite2_8x224",
    "mixed_lite2_32x224": "mixed_lite2_8x224",
}
SEEDED, ALONE = "mixed_lite0_4x224", "mixed_lite2_8x224"
# What others labelled first, then the MOS alone: about as many steps of 28 videos as the MOS alone.
SECOND = ["finetune.epochs=16", "finetune.lr=5e-4", "finetune.backbone_lr=2e-4",
          "loss@finetune.loss=correlation"]  # fmt: skip
BOTH = ["training.epochs=4", "training.val_every=4", *SECOND]  # 84 and 64 steps
ARMS = {
    ARM: ["LABELS", "LADDER", *BOTH],
    "mos": ["labels=none", "training.epochs=35", "training.val_every=7"],  # 140 steps
    "pseudo": ["LABELS", "training.epochs=7", "training.val_every=7", *SECOND],  # 77 and 64
    "ladder": ["labels=none", "LADDER", "training.epochs=8", "training.val_every=4", *SECOND],
    "rounds": ["LABELS", "rounds=2", "LADDER", *BOTH],
}
DROP = ["doubt.rule=quantile", "doubt.quantile=0.7"]
DOUBT = {
    "doubt_drop": [*ARMS["pseudo"], *DROP],
    "doubt_weigh": [*ARMS["pseudo"], "doubt.rule=sigma", "doubt.action=weigh", "doubt.sigma=1"],
    "unlevelled": [*ARMS["pseudo"], "doubt.shrink=1"],
    "distilled_drop": [*ARMS[ARM], *DROP],
}
# Losses on the MOS alone, in 60 steps.
SHORT = ["labels=none", "training.epochs=15", "training.val_every=5"]
_LOSS = "loss_"  # how their arms begin
LOSSES = "mse plcc correlation ranking adaptive_rank e_vqa fast_vqa distribution".split()


@dataclass(frozen=True)
class Training:
    """One run: a rung, what is done differently, and the seed."""

    rung: str
    arm: str
    seed: int
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.rung}-{self.arm}-{self.seed}"


def plan() -> Iterator[Training]:
    """Every run, the most wanted first; a run that another is calibrated from comes before it."""
    for seed in range(3):
        for arm in (ARM, "mos"):
            yield Training(SEEDED, arm, seed, tuple(ARMS[arm]))
    for rung, of in TRAINED_AS.items():
        if of == SEEDED:
            for seed in range(3):
                for arm in (ARM, "mos"):
                    yield Training(rung, arm, seed, ())
    yield from _alone(0)
    yield from _losses(0)
    yield Training(SEEDED, "pseudo", 0, tuple(ARMS["pseudo"]))
    for arm, words in DOUBT.items():
        yield Training(SEEDED, arm, 0, tuple(words))
    for seed in range(3):
        for arm in ("pseudo", "ladder"):
            yield Training(SEEDED, arm, seed, tuple(ARMS[arm]))
    for arm in ("doubt_drop", "distilled_drop"):
        for seed in (1, 2):
            yield Training(SEEDED, arm, seed, tuple(DOUBT[arm]))
    yield Training(SEEDED, "rounds", 0, tuple(ARMS["rounds"]))
    for seed in (1, 2):
        yield from _losses(seed)
    for seed in (1, 2):
        yield from _alone(seed)


def _alone(seed: int) -> Iterator[Training]:
    yield Training(ALONE, ARM, seed, tuple(ARMS[ARM]))
    for rung, of in TRAINED_AS.items():
        if of == ALONE:
            yield Training(rung, ARM, seed, ())


def _losses(seed: int) -> Iterator[Training]:
    for loss in LOSSES:
        bins = ["student.bins=16"] if loss == "distribution" else []
        yield Training(SEEDED, _LOSS + loss, seed, (*SHORT, f"loss={loss}", *bins))


def main() -> int:
    """Train what is missing, or print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "realladder"
    parser.add_argument("folder", nargs="?", type=Path, default=beside)
    parser.add_argument("--out", type=Path, default=Path("outputs/student_front"))
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after so many")
    parser.add_argument("--tables", action="store_true", help="score test, print, train nothing")
    options = parser.parse_args()
    table = options.folder / "manifest.csv"
    if not table.is_file():
        sys.stderr.write(f"error: {table}: no such file; give the folder of the data set\n")
        return 2
    out = options.out.absolute()
    if options.tables:
        text = "\n".join(tables(table, out)) + "\n"
        (out / "tables.md").write_text(text, encoding="utf-8")
        print(text)
        return 0
    start = time.monotonic()
    teach(table, out)
    done = {(row["rung"], row["arm"], int(row["seed"])) for row in measured()}
    for training in plan():
        key = (training.rung, training.arm, training.seed)
        if key in done:
            continue
        done.add(key)
        if (time.monotonic() - start) / 60 > options.minutes:
            print(f"{options.minutes:g} minutes are over; start again to go on")
            break
        train(training, table, out)
    return 0


def _data(table: Path) -> list[str]:
    return ["data=manifest", f"data.manifest='{table.resolve()}'",
            f"data.labelled_groups={LABELLED}", "tracking=none"]  # fmt: skip


def _type(door: str, *words: str) -> None:
    """Type a command as a user does, showing it."""
    root = Path(__file__).resolve().parents[1]
    print(f"\n$ python {door} {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, door, *words], check=True, cwd=root, env=os.environ)


def teach(table: Path, out: Path) -> None:
    """The teacher, its labels and the ladder, once."""
    if not (out / "teacher" / "result.json").is_file():
        resume = [f"resume='{out / 'teacher'}'"] if any(out.glob("teacher/**/*.ckpt")) else []
        _type("train_teacher.py", *_data(table), f"hydra.run.dir='{out / 'teacher'}'", *resume)
    if not (out / "labels" / "result.json").is_file():
        _type("pseudo_label.py", f"teacher_bundle='{out / 'teacher' / 'bundle'}'", *_data(table),
              f"store='{out / 'labels' / 'store'}'",
              f"hydra.run.dir='{out / 'labels'}'")  # fmt: skip
    if not (out / "ladder" / "manifest.csv").is_file():
        _type("-m", "distill.labels", str(out / "labels" / "store"),
              "--sources", str(out / "sources.csv"))  # fmt: skip
        _type("make_ladder.py", str(out / "sources.csv"), "--out", str(out / "ladder"),
              "--seconds", "2.4")  # fmt: skip


def train(training: Training, table: Path, out: Path) -> None:
    """One run, and its row."""
    folder, rung = out / training.name, LADDER[training.rung]
    if training.rung in TRAINED_AS:
        of = Training(TRAINED_AS[training.rung], training.arm, training.seed, ()).name
        words = ["training=none", f"init='{out / of / 'bundle'}'"]
    else:
        meant = {"LABELS": f"labels='{out / 'labels' / 'store'}'",
                 "LADDER": f"data.also=['{out / 'ladder' / 'manifest.csv'}']"}  # fmt: skip
        words = [meant.get(word, word) for word in training.words]
    student = [f"student.{key}={value}" for key, value in rung.options.items()]
    resume = [f"resume='{folder}'"] if any(folder.glob("**/checkpoints/*.ckpt")) else []
    if not (folder / "result.json").is_file():
        _type("train_student.py", f"student={rung.student}", *student, *words, *_data(table),
              f"seed={training.seed}", f"hydra.run.dir='{folder}'", *resume)  # fmt: skip
    result = json.loads((folder / "result.json").read_text())
    row = {
        "rung": training.rung, "arm": training.arm, "seed": training.seed,
        "val_srcc": round(result["val"]["srcc"], 4), "val_plcc": round(result["val"]["plcc"], 4),
        "minutes": round(result["minutes"], 1), "steps": result["steps"],
        "gmacs": round(result["gmacs"], 3), "params_m": round(result["params_m"], 2),
        "data": "realladder", "date": time.strftime("%Y-%m-%d"),
        "commit": str(git_state().get("commit", ""))[:10],
    }  # fmt: skip
    with MEASURED.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


def measured() -> list[dict[str, str]]:
    """The rows of the table."""
    with MEASURED.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tables(table: Path, out: Path) -> list[str]:
    """The tables of what is finished; scores of test are kept beside each bundle."""
    rows = [
        row for row in measured()
        if (out / _folder(row) / "bundle").is_dir() and not row["arm"].startswith(_LOSS)
    ]  # fmt: skip
    test = read_manifest(table).split("test")
    mos, groups = np.array([row.mos for row in test]), [row.group for row in test]
    scored: dict[tuple[str, str], dict[int, np.ndarray]] = defaultdict(dict)
    val: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        key = (row["rung"], row["arm"])
        scored[key][int(row["seed"])] = _test_scores(out / _folder(row), test)
        val[key][int(row["seed"])] = float(row["val_srcc"])

    def ranks(key: tuple[str, str], seeds: Collection[int]) -> np.ndarray:
        return np.mean([rankdata(scored[key][seed]) for seed in seeds], axis=0)

    lines = ["| rung | arm | GMACs | val SRCC of each seed | test SRCC of each seed"
             " | test SRCC of mean ranks [95%] |", "|---|---|---|---|---|---|"]  # fmt: skip
    for (rung, arm), runs in scored.items():
        each = " ".join(f"{spearmanr(one, mos).statistic:.3f}" for one in runs.values())
        own = interval_over_contents(ranks((rung, arm), runs), mos, groups)
        lines.append(
            f"| {rung} | {arm} | {LADDER[rung].gmacs:.2f}"
            f" | {' '.join(f'{v:.3f}' for v in val[rung, arm].values())} | {each}"
            f" | {own.estimate:.3f} [{own.low:.3f}, {own.high:.3f}] |"
        )
    lines += ["", "| pair | val difference of each seed | test difference [95%, paired] |",
              "|---|---|---|"]  # fmt: skip
    for (rung, arm), (other_rung, other) in _pairs(list(scored)):
        one, two = (rung, arm), (other_rung, other)
        seeds = sorted(set(scored[one]) & set(scored[two]))
        each = " ".join(f"{val[one][s] - val[two][s]:+.3f}" for s in seeds)
        gain = difference_over_contents(ranks(one, seeds), ranks(two, seeds), mos, groups)
        lines.append(f"| {rung}: {arm} minus {other} | {each}"
                     f" | {gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] |")  # fmt: skip
    lines += ["", f"{len(test)} test videos of {len(set(groups))} contents; {len(rows)} runs."]
    return lines + losses()


def losses() -> list[str]:
    """Losses on the MOS alone, on validation: each against MSE with the same seed."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in measured():
        if row["arm"].startswith(_LOSS):
            found[row["arm"].removeprefix(_LOSS)][row["seed"]] = float(row["val_srcc"])
    lines = ["", "| loss | val SRCC of each seed | mean | minus MSE's of each seed |",
             "|---|---|---|---|"]  # fmt: skip
    for loss, runs in found.items():
        base = found["mse"]
        minus = " ".join(f"{runs[s] - base[s]:+.3f}" for s in runs if s in base)
        each = " ".join(f"{value:.3f}" for value in runs.values())
        mean = np.mean(list(runs.values()))
        lines.append(f"| `{loss}` | {each} | {mean:.3f} | {minus if loss != 'mse' else ''} |")
    return lines


def _folder(row: dict[str, str]) -> str:
    return Training(row["rung"], row["arm"], int(row["seed"]), ()).name


def _pairs(keys: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Others' labels against none; rules of doubt and rounds against what is plain, too."""
    plain = {**dict.fromkeys(DOUBT, "pseudo"), "rounds": ARM, "distilled_drop": ARM}
    for rung, arm in keys:
        for base in filter(None, (plain.get(arm), "mos" if arm != "mos" else None)):
            if (rung, base) in keys:
                yield (rung, arm), (rung, base)


def _test_scores(run: Path, test: list) -> np.ndarray:  # type: ignore[type-arg]
    """Raw scores of the test split, made once."""
    kept = run / "test_scores.npy"
    if not kept.is_file():
        bundle = load_bundle(run / "bundle")
        found = score_all(bundle.model, test, make_reader("auto"), what=run.name, batch_size=8,
                          num_workers=2, device="cpu", test_views=bundle.test_views)  # fmt: skip
        np.save(kept, np.array([bundle.calibrated(one.raw) for one in found]))
    return np.load(kept)


if __name__ == "__main__":
    sys.exit(main())
