"""Run folders as commands leave them, small and made up, with names that attack a web page."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from distill.evaluation.predictions import HEADER
from distill.labels import Label, LabelStore

HOSTILE = (
    '"><script>document.title="owned"</script>.mp4',
    "<img src=x onerror=document.title='owned'>.mp4",
    "{{ 7 * 7 }} {% raw %} & \u202e gpj.\u0000\u200b mp4",
    "</style><svg onload=document.title='owned'>" + "long" * 60 + ".mp4",
)
KINDS = ("blur", "noise", "</td><script>document.title='owned'</script>")


def dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def record(folder: Path, config: dict[str, Any]) -> None:
    """What every run notes of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    command = "evaluate.py bundles='<b>x</b>'"
    started = {
        "command": command,
        "date": "2026-05-01 12:00:00+02:00",
        "python": "3.12.1",
        "platform": "Linux",
        "packages": {"torch": "2.9.0", "wandb": ""},
        "git": {"commit": "0123456789abcdef", "dirty": True},
    }
    dump(folder / "run.json", [started])
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def predictions(path: Path, seed: int, videos: int = 24, root: Path | None = None) -> np.ndarray:
    """A table of predictions of six contents; (N, 2) scores and MOS.

    Args:
        path: of the CSV.
        seed: of the scores; the MOS are the same for all.
        videos: rows.
        root: folder of the videos; the first one is a file there, ``real.mp4``.
    """
    mos = np.round(np.linspace(1.2, 4.8, videos), 3)
    score = mos + 0.4 * np.random.default_rng(seed).standard_normal(videos)
    score[: len(HOSTILE)] += 3  # the worst, which are shown
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADER, "processing", "vmaf"])
        for at in range(videos):
            name = HOSTILE[at] if at < len(HOSTILE) else f"clips/video_{at}.mp4"
            place = str((root or Path("/nowhere")) / name.replace("\0", ""))
            frames = " ".join(f"{score[at] + 0.1 * step:.4f}" for step in (-1, 0, 1))
            writer.writerow(
                [name.replace("\0", ""), place, f"content {at % 6}", mos[at], "", score[at],
                 score[at] / 2, 0.1 + 0.01 * at, frames, 320, 180, 25.0, 3.0, KINDS[at % 3],
                 10 * mos[at]]
            )  # fmt: skip
    return np.stack([score, mos], axis=1)


def evaluation(
    folder: Path, models: int = 2, tables: int = 1, root: Path | None = None, videos: int = 24
) -> Path:
    """What evaluate leaves, by the contract of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, number = [], 0
    for table in range(tables):
        for model in range(models):
            number += 1
            predictions(folder / f"predictions_{number}.csv", number, videos, root)
            rows.append(
                {"bundle": f"/runs/{model}/bundle", "name": f"model {model} <i>", "role": "student",
                 "table": f"/data/{table}/manifest.csv", "table_name": f"table {table}",
                 "split": "test", "srcc": 0.9 - 0.05 * model, "krcc": 0.7, "plcc": 0.8,
                 "plcc_fitted": 0.85, "rmse": 0.3, "rmse_raw": 0.4, "pair_accuracy": 0.9,
                 "ntire2023": None, "n": 24, "contents": 6, "low": 0.8 - 0.05 * model,
                 "high": 0.95, "intervals": {}, "warning": "only 6 contents", "calibrated": True,
                 "demo": False, "gmacs": 1.5 * (model + 1), "params_m": 3.2, "plot": "x.png",
                 "predictions": f"predictions_{number}.csv"}
            )  # fmt: skip
    pair = {"first": "model 0 <i>", "other": "model 1 <i>", "table_name": "table 0",
            "statistic": "srcc", "difference": 0.05, "low": 0.01, "high": 0.09, "contents": 6,
            "verdict": "model 0 <i> is better than model 1 <i> on table 0"}  # fmt: skip
    breakdown = {"name": "model 0 <i>", "table_name": "table 0", "column": "processing",
                 "value": KINDS[2], "n": 8, "contents": 6, "srcc": None, "low": None, "high": None,
                 "plcc": 0.5, "rmse_raw": 0.4, "bias": -0.1, "warning": "few"}  # fmt: skip
    few = {"column": "file_size", "value": "1 to 2 MB", "srcc": 0.5, "low": 0.1, "high": 0.9}
    pairs = [pair] if models > 1 else []
    result = {"rows": rows, "pairs": pairs, "breakdowns": [breakdown, breakdown | few],
              "worst": []}  # fmt: skip
    dump(folder / "result.json", result)
    record(folder, {"bundles": [], "data": {"name": "manifest"}})
    with (folder / "problems.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "line", "video", "reason"])
        writer.writerows(["t.csv", 2 + at, HOSTILE[at % 2], "<b>broken</b>"] for at in range(60))
    return folder


def student(folder: Path) -> Path:
    """What train_student leaves, of a version that writes predictions, for validation alone."""
    folder.mkdir(parents=True, exist_ok=True)
    predictions(folder / "predictions_val.csv", 5)
    val = {"srcc": 0.9, "krcc": 0.7, "plcc": 0.8, "plcc_fitted": 0.85, "rmse": 0.3,
           "rmse_raw": 0.4, "n": 24, "pair_accuracy": None}  # fmt: skip
    test = {f"test {name}": value for name, value in val.items()}
    test |= {"test srcc low": 0.7, "test srcc high": 0.95}
    dump(
        folder / "result.json",
        {"val": val, "test": test, "gmacs": 1.51, "params_m": 3.2, "budget": 120.0, "minutes": 2.5,
         "steps": 40, "data_wait": 0.25},
    )  # fmt: skip
    data = "/data/demo-tiny-0123456789ab/manifest.csv"  # named as the demo names its folders
    provenance = {"data": data, "labelled": 20, "pseudo_labelled": 9}
    spec = {"role": "student", "fingerprint": "abc", "provenance": provenance, "calibration": None,
            "cost": {"by_part": {"tower": 1.5}}, "licenses": ["Apache-2.0"]}  # fmt: skip
    dump(folder / "bundle" / "spec.json", spec)
    record(folder, {"student": {}, "data": {"name": "demo"}})
    for part, name in enumerate(("metrics", "metrics_1")):
        path = folder / "stage_1" / name / "metrics.csv"
        path.parent.mkdir(parents=True)
        lines = ["epoch,step,train/loss,train/plcc,train/data_wait,val/srcc,val/plcc"]
        for step in range(20 * part, 20 * part + 25):
            lines.append(f"0,{step},{1 / (step + 1)},{0.5 / (step + 1)},0.01,,")
            if step % 10 == 9:
                lines.append(f"0,{step},,,,{step / 100},{step / 90}")
        path.write_text("\n".join(lines) + "\n")
    return folder


def labels(folder: Path, teacher: Path) -> Path:
    """What pseudo_label leaves: sound labels of two members, and failed ones.

    Args:
        folder: of the run.
        teacher: run folder of the teacher, with its predictions on validation.
    """
    meta = {"teacher": "abc", "bundle": str(teacher / "bundle")}
    store = LabelStore.open(folder / "store", meta)
    rows = []
    for at in range(30):
        members = {"frames": 2 + 0.1 * at, "<b>": 2 + 0.1 * at + 0.01 * at}
        std = float(np.std(list(members.values()), ddof=1))
        name = HOSTILE[0] if at == 29 else f"pool_{at}.mp4"
        rows.append(Label(name, f"/nowhere/{name}", score=2 + 0.1 * at, std=std, members=members))
    broken = [Label(f"x{at}", f"/x{at}", status="failed", reason="<b>torn</b>") for at in range(3)]
    store.append([*rows, *broken])
    found = {"store": str(store.folder), "teacher": "abc", "labelled": 30, "failed": 3,
             "mean": 3.4, "low": 2.0, "high": 4.9, "spread": 0.1, "data_wait": 0.02}  # fmt: skip
    dump(folder / "result.json", found)
    kinds = [{"kind": "codec", "class": "h264", "videos": 30, "score": 3.4, "spread": None}]
    dump(folder / "pseudo_labels.json", {"kinds": kinds, "disputed": []})
    record(folder, {"commit_every": 32})
    lines = ["labels/videos_per_second,labels/data_wait,step", "4.0,0.1,10", "5.0,0.2,33"]
    (folder / "metrics").mkdir()
    (folder / "metrics" / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def sweep(folder: Path) -> Path:
    """What a sweep of students leaves beside its runs."""
    folder.mkdir(parents=True, exist_ok=True)
    record(folder / "0", {"student": {}, "data": {"manifest": "/data/clips/manifest.csv"}})
    (folder / "front.csv").write_text(
        "run,budget,gmacs,params_m,val_srcc,val_plcc,test_srcc,test_low,test_high,bundle,error\n"
        "budget=1,1,0.9,3.2,0.80,0.81,0.7,0.6,0.8,/b,\n"
        "budget=5,5,4.6,4.6,0.83,0.84,,,,/b,\n"
        "budget=0.1,0.1,,,,,,,,,<b>no student is so small</b>\n"
    )
    return folder
