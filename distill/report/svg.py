"""A plot as inline SVG: colours come from the page's classes, so it follows light, dark and print.

Lengths are units of the plot's own box; at its natural width one is a CSS pixel. A mark with a
``tip`` says it when it is pointed at or tapped.
"""

from collections.abc import Sequence

from markupsafe import Markup

from distill.report.axes import Axis
from distill.report.text import clean

WIDTH = 400  # of a plot in half the page; on a phone it shrinks to 0.8 of it
_TICKS = 5  # numbers of an axis, about


class Plot:
    """Marks over two axes.

    Args:
        alt: what the plot shows, in words, for those who cannot see it.
        x, y: axes.
        width, height: of the box.
        left, right, top, bottom: margins between the box and the field of the marks; left of None
            has room for the numbers of the y axis.
    """

    def __init__(
        self, alt: str, x: Axis, y: Axis, *, width: float = WIDTH, height: float = 300,
        left: float | None = None, right: float = 12, top: float = 12, bottom: float = 44,
    ) -> None:  # fmt: skip
        self.alt, self.x, self.y = alt, x, y
        self.width, self.height = width, height
        if left is None:
            longest = max((len(text) for _, text in y.ticks(_TICKS)), default=1)
            left = 30 + 7.5 * longest if y.label else 12 + 7.5 * longest
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.parts: list[Markup] = []

    def px(self, value: float) -> float:
        """Of a value on the x axis."""
        return self.left + self.x.share(value) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        """Of a value on the y axis."""
        field = self.height - self.top - self.bottom
        return self.top + (1 - self.y.share(value)) * field

    def grid(self, *, y: bool = True, ticks: int = _TICKS) -> None:
        """Lines and numbers of the axes, and what they measure.

        Args:
            y: of the y axis too.
            ticks: about so many numbers on the x axis.
        """
        bottom, right = self.height - self.bottom, self.width - self.right
        for value, text in self.x.ticks(ticks):
            at = self.px(value)
            self.rule(at, self.top, at, bottom, "grid")
            self.text(at, bottom + 16, text, "tick middle")
        for value, text in self.y.ticks(_TICKS) if y else ():
            at = self.py(value)
            self.rule(self.left, at, right, at, "grid")
            self.text(self.left - 7, at + 4, text, "tick end")
        self.rule(self.left, bottom, right, bottom, "axis")
        if self.x.label:
            self.text((self.left + right) / 2, self.height - 8, self.x.label, "label middle")
        if self.y.label:
            x_, y_ = 12.0, (self.top + bottom) / 2
            self.parts.append(
                Markup('<text class="label middle" transform="translate({} {}) rotate(-90)">{}')
                .format(_n(x_), _n(y_), clean(self.y.label))
                + Markup("</text>")
            )  # fmt: skip

    def rule(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """A straight line between points of the box."""
        self.parts.append(
            Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
                style, _n(x1), _n(y1), _n(x2), _n(y2)
            )
        )

    def text(self, x: float, y: float, text: str, style: str) -> None:
        """Words at a point of the box; ``start``, ``middle`` or ``end`` aligns them."""
        self.parts.append(
            Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
                style, _n(x), _n(y), clean(text)
            )
        )

    def line(
        self, points: Sequence[tuple[float, float]], style: str, *, steps: bool = False
    ) -> None:
        """A line through points of the axes; with ``steps`` level until the next."""
        words, before = [], 0.0
        for at, (x, y) in enumerate(points):
            if at and steps:
                words.append(f"L{_n(self.px(x))} {_n(before)}")
            before = self.py(y)
            words.append(f"{'L' if at else 'M'}{_n(self.px(x))} {_n(before)}")
        self.parts.append(Markup('<path class="line {}" d="{}"/>').format(style, "".join(words)))

    def mark(
        self, x: float, y: float, style: str, tip: str = "", *, shape: str = "circle", r: float = 4
    ) -> None:
        """A mark at a point of the axes.

        Args:
            x, y: values.
            style: classes.
            tip: said when it is pointed at.
            shape: circle, square, diamond or triangle; also without colour they differ.
            r: half its width.
        """
        cx, cy = self.px(x), self.py(y)
        told = Markup(' data-tip="{}"').format(clean(tip)) if tip else Markup("")
        if shape == "circle":
            head = Markup('<circle cx="{}" cy="{}" r="{}"').format(_n(cx), _n(cy), _n(r))
        else:
            corners = {
                "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
                "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
                "triangle": [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
            }[shape]
            ends = " ".join(f"{_n(cx + r * dx)},{_n(cy + r * dy)}" for dx, dy in corners)
            head = Markup('<polygon points="{}"').format(ends)
        self.parts.append(head + Markup(' class="{}"').format(style) + told + Markup("/>"))

    def box(
        self, x: float, y: float, width: float, height: float, style: str, tip: str = ""
    ) -> None:
        """A rectangle of the box."""
        told = Markup(' data-tip="{}"').format(clean(tip)) if tip else Markup("")
        self.parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"').format(
                style, _n(x), _n(y), _n(max(width, 0)), _n(max(height, 0))
            )
            + told
            + Markup("/>")
        )

    def render(self, style: str = "") -> Markup:
        """The ``svg`` element; one whose marks say something takes the focus of a keyboard."""
        # A small plot is part of a card, which is a button.
        told = style != "spark" and any("data-tip=" in part for part in self.parts)
        focus = Markup(' tabindex="0"') if told else Markup("")
        return (
            Markup('<svg class="plot {}" role="img"{} aria-label="{}" viewBox="0 0 {} {}">').format(
                style, focus, clean(self.alt), _n(self.width), _n(self.height)
            )
            + Markup("").join(self.parts)
            + Markup("</svg>")
        )


def legend(entries: Sequence[tuple[str, str, str]]) -> Markup:
    """What the colours and shapes of a plot mean, as HTML that wraps on a phone.

    Args:
        entries: (classes, shape as of ``Plot.mark`` or ``line``, words).
    """
    shapes = {
        "circle": '<circle cx="8" cy="7" r="4.5"',
        "square": '<rect x="3.5" y="2.5" width="9" height="9"',
        "diamond": '<polygon points="8,1.5 13.5,7 8,12.5 2.5,7"',
        "triangle": '<polygon points="8,2 13,11.5 3,11.5"',
        "line": '<path d="M-2 7H18"',
    }
    out = Markup("")
    for style, shape, words in entries:
        style = f"line {style}" if shape == "line" else style
        out += Markup('<span class="key"><svg viewBox="0 0 16 14" aria-hidden="true">')
        out += Markup(shapes[shape]) + Markup(' class="{}"/></svg>{}</span>').format(
            style, clean(words)
        )
    return Markup('<div class="legend">') + out + Markup("</div>")


def _n(value: float) -> str:
    """A coordinate to a tenth, in few letters."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
