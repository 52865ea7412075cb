"""What a section of the page is made of; ``templates/page.html`` has a macro for each kind."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from markupsafe import Markup

from distill.report.text import fixed, gmacs, is_number


@dataclass(frozen=True)
class Cell:
    """Of a table: what is written, and what it is sorted by where that differs."""

    text: str
    sort: float | None = None
    style: str = ""


@dataclass(frozen=True)
class Table:
    """Rows that a click on a column's head sorts.

    The first column stays in view where a phone is narrower than the table.

    Attributes:
        columns: names; those in ``words`` hold text, the others numbers.
        rows: cells of each.
        words: columns of text, aligned to the left.
        caption: a line above it.
        note: a line below it.
        long: columns of whole sentences.
        fold: heading under which the table is folded away; empty shows it.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: frozenset[str] = frozenset()
    caption: str = ""
    note: str = ""
    long: frozenset[str] = frozenset({"source", "reason", "error"})
    fold: str = ""

    def without_constant(self, *names: str) -> "Table":
        """The same without those of the named columns that say one thing in every row."""
        keep = [
            at
            for at, name in enumerate(self.columns)
            if name not in names or len({row[at].text for row in self.rows}) > 1
        ]
        rows = [[row[at] for at in keep] for row in self.rows]
        return replace(self, columns=[self.columns[at] for at in keep], rows=rows)


@dataclass(frozen=True)
class Figure:
    """A plot, its title and, where one is needed, a sentence on how to read it."""

    title: str
    plot: Markup
    note: str = ""
    style: str = ""


@dataclass(frozen=True)
class Figures:
    """Plots, two in a row where there is room; three with the style ``thirds``."""

    kind: ClassVar[str] = "figures"
    items: Sequence[Figure]
    style: str = ""


@dataclass(frozen=True)
class Tile:
    """A number that stands out."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """Numbers that stand out, in a row."""

    kind: ClassVar[str] = "tiles"
    items: Sequence[Tile]


@dataclass(frozen=True)
class Heading:
    """Of a part of a section."""

    kind: ClassVar[str] = "heading"
    text: str
    note: str = ""


@dataclass(frozen=True)
class Lines:
    """Sentences, as a list."""

    kind: ClassVar[str] = "lines"
    items: Sequence[str]


@dataclass(frozen=True)
class Answers:
    """What a reader asks first, and a few sentences on each."""

    kind: ClassVar[str] = "answers"
    items: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Fold:
    """Blocks under a heading that opens them.

    Attributes:
        title, note: of the heading.
        blocks: of any kind but this.
    """

    kind: ClassVar[str] = "fold"
    title: str
    blocks: Sequence[Any]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values, to copy; with the style ``prose`` to read."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]
    style: str = ""


@dataclass(frozen=True)
class Card:
    """A video.

    Attributes:
        image: data URI of a frame; empty where there is none.
        size: its width and height.
        reason: why there is none.
        name: of the video.
        label: shorter, for the card; the name where empty.
        badge: a number in the corner.
        lines: what is told of it.
        plot: its scores over time; empty without.
    """

    name: str
    image: str = ""
    size: tuple[int, int] = (0, 0)
    reason: str = ""
    badge: str = ""
    lines: Sequence[str] = ()
    plot: Markup = field(default_factory=Markup)
    label: str = ""


@dataclass(frozen=True)
class Cards:
    """Videos under a title."""

    kind: ClassVar[str] = "cards"
    title: str
    note: str
    items: Sequence[Card]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: anchor, unique on the page.
        title: of the section.
        lead: what to see in it, one sentence.
        blocks: of the kinds above.
    """

    name: str
    title: str
    lead: str
    blocks: Sequence[Any]


def num(value: Any, digits: int = 3, sign: bool = False) -> Cell:
    """A number of a table."""
    return Cell(fixed(value, digits, sign), float(value) if is_number(value) else None)


def cost(value: Any) -> Cell:
    """GMACs of a table."""
    return Cell(gmacs(value), float(value) if is_number(value) else None)


def whole(value: Any) -> Cell:
    """A count of a table."""
    return num(value, 0)
