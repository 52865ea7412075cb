"""Offline runs below a folder, and sending them to W&B in the order of their lineage."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.errors import TrackingError
from distill.tracking.lineage import read_note

_FOLDER = re.compile(r"offline-run-(\d{8}_\d{6})-(.+)")


@dataclass(frozen=True)
class OfflineRun:
    """A W&B run that waits in a run directory.

    Attributes:
        run_id: W&B's.
        pieces: its folders: one for each time that the command was started or resumed, in order.
        sent: whether all of them were sent before.
    """

    run_id: str
    pieces: tuple[Path, ...]
    sent: bool


def offline_runs(outputs: Path) -> list[OfflineRun]:
    """All below a folder, whose sub-folders may lie in any way, by the time of their start.

    That is the order of lineage: nothing takes in what a later run makes. (Over several machines,
    as far as their clocks agree.)
    """
    pieces: dict[str, list[tuple[str, Path]]] = {}
    for path in outputs.glob("**/wandb/offline-run-*"):
        found = _FOLDER.fullmatch(path.name)
        if found and list(path.glob("*.wandb")):
            pieces.setdefault(found[2], []).append((found[1], path))
    ordered = {run_id: sorted(each) for run_id, each in pieces.items()}
    return [
        OfflineRun(run_id, tuple(path for _, path in each), all(_sent(path) for _, path in each))
        for run_id, each in sorted(ordered.items(), key=lambda item: item[1][0])
    ]


def sync(runs: Sequence[OfflineRun], project: str | None, entity: str | None) -> None:
    """Send runs one after the other, with W&B's own command; those that were sent are skipped.

    Args:
        runs: in order.
        project, entity: in the place of those that a run names.

    Raises:
        TrackingError: W&B's command failed; what was sent before stays sent.
    """
    options = ["--project", project] if project else []
    options += ["--entity", entity] if entity else []
    waiting = [run for run in runs if not run.sent]
    for run in waiting:
        _check_place(run)
    for at, run in enumerate(waiting):
        command = [sys.executable, "-m", "wandb", "sync", "--yes", *options, *map(str, run.pieces)]
        code = subprocess.run(command, check=False).returncode
        if code or not all(_sent(path) for path in run.pieces):
            raise TrackingError(
                f"{run.pieces[0]}: `wandb sync` did not send it (its message is above); {at} runs"
                f" were sent and {len(waiting) - at} wait: start again, it continues there"
            )


def _check_place(run: OfflineRun) -> None:
    """W&B notes where files of artifacts wait, and leaves out those that moved without a word."""
    here = run.pieces[0].parent.parent
    made = Path(read_note(here).get("place", here))
    if not made.exists() or not made.samefile(here):
        raise TrackingError(
            f"{here}: was written to {made}, where W&B looks for the files of its tables and"
            f" artifacts; move it back, or `ln -s {here} {made}`"
        )


def _sent(folder: Path) -> bool:
    return any(folder.glob("*.wandb.synced"))
