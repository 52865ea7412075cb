"""A run's HTML report, made at its end; one that fails never fails the run."""

import logging
from pathlib import Path

import yaml

from distill.config import StageConfig
from distill.data.reader import VideoReader
from distill.runs import CONFIG, first_process

log = logging.getLogger(__name__)


def report(folder: Path, config: StageConfig, reader: VideoReader) -> Path | None:
    """Write ``report.html`` into a finished run's folder, where the options want one.

    Args:
        folder: of the run.
        config: of the command.
        reader: of the videos, whose small frames go into the page with ``report_frames``.

    Returns:
        The page; None where there is none.
    """
    if not config.report or not first_process():
        return None
    page = _written(folder, reader if config.report_frames else None)
    if page is not None:
        log.info("report: %s", page)
    return page


def report_sweep(sweep: Path) -> Path | None:
    """Write the page of a sweep, as the options of its first run say.

    Args:
        sweep: folder of the sweep, with its table.

    Returns:
        The page; None where there is none.
    """
    for path in sorted(sweep.glob(f"*/{CONFIG}")):
        if not (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("report", True):
            return None
        break
    return _written(sweep, None)


def _written(folder: Path, reader: VideoReader | None) -> Path | None:
    try:
        from distill.report import write_report  # jinja2 and the page: for those who want them

        return write_report(folder, reader)
    except Exception as error:  # whatever it is, the run's own results are written and sound
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        log.warning(
            "no report: %s; the run itself is complete; try again: python -m distill.report %s",
            reason, folder,
        )  # fmt: skip
        return None
