"""The numbers that every run keeps, whether W&B is on or not."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger


def csv_logger(folder: Path, resumed: bool) -> CSVLogger:
    """A resumed run keeps what the earlier part logged: its own part goes beside it."""
    part = len(metric_files(folder)) if resumed else 0
    return CSVLogger(folder, name="", version=f"metrics_{part}" if part else "metrics")


def metric_files(folder: Path) -> list[Path]:
    """The CSV logs of a run, one for each time it was started or resumed."""
    return sorted(folder.glob("metrics*/metrics.csv"), key=lambda p: (len(p.parts[-2]), p))
