"""Run directories: what was run, with what, and where the newest one is."""

import csv
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from distill.data.manifest import Problem

CONFIG, RECORD, RESULT, PROBLEMS = "config.yaml", "run.json", "result.json", "problems.csv"
_PACKAGES = (
    "distill-vqa torch torchvision timm pytorch-lightning hydra-core wandb fvcore decord2 av"
    " numpy scipy pyarrow imageio-ffmpeg"
).split()


class Run:
    """One run directory.

    Args:
        folder: made if missing.
        config: the checked options; written as ``config.yaml``.
        resumed: the directory goes on with an earlier, unfinished run.
    """

    def __init__(self, folder: Path, config: Any, resumed: bool = False) -> None:
        self.folder, self.config, self.resumed = Path(folder), config, resumed
        self.folder.mkdir(parents=True, exist_ok=True)
        options = config
        if is_dataclass(config) and not isinstance(config, type):
            options = asdict(config)
        text = yaml.safe_dump(options, sort_keys=False)
        (self.folder / CONFIG).write_text(text, encoding="utf-8")
        record = {
            "command": shlex.join(sys.argv),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: _version(name) for name in _PACKAGES},
            "git": git_state(),
        }
        self._write(RECORD, record)

    @property
    def plots(self) -> Path:
        """Folder of the pictures."""
        folder = self.folder / "plots"
        folder.mkdir(exist_ok=True)
        return folder

    def problems(self, problems: Sequence[Problem]) -> None:
        """Write the videos that were left out, with reasons."""
        if problems:
            with (self.folder / PROBLEMS).open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["file", "line", "video", "reason"])
                writer.writerows((p.file, p.line, p.video, p.reason) for p in problems)

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result; a run with one is finished."""
        self._write(RESULT, result)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        text = json.dumps(value, indent=2, default=str)
        (self.folder / name).write_text(text + "\n", encoding="utf-8")


def unfinished(outputs: Path, stage: str) -> Path | None:
    """The newest run of a stage that has a checkpoint and no result."""
    runs = [
        path.parent.parent
        for path in (outputs / stage).glob("**/checkpoints/last.ckpt")
        if not (path.parent.parent / RESULT).is_file()
    ]
    return max(runs, key=lambda p: (p / "checkpoints/last.ckpt").stat().st_mtime_ns, default=None)


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


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
