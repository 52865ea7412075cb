"""What one run reports to its CSV and to Weights & Biases; keys are listed in docs/tracking.md."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger

from distill.config import StageConfig
from distill.options import TrackingConfig
from distill.runs import first_process
from distill.tracking.artifacts import kept_in, send_card, send_files
from distill.tracking.cards import Card, finite
from distill.tracking.csv_log import csv_logger
from distill.tracking.lineage import choose_group, read_note, run_name, write_note
from distill.tracking.modes import resolve_mode
from distill.tracking.privacy import no_error_reports, private_settings, without_paths
from distill.tracking.tables import MOST_PICTURES, MOST_ROWS, Picture, Rows, sent, write_table

log = logging.getLogger(__name__)


class Tracker:
    """What one run reports. Every method is harmless when W&B is off.

    Args:
        settings: ``tracking.*``.
        folder: the run directory; offline runs and the CSV are kept in it.
        stage: the command, W&B's job type.
        config: the options of the run.
        resumed: go on with the W&B run of this directory.
        origins: groups of what the run takes in, the closest first; see ``choose_group``.

    Attributes:
        group: that the run belongs to, whether W&B is on or not; bundles and stores hand it on.
    """

    def __init__(
        self,
        settings: TrackingConfig,
        folder: Path,
        stage: str,
        config: StageConfig,
        resumed: bool = False,
        origins: Sequence[str | None] = (),
    ) -> None:
        self.csv = csv_logger(folder, resumed)
        self.group = ""
        self._settings, self._folder = settings, folder
        self._names = settings.names or settings.media  # a frame shows more than a name
        self._wandb: WandbLogger | None = None
        if not first_process():
            return
        before = read_note(folder) if resumed else {}
        self.group = choose_group(settings.group, [before.get("group"), *origins], config.data.name)
        write_note(folder, group=self.group)
        if not self._names:
            no_error_reports()
        mode, why = resolve_mode(settings.mode)
        hint = "" if mode == "off" else "; turn it off with tracking.mode=off"
        log.info("W&B: %s (%s)%s", mode, why, hint)
        if mode != "off":
            self._wandb = self._start(stage, config, mode, before.get("wandb_id"))

    def _start(
        self, stage: str, config: StageConfig, mode: str, run_id: str | None
    ) -> WandbLogger | None:
        os.environ.setdefault("WANDB_SILENT", "true")
        options = asdict(config)
        shown = options if self._names else without_paths(options)
        try:
            import wandb

            private = {} if self._names else private_settings()
            experiment = wandb.init(
                project=self._settings.project, entity=self._settings.entity,
                dir=str(self._folder), name=run_name(stage, options, self._folder),
                job_type=stage, group=self.group,
                mode="offline" if mode == "offline" else "online", id=run_id,
                resume="allow" if run_id else None, config=shown,
                settings=wandb.Settings(**private),
            )  # fmt: skip
            write_note(
                self._folder, wandb_id=str(experiment.id), place=str(self._folder.absolute())
            )
        except Exception as error:  # W&B must never stop a training run
            log.warning("W&B did not start, so this run is in its CSV only: %s", error)
            return None
        return WandbLogger(experiment=experiment)

    @property
    def active(self) -> bool:
        """Whether W&B is on: what is costly to make is made for it alone."""
        return self._wandb is not None

    def loggers(self, part: str = "") -> list[Logger]:
        """For a Lightning Trainer.

        Args:
            part: of a run that trains several networks: a folder of the run, whose name stands
                before W&B's keys.
        """
        if not part:
            return [self.csv, *([self._wandb] if self._wandb else [])]
        folder = Path(self.csv.save_dir) / part
        found: list[Logger] = [csv_logger(folder, resumed=True)]
        if self._wandb:
            found.append(WandbLogger(experiment=self._wandb.experiment, prefix=part))
        return found

    def progress(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a moment of a run that trains nothing; ``step`` counts what is done."""
        for logger in self.loggers():
            logger.log_metrics(dict(values), step)
        if first_process():
            self.csv.save()

    def summary(self, values: Mapping[str, Any], prefix: str = "") -> None:
        """Final figures of the run, each under its name behind ``prefix/``."""
        if self._wandb:
            start = f"{prefix}/" if prefix else ""
            figures = {f"{start}{name}": finite(value) for name, value in values.items()}
            self._wandb.experiment.summary.update(figures)

    def picture(self, key: str, path: Path) -> None:
        """A plot without video frames."""
        if self._wandb:
            import wandb

            self._log({key: wandb.Image(str(path))})

    def frames(self, key: str, path: Path) -> None:
        """A picture that shows video frames: sent only with ``tracking.media=true``."""
        if self._settings.media:
            self.picture(key, path)

    def table(self, key: str, rows: Rows, picture: Picture | None = None) -> None:
        """A table of videos; the run directory keeps it with all names.

        Args:
            key: of W&B, and of the file.
            rows: the most telling ones first; none makes no table. All have the same columns,
                of which ``video`` and ``group`` are names.
            picture: the thumbnail of a row by its position; asked for the first rows, and only
                with ``tracking.media=true``.
        """
        if not self._wandb or not rows:
            return
        import wandb

        write_table(self._folder, key, rows)
        columns, cells = sent(rows[:MOST_ROWS], self._names)
        if picture is not None and self._settings.media:
            columns.append("frame")
            for at, line in enumerate(cells):
                found = picture(at) if at < MOST_PICTURES else None
                line.append(None if found is None else wandb.Image(found))
        # Optional: a first row without a value would otherwise forbid all others to have one.
        table = wandb.Table(columns=columns, data=cells, optional=True)
        self._log({key: table})

    def agreement(self, key: str, mos: Sequence[float], predicted: Sequence[float]) -> None:
        """Charts of scores against MOS: ``key/scatter``, and their errors as ``key/residuals``."""
        if not self._wandb:
            return
        import wandb

        data = [[m, p, p - m] for m, p in zip(mos, predicted, strict=True)]
        table = wandb.Table(columns=["mos", "predicted", "residual"], data=data[:MOST_ROWS])
        self._log({f"{key}/scatter": wandb.plot.scatter(table, "mos", "predicted", title=key)})
        title = f"{key}: predicted minus MOS"
        self._log({f"{key}/residuals": wandb.plot.histogram(table, "residual", title=title)})

    def lines(self, key: str, series: Mapping[str, Sequence[float]], x: str) -> None:
        """A chart with a line for each series over the positions 0, 1, ... that ``x`` names."""
        if not self._wandb or not series:
            return
        import wandb

        chart = wandb.plot.line_series(
            xs=[list(range(len(values))) for values in series.values()],
            ys=[list(values) for values in series.values()], keys=list(series), title=key, xname=x,
        )  # fmt: skip
        self._log({key: chart})

    def histogram(self, key: str, values: Sequence[float]) -> None:
        """A distribution."""
        if self._wandb and len(values):
            import wandb

            self._log({key: wandb.Histogram(list(values))})

    def uses(self, card: Card) -> None:
        """Something that the run takes in: an arrow to it in W&B's graph."""
        self._artifact(card, used=True)

    def makes(self, card: Card, bundle: Path | None = None) -> None:
        """Something that the run makes.

        Args:
            card: of it.
            bundle: its folder, whose files are sent with ``tracking.upload_models=true``.
        """
        self._artifact(card, used=False)
        if bundle is not None and self._settings.upload_models and self._wandb:
            send_files(self._wandb.experiment, card, bundle, self._folder)

    def _artifact(self, card: Card, used: bool) -> None:
        if self._wandb:
            send_card(self._wandb.experiment, card, used, self._folder)

    def _log(self, values: dict[str, Any]) -> None:
        assert self._wandb is not None
        with kept_in(self._folder):
            self._wandb.experiment.log(values)

    def close(self) -> None:
        """Finish; offline runs are complete on disk after this."""
        if self._wandb:
            self._wandb.experiment.finish()


def finish() -> None:
    """End a W&B run that a failed command left open, so that the next of a sweep has its own."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=1)
