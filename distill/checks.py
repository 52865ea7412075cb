"""Checks of single options, and their messages: each names the option and its value."""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from distill.errors import ConfigError


def at_least(option: str, value: float | None, low: float) -> None:
    """Raises ConfigError unless value is None, or finite and >= low."""
    if value is None:
        return
    if not math.isfinite(value):
        raise ConfigError(f"{option}={value} is not a finite number")
    if value < low:
        raise ConfigError(f"{option}={value} must be at least {low}")


def above(option: str, value: float, low: float) -> None:
    """Raises ConfigError unless value is finite and > low."""
    if not (math.isfinite(value) and value > low):
        raise ConfigError(f"{option}={value} must be a finite number above {low}")


def between(option: str, value: float, low: float, high: float) -> None:
    """Raises ConfigError unless low <= value <= high."""
    if not low <= value <= high:
        raise ConfigError(f"{option}={value} must lie between {low} and {high}")


def one_of(option: str, value: str, choices: Iterable[str]) -> None:
    """Raises ConfigError unless value is one of the choices."""
    choices = list(choices)
    if value not in choices:
        close = get_close_matches(str(value), choices, 1)
        hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(choices)}"
        raise ConfigError(f"{option}={value!r} is not a choice; {hint}")


def as_list(value: Any) -> list[str]:
    """A list of strings from one string, a list, or None."""
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]


def unknown_option(name: str, known: Iterable[str]) -> str:
    """The message for an option that does not exist, with the nearest ones that do."""
    known = sorted(set(known))
    close = get_close_matches(name, known, 3, 0.6)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
    return f"unknown option {name!r}; {hint}"
