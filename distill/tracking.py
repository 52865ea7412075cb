"""Weights & Biases and CSV: the only file that knows W&B's keys and panels."""

import logging
import netrc
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger

from distill.config import StageConfig
from distill.options import TrackingConfig
from distill.runs import first_process

log = logging.getLogger(__name__)
_HOST_ENV, _DEFAULT_HOST = "WANDB_BASE_URL", "https://api.wandb.ai"


def resolve_mode(mode: str) -> tuple[str, str]:
    """The W&B mode that ``tracking.mode`` means here, and why.

    ``auto`` follows ``WANDB_MODE`` where it is set; else online where there is a key and the
    server answers, and offline otherwise. No frame and no number is sent to find out.
    """
    if mode != "auto":
        return mode, f"tracking.mode={mode}"
    wanted = os.environ.get("WANDB_MODE", "")
    if wanted in ("online", "offline"):
        return wanted, f"WANDB_MODE={wanted}"
    if wanted in ("disabled", "dryrun"):
        return ("off" if wanted == "disabled" else "offline"), f"WANDB_MODE={wanted}"
    host = urlparse(os.environ.get(_HOST_ENV) or _DEFAULT_HOST).hostname or ""
    if not os.environ.get("WANDB_API_KEY") and not _netrc_has(host):
        return "offline", "no W&B key (`wandb login` to send runs)"
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError:
        return "offline", f"{host} does not answer"
    return "online", "a W&B key and a network"


class Tracker:
    """What one run reports. Every method is harmless when W&B is off.

    Args:
        settings: ``tracking.*``.
        folder: the run directory; offline runs and the CSV are kept in it.
        stage: the command, W&B's job type.
        config: the options of the run.
        resumed: go on with the W&B run of this directory.
    """

    def __init__(
        self,
        settings: TrackingConfig,
        folder: Path,
        stage: str,
        config: StageConfig,
        resumed: bool = False,
    ) -> None:
        self.media = settings.media
        self.csv = _csv(folder, resumed)
        self._wandb: WandbLogger | None = None
        if not first_process():
            return
        mode, why = resolve_mode(settings.mode)
        hint = "" if mode == "off" else "; turn it off with tracking.mode=off"
        log.info("W&B: %s (%s)%s", mode, why, hint)
        if mode != "off":
            self._wandb = self._start(settings, folder, stage, config, mode, resumed)

    def _start(
        self, settings: TrackingConfig, folder: Path, stage: str, config: StageConfig, mode: str,
        resumed: bool,
    ) -> WandbLogger | None:  # fmt: skip
        os.environ.setdefault("WANDB_SILENT", "true")
        marker = folder / "wandb_id.txt"
        run_id = marker.read_text().strip() if resumed and marker.is_file() else None
        try:
            import wandb

            experiment = wandb.init(
                project=settings.project, entity=settings.entity, dir=str(folder),
                name=f"{stage} {folder.name}", job_type=stage, group=config.data.name,
                mode="offline" if mode == "offline" else "online", id=run_id,
                resume="allow" if run_id else None, config=asdict(config),
            )  # fmt: skip
            marker.write_text(str(experiment.id))
        except Exception as error:  # W&B must never stop a training run
            log.warning("W&B did not start, so this run is in its CSV only: %s", error)
            return None
        return WandbLogger(experiment=experiment)

    def loggers(self, part: str = "") -> list[Logger]:
        """For a Lightning Trainer.

        Args:
            part: of a run that trains several networks: a folder of the run, whose name stands
                before W&B's keys.
        """
        if not part:
            return [self.csv, *([self._wandb] if self._wandb else [])]
        folder = Path(self.csv.save_dir) / part
        found: list[Logger] = [_csv(folder, resumed=True)]
        if self._wandb:
            found.append(WandbLogger(experiment=self._wandb.experiment, prefix=part))
        return found

    def progress(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a moment of a run that trains nothing; ``step`` counts what is done."""
        for logger in self.loggers():
            logger.log_metrics(dict(values), step)
        if first_process():
            self.csv.save()

    def summary(self, values: Mapping[str, Any]) -> None:
        """Final figures of the run."""
        if self._wandb:
            self._wandb.experiment.summary.update(dict(values))

    def picture(self, key: str, path: Path) -> None:
        """A plot without video frames."""
        if self._wandb:
            import wandb

            self._wandb.experiment.log({key: wandb.Image(str(path))})

    def frames(self, key: str, path: Path) -> None:
        """A picture that shows video frames: sent only with ``tracking.media=true``."""
        if self.media:
            self.picture(key, path)

    def predictions(self, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table of scores, with a scatter panel where it has ``mos`` and ``predicted``."""
        if self._wandb and rows:
            import wandb

            columns = list(rows[0])
            table = wandb.Table(
                columns=[*columns], data=[[row[c] for c in columns] for row in rows]
            )
            self._wandb.experiment.log({f"{key}/table": table})
            if {"mos", "predicted"} <= set(columns):
                panel = wandb.plot.scatter(table, "mos", "predicted", title=key)
                self._wandb.experiment.log({f"{key}/scatter": panel})

    def histogram(self, key: str, values: Sequence[float]) -> None:
        """A distribution."""
        if self._wandb:
            import wandb

            self._wandb.experiment.log({key: wandb.Histogram(list(values))})

    def close(self) -> None:
        """Finish; offline runs are complete on disk after this."""
        if self._wandb:
            self._wandb.experiment.finish()


def finish() -> None:
    """End a W&B run that a failed command left open, so that the next of a sweep has its own."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=1)


def _csv(folder: Path, resumed: bool) -> CSVLogger:
    """A resumed run keeps what the earlier part logged: its own part goes beside it."""
    part = len(metric_files(folder)) if resumed else 0
    return CSVLogger(folder, name="", version=f"metrics_{part}" if part else "metrics")


def metric_files(folder: Path) -> list[Path]:
    """The CSV logs of a run, one for each time it was started or resumed."""
    return sorted(folder.glob("metrics*/metrics.csv"), key=lambda p: (len(p.parts[-2]), p))


def _netrc_has(host: str) -> bool:
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
