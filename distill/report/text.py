"""How the report writes numbers and names."""

import math
import re
from collections.abc import Sequence
from typing import Any, TypeGuard

from markupsafe import Markup

# What would turn a line round, hide letters, or is not allowed in HTML: of names in a user's table.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\uffff\ud800-\udfff]"
)

_HYPHEN = re.compile(r"(?<=[ \[])-(?=\d)")


def minus(text: str) -> str:
    """Text whose negative numbers have a minus in the place of a hyphen."""
    return _HYPHEN.sub("−", text)


def clean(text: Any) -> str:
    """Text with a visible mark in the place of letters that steer a display."""
    return _HARMFUL.sub("\ufffd", str(text))


def breakable(text: Any) -> Markup:
    """Text whose long names may go on in the next line after an underscore or a slash."""
    parts = re.split(r"(?<=[_/])(?=[^_/])", clean(text))
    return Markup("<wbr>").join(parts)


def command(words: str, line: str) -> Markup:
    """Words, and after them a line to type."""
    return Markup("{} <code>{}</code>").format(clean(words), clean(line))


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; of many the first three and how many more."""
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} others"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fixed(value: Any, digits: int = 3, sign: bool = False) -> str:
    """A number with so many digits after the point; a dash where there is none."""
    if not is_number(value):
        return "–"
    text = f"{abs(value):.{digits}f}"
    if value < 0 and float(text):
        return f"−{text}"
    return f"+{text}" if sign else text


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """``[low, high]``; empty where an end is missing."""
    if not (is_number(low) and is_number(high)):
        return ""
    return f"[{fixed(low, digits)}, {fixed(high, digits)}]"


def gmacs(value: Any) -> str:
    """A cost with three digits that count, as 0.377, 1.51, 47.9 or 1060."""
    if not is_number(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")


def number(text: Any) -> float:
    """What a cell of a table says; NaN where it is empty or no number."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def short(name: str, letters: int) -> str:
    """The end of a long name, where versions of a video differ."""
    name = clean(name)
    return name if len(name) <= letters else f"…{name[1 - letters :]}"


def count(number_: int, one: str, many: str = "") -> str:
    """``1 video``, ``2 videos``."""
    return f"{number_} {one if number_ == 1 else many or one + 's'}"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names without the folders that all of them begin with."""
    parts = [name.split("/") for name in names]
    same = 0
    while parts and all(len(p) > same + 1 and p[: same + 1] == parts[0][: same + 1] for p in parts):
        same += 1
    return {name: "/".join(p[same:]) for name, p in zip(names, parts, strict=True)}
