"""Learning curves from the tables of metrics that a training writes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from distill.report.axes import Axis
from distill.report.statistics import running_mean, thinned
from distill.report.svg import Plot, legend
from distill.report.text import fixed, number

# Also without colour they differ.
_STYLES = ("c1", "c2", "c3 dashed", "c4 dotted", "c5 long", "c6 mixed")
_MOST = 300  # points of a line
_LEAST = 0.1  # range of an axis of correlations: less is noise of a validation set
_ALONE = ("data_wait",)  # not parts of the loss

Series = Mapping[str, Mapping[int, float]]  # name -> step -> value


def read_metrics(files: Sequence[Path]) -> dict[str, dict[int, float]]:
    """Columns of tables of one training; of a step in two of them the later start counts.

    Args:
        files: ``metrics.csv`` of each start, the first one first.

    Returns:
        Name -> step -> value; cells without a number are left out.
    """
    found: dict[str, dict[int, float]] = {}
    for file in files:
        with file.open(newline="", encoding="utf-8") as table:
            for row in csv.DictReader(table):
                step = number(row.get("step"))
                for name, cell in row.items():
                    value = number(cell)
                    if name and name not in ("step", "epoch") and step == step and value == value:
                        found.setdefault(name, {})[int(step)] = value
    return {name: dict(sorted(points.items())) for name, points in found.items()}


def losses(columns: Series) -> Markup:
    """The loss and its parts, as running means of ten steps; empty where none was logged."""
    parts = {
        name.removeprefix("train/"): points
        for name, points in columns.items()
        if name.startswith("train/") and name.removeprefix("train/") not in _ALONE
        and not _is_rate(name)
    }  # fmt: skip
    order = sorted(parts, key=lambda name: (name != "loss", name))
    return _lines({name: parts[name] for name in order}, "training loss", smooth=True)


def correlations(columns: Series) -> Markup:
    """SRCC and PLCC on validation; empty where none was logged."""
    names = [name for name in ("val/srcc", "val/plcc", "val/krcc") if columns.get(name)]
    wanted = {name.removeprefix("val/").upper(): columns[name] for name in names}
    return _lines(wanted, "validation correlation", dots=True, least=_LEAST)


def rates(columns: Series) -> Markup:
    """Learning rates; empty where none was logged."""
    return _lines({k: v for k, v in columns.items() if _is_rate(k)}, "learning rate")


def waiting(columns: Series) -> Markup:
    """Share of its time that a step or a labelling waited for videos; empty without."""
    label, what = "% of time", "waiting for videos"
    training = columns.get("train/data_wait")
    points = training or _of_labelling(columns, "data_wait")
    shares = {step: 100 * share for step, share in points.items()}
    over = "step" if training else "videos labelled"
    return _lines({what: shares}, label, smooth=bool(training), over=over, digits=1)


def speed(columns: Series) -> Markup:
    """Videos a second of a labelling; empty where none was logged."""
    points = _of_labelling(columns, "videos_per_second")
    return _lines({"videos a second": points}, "videos a second", over="videos labelled")


def _of_labelling(columns: Series, name: str) -> Mapping[int, float]:
    """A column under the name that this version or an older one gives it."""
    return columns.get(f"labels/{name}") or columns.get(f"labelling/{name}") or {}


def _is_rate(name: str) -> bool:
    return name.startswith("lr") or "/lr" in name


def _lines(
    series: Series, label: str, *, smooth: bool = False, dots: bool = False, over: str = "step",
    least: float = 0.0, digits: int = 4,
) -> Markup:  # fmt: skip
    series = {name: points for name, points in series.items() if len(points) > 1}
    if not series:
        return Markup("")
    drawn: dict[str, list[tuple[float, float]]] = {}
    for name, points in series.items():
        steps, values = list(points), list(points.values())
        level = running_mean(values).tolist() if smooth else values
        drawn[name] = [(float(steps[i]), level[i]) for i in thinned(len(steps), _MOST)]
    last = max(point[0] for line in drawn.values() for point in line)
    first = min(point[0] for line in drawn.values() for point in line)
    plot = Plot(
        f"{label} by {over}: {', '.join(drawn)}",
        Axis(first, max(last, first + 1), over),
        Axis.around([y for line in drawn.values() for _, y in line], label, least=least),
        height=260,
    )  # fmt: skip
    plot.grid()
    keys = []
    for at, (name, line) in enumerate(drawn.items()):
        style = _STYLES[at % len(_STYLES)]
        colour = style.split()[0]
        plot.line(line, f"{style} thick" if at == 0 else style)
        # Lines carry no words of their own: some of their points do.
        for i in thinned(len(line), 40):
            x, y = line[i]
            tip = f"{name}\n{over} {x:.0f}: {fixed(y, digits)}"
            plot.mark(x, y, f"{colour} solid" if dots else "ghost", tip, r=3)
        keys.append((f"{style} thick" if at == 0 else style, "line", name))
    return plot.render() + (legend(keys) if len(keys) > 1 else Markup(""))
