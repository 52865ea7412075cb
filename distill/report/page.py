"""The page: sections in order, one HTML file that loads nothing."""

import base64
import hashlib
import os
from functools import partial
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from distill.data.reader import VideoReader
from distill.errors import ReportError
from distill.report.agreement import across, against, agreement
from distill.report.blocks import Section
from distill.report.choice import pseudo_labels
from distill.report.closing import problems, provenance, when
from distill.report.cost import accuracy_and_cost, sweep
from distill.report.folder import RunFolder, read_folder
from distill.report.frames import Frames
from distill.report.headline import banners, headline
from distill.report.kinds import breakdown
from distill.report.learning import learning
from distill.report.text import breakable, clean
from distill.report.videos import videos
from distill.report.words import hint, words

REPORT = "report.html"


def write_report(folder: Path, reader: VideoReader | None, out: Path | None = None) -> Path:
    """Write the report of a run.

    Args:
        folder: that train_teacher, pseudo_label, train_student, evaluate or a sweep of students
            left.
        reader: of the videos, for their middle frames; None leaves frames out.
        out: of the page; None is ``report.html`` in the folder.

    Returns:
        Where it is.

    Raises:
        ReportError: the folder is none of a run, or the page cannot be written.
    """
    page = render(read_folder(folder), Frames(reader))
    path = Path(out) if out is not None else Path(folder) / REPORT
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(page, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ReportError(
            f"{path}: cannot be written ({error.strerror}); name another file with --out"
        ) from error
    return path


def sections(run: RunFolder, frames: Frames) -> list[Section]:
    """Those that the run has data for, in the order of the page."""
    makers = (
        headline, sweep, across, agreement, against, breakdown, accuracy_and_cost,
        partial(pseudo_labels, frames=frames), learning, partial(videos, frames=frames), problems,
        words, provenance,
    )  # fmt: skip
    return [section for make in makers if (section := make(run)) is not None]


def render(run: RunFolder, frames: Frames) -> str:
    """The HTML of a run; the same for the same folder and frames."""
    parts = files("distill.report").joinpath("templates")
    style, script = (parts.joinpath(n).read_text("utf-8") for n in ("page.css", "page.js"))
    environment = Environment(
        loader=PackageLoader("distill.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
    )
    environment.globals["hint"] = hint
    environment.filters["breakable"] = breakable
    return environment.get_template("page.html").render(
        run=run,
        name=" / ".join(run.path.parts[-2:]),
        when=when(run),
        banners=banners(run),
        sections=sections(run, frames),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _hash(text: str) -> str:
    """Of a block that the page's policy allows: no other style or script runs in it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
