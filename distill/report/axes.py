"""Axes of the report's plots: where a value stands, and which numbers are written beside it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A range of values, linear or logarithmic.

    Attributes:
        low, high: ends, low < high; both > 0 where ``log``.
        label: what is measured, with its unit.
        log: equal distances are equal factors.
    """

    low: float
    high: float
    label: str = ""
    log: bool = False

    @classmethod
    def around(
        cls, values: Iterable[float], label: str = "", *, log: bool = False, room: float = 0.05,
        least: float = 0.0,
    ) -> "Axis":  # fmt: skip
        """An axis that holds all finite values, with room at both ends.

        Args:
            values: to show; those that are not finite, and on a logarithmic axis those that are
                not positive, are left out.
            label: see ``Axis``.
            log: see ``Axis``.
            room: share of the range at each end.
            least: range of a linear axis at least, so that noise does not fill it.
        """
        kept = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        if not kept:
            return cls(1.0, 10.0, label, True) if log else cls(0.0, 1.0, label)
        low, high = min(kept), max(kept)
        if log:
            factor = max((high / low) ** room, 1.15)
            return cls(low / factor, high * factor, label, True)
        pad = room * (high - low) or max(abs(high), 1.0) * 0.05
        pad = max(pad, (least - (high - low)) / 2)
        return cls(low - pad, high + pad, label)

    def share(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Round values inside the range and how they are written.

        Args:
            count: about so many.
        """
        return _log_ticks(self.low, self.high, count) if self.log else self._linear(count)

    def _linear(self, count: int) -> list[tuple[float, str]]:
        rough = (self.high - self.low) / max(count, 1)
        scale = 10.0 ** math.floor(math.log10(rough))
        step = next(s * scale for s in _STEPS if s * scale >= rough * (1 - 1e-9))
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        if not math.isclose(step, round(step, digits), rel_tol=1e-9):
            digits += 1  # of a step of 2.5, 0.25 ...
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [(n * step, _number(n * step, digits)) for n in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        values = [m * 10.0**d for d in decades for m in mantissas]
        inside = [v for v in values if low <= v <= high]
        if len(inside) <= count + 2:
            break
    return [(v, f"{v:g}" if v < 1e5 else f"{v:.0e}") for v in inside]


def _number(value: float, digits: int) -> str:
    """With a real minus sign, and none before zero."""
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) else text
