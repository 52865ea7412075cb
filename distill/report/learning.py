"""The section on training: loss, validation, learning rate, waiting for videos."""

from typing import Any

from distill.report import learning_plots as plots
from distill.report.blocks import Figure, Figures, Heading, Section
from distill.report.folder import RunFolder
from distill.report.text import count


def learning(run: RunFolder) -> Section | None:
    """Curves of each part of a training, or of a labelling."""
    blocks: list[Any] = []
    for name, files in run.logs.items():
        columns = plots.read_metrics(files)
        figures = [
            Figure(title, plot, note)
            for title, plot, note in (
                ("Loss by part", plots.losses(columns), "Running means of ten steps."),
                ("Validation", plots.correlations(columns), ""),
                ("Learning rate", plots.rates(columns), ""),
                ("Speed", plots.speed(columns), ""),
                ("Waiting for videos", plots.waiting(columns), ""),
            )
            if plot
        ]
        if not figures:
            continue
        starts = f"in {count(len(files), 'start')}" if len(files) > 1 else ""
        if name or len(run.logs) > 1:
            blocks.append(Heading(name or "whole run", starts))
        blocks.append(Figures(figures))
    if not blocks:
        return None
    if run.kind == "pseudo_label":
        return Section("speed", "Speed", "A labelling that waits for videos is bound by decoding,"
                       " not by the network.", blocks)  # fmt: skip
    wait = run.result.get("data_wait")
    told = f" {wait:.0%} of the time it waited for videos." if isinstance(wait, float) else ""
    return Section(
        "learning", "Learning",
        "A loss that falls while validation does not is overfitting; a validation still rising at"
        f" the end wants more steps.{told}",
        blocks,
    )  # fmt: skip
