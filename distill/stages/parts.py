"""Parts of a training, trained one after the other: what is finished outlives a kill."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl

from distill import plots
from distill.config import TrainStudentConfig, TrainTeacherConfig
from distill.data.dataset import Example
from distill.data.identity import seed_of
from distill.data.manifest import Problem, Row
from distill.data.reader import VideoReader
from distill.model import QualityModel
from distill.runs import Run
from distill.stages.assess import Trained
from distill.stages.fit import optimise
from distill.tracking import Tracker, metric_files

log = logging.getLogger(__name__)
_DONE = "done.json"


def train_part(
    name: str,
    build: Callable[[], QualityModel],
    train: Sequence[Example],
    val: Sequence[Row],
    reader: VideoReader,
    config: TrainTeacherConfig | TrainStudentConfig,
    run: Run,
    tracker: Tracker,
    tables: Sequence[Path | str],
) -> Trained | None:
    """Train one part in a folder of its own, unless it was finished before.

    Args:
        name: of the part and its folder; W&B's keys start with it.
        build: the network to train.
        train: what it learns from.
        val: what the best epoch is chosen on.
        reader, run, tracker: of the command.
        config: of the command, as it is for this part.
        tables: that the videos come from, by ``Example.dataset``; for messages.

    Returns:
        None on every process but the first.

    Raises:
        Interrupted: a signal; a checkpoint was written.
    """
    folder = run.folder / name
    before = _finished(folder) if run.resumed else None
    if before is not None:
        log.info("%s: already finished", name)
        return before
    log.info("%s: %d videos to learn from, %d to choose on", name, len(train), len(val))
    # A function of the part's name alone, not of what was trained before it; and one of its own,
    # or folds would differ by their videos only.
    seed = seed_of(config.seed, name)
    pl.seed_everything(seed % 2**32, verbose=False)
    trained = optimise(
        build(), train, val, reader, config, folder, tracker.loggers(name), tables, seed,
        run.resumed,
    )  # fmt: skip
    if trained is not None:
        plots.curves(run.plots / f"curves_{name}.png", metric_files(folder))
        tracker.picture(f"plots/curves_{name}", run.plots / f"curves_{name}.png")
        _finish(folder, trained)
    return trained


def joined(parts: Sequence[Trained]) -> Trained:
    """All parts as one training, with the first one's checkpoint and no features."""
    return Trained(
        parts[0].checkpoint,
        minutes=sum(part.minutes for part in parts),
        steps=sum(part.steps for part in parts),
        data_wait=float(
            np.average([p.data_wait for p in parts], weights=[p.minutes + 1e-9 for p in parts])
        ),
        failed=list(dict.fromkeys(problem for part in parts for problem in part.failed)),
        select=parts[0].select,
    )


def _finish(folder: Path, trained: Trained) -> None:
    """Note a part that is trained; then what only its resumption needs goes."""
    assert trained.checkpoint is not None
    told = asdict(replace(trained, features=None)) | {"checkpoint": trained.checkpoint.name}
    written = folder / f"{_DONE}.tmp"
    written.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    written.replace(folder / _DONE)  # a torn one would stop a resumption
    for checkpoint in trained.checkpoint.parent.glob("*.ckpt"):
        if checkpoint != trained.checkpoint:
            checkpoint.unlink()


def _finished(folder: Path) -> Trained | None:
    """What a part left that was finished before; None where it has to be trained."""
    path = folder / _DONE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        told["checkpoint"] = folder / "checkpoints" / told["checkpoint"]
        told["failed"] = [Problem(**problem) for problem in told["failed"]]
        trained = Trained(**told)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s: %s; it is trained again", path, error)
        return None
    return trained if told["checkpoint"].is_file() else None
