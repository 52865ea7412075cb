"""SRCC and bias of each model by kind of video, from the breakdowns of an evaluation."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from distill.report.axes import Axis
from distill.report.svg import Plot, legend
from distill.report.text import count, fixed, interval, is_number, short

MOST_MODELS = 4  # that colours and shapes tell apart
_STYLES = (("c1", "circle"), ("c2", "square"), ("c3", "diamond"), ("c4", "triangle"))
_LINE = 13.0  # pixels between the models of a kind
_ROOM = 24.0  # above them, for the kind's name


def by_kind(
    rows: Sequence[dict[str, Any]], models: Sequence[str], number: str, label: str, reference: float
) -> Markup:
    """A row for each kind of video that has the number, in it a mark for each model.

    Args:
        rows: of one table and column, in the order of the kinds.
        models: at most ``MOST_MODELS`` names.
        number: ``srcc``, which has intervals, or ``bias``.
        label: of the axis.
        reference: value with a line of its own.
    """
    known = [row for row in rows if is_number(row.get(number))]
    kinds = list(dict.fromkeys(str(row.get("value", "")) for row in known))
    ends = [row[number] for row in known]
    if number == "srcc":
        ends += [row[end] for row in known for end in ("low", "high") if is_number(row.get(end))]
    pitch = _ROOM + _LINE * len(models)
    plot = Plot(
        f"{label} of {', '.join(models)} by kind: {', '.join(kinds)}",
        Axis.around([*ends, reference], label), Axis(0.0, pitch * len(kinds)),
        height=56 + pitch * len(kinds), left=14, right=14,
    )  # fmt: skip
    plot.grid(y=False)
    plot.rule(plot.px(reference), plot.top, plot.px(reference), plot.height - plot.bottom, "zero")
    for at, kind in enumerate(kinds):
        top = pitch * (len(kinds) - at)
        own = [row for row in rows if str(row.get("value", "")) == kind]
        videos = max((int(row.get("n") or 0) for row in own), default=0)
        plot.text(plot.left, plot.py(top) + 15, short(kind or "(empty)", 34), "name start")
        right = plot.width - plot.right
        plot.text(right, plot.py(top) + 15, count(videos, "video"), "name end")
        for line, model in enumerate(models):
            row = next((row for row in own if row.get("name") == model), {})
            value, level = row.get(number), top - _ROOM - _LINE * (line + 0.2)
            if not is_number(value):
                continue
            style, shape = _STYLES[line]
            low, high = (row.get("low"), row.get("high")) if number == "srcc" else (None, None)
            if is_number(low) and is_number(high):
                plot.line([(low, level), (high, level)], f"{style} whisker")
            tip = f"{model}\n{kind or '(empty)'}: {label} {fixed(value)} {interval(low, high)}"
            plot.mark(float(value), level, f"{style} solid", tip.strip(), shape=shape, r=4.5)
    keys = [(f"{style} solid", shape, model)
            for model, (style, shape) in zip(models, _STYLES, strict=False)]  # fmt: skip
    return plot.render() + (legend(keys) if len(models) > 1 else Markup(""))
