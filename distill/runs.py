"""Run directories: what was run, with what, and where the newest one is."""

import csv
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from distill.data.manifest import Problem
from distill.errors import ConfigError

CONFIG, RECORD, RESULT, PROBLEMS = "config.yaml", "run.json", "result.json", "problems.csv"
INPUTS = "inputs.json"
SCORED = "scored"  # folder of an evaluation's scores, until it has its result
PREDICTIONS = "predictions_{}.csv"  # of a training by split, of an evaluation by number
_MAY_CHANGE = (
    "resume", "dry_run", "outputs", "tracking.", "data.num_workers", "training.checkpoint_every",
    "report",
)  # fmt: skip
_PACKAGES = (
    "distill-vqa torch torchvision timm pytorch-lightning hydra-core wandb fvcore decord2 av"
    " numpy scipy pyarrow imageio-ffmpeg"
).split()


class Run:
    """One run directory; only the first process of a distributed run writes to it.

    Args:
        folder: made if missing.
        config: the checked options; written as ``config.yaml``.
        resumed: the directory goes on with an earlier, unfinished run.

    Raises:
        ConfigError: a resumed run would go on with other options than it began with.
    """

    def __init__(self, folder: Path, config: Any, resumed: bool = False) -> None:
        self.folder, self.config, self.resumed = Path(folder), config, resumed
        self.folder.mkdir(parents=True, exist_ok=True)
        options = config
        if is_dataclass(config) and not isinstance(config, type):
            options = asdict(config)
        path = self.folder / CONFIG
        if resumed and path.is_file():
            _check_same(path, options)
        if not first_process():
            return
        path.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
        record = {
            "command": shlex.join(sys.argv),
            "date": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": packages(),
            "git": git_state(),
        }
        began = resumed and (self.folder / RECORD).is_file()
        earlier = json.loads((self.folder / RECORD).read_text(encoding="utf-8")) if began else []
        self.write(RECORD, [*earlier, record])

    @property
    def plots(self) -> Path:
        """Folder of the pictures."""
        folder = self.folder / "plots"
        folder.mkdir(exist_ok=True)
        return folder

    def inputs(self, found: dict[str, Any]) -> None:
        """Note what the run learns from; a resumed run must learn from the same.

        Raises:
            ConfigError: it would not; the text names what changed.
        """
        before = read_inputs(self.folder) if self.resumed else {}
        changed = [f"{k}: was {v}, is {found.get(k)}" for k, v in before.items() if v != found[k]]
        if changed:
            raise ConfigError(
                f"{self.folder}: cannot be resumed, its inputs changed: {'; '.join(changed)}"
            )
        self.write(INPUTS, found)

    def problems(self, problems: Sequence[Problem]) -> None:
        """Write the videos that were left out, with reasons."""
        if problems:
            with (self.folder / PROBLEMS).open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["file", "line", "video", "reason"])
                writer.writerows((p.file, p.line, p.video, p.reason) for p in problems)

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result; a run with one is finished."""
        self.write(RESULT, result)

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file; NaN becomes null."""
        if not first_process():
            return
        text = json.dumps(plain(value), indent=2, default=str, allow_nan=False)
        (self.folder / name).write_text(text + "\n", encoding="utf-8")


def first_process() -> bool:
    """Whether this is the process of a distributed run that speaks and writes."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # what torchrun, Lightning and SLURM set
    return all(os.environ.get(name, "0") == "0" for name in names)


def plain(value: Any) -> Any:
    """The same with null in the place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_same(path: Path, options: dict[str, Any]) -> None:
    """What decides the result must be as it was; where and how it runs may change."""
    before = _flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    now = _flat(options)
    differ = [
        f"{name}: was {before.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not name.startswith(_MAY_CHANGE)
    ]
    if differ:
        raise ConfigError(
            f"{path.parent}: resume with the options that the run began with, or start a new one"
            f" without resume=true; these differ: {'; '.join(differ)}"
        )


def _flat(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in options.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {}
        flat |= inner or {f"{prefix}{key}": value}
    return flat


def read_inputs(folder: Path) -> dict[str, Any]:
    """What an earlier part of a run learned from; empty where it noted nothing."""
    path = folder / INPUTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def unfinished(outputs: Path, stage: str) -> Path | None:
    """The newest run of a stage that can go on, itself or a part of it, and has no result."""
    found: dict[Path, int] = {}
    for path in begun(outputs / stage):
        part = path.parent.parent
        # A run may have other runs as its parts: it is the outermost one that goes on.
        above = [p for p in part.parents if (p / RECORD).is_file() and outputs / stage in p.parents]
        folder = above[-1] if above else part
        if not (folder / RESULT).is_file():
            found[folder] = max(path.stat().st_mtime_ns, found.get(folder, 0))
    return max(found, key=lambda folder: found[folder], default=None)


def begun(folder: Path) -> list[Path]:
    """What runs and their parts go on with: Lightning checkpoints, an evaluation's scores."""
    return [*folder.glob("**/checkpoints/*.ckpt"), *folder.glob(f"**/{SCORED}/*.jsonl")]


def git_state() -> dict[str, Any]:
    """Commit and whether files differ from it; empty where there is no git checkout.

    Another repository around an installed package (a project's ``.venv``) says nothing of it.
    """
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not (top := git("rev-parse", "--show-toplevel")) or Path(top).resolve() != root:
            return {}
        commit = git("rev-parse", "--verify", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain"))} if commit else {}
    except (OSError, subprocess.TimeoutExpired):
        return {}


def packages() -> dict[str, str]:
    """Versions of what decides numbers here; '' for what is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
