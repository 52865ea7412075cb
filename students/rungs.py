"""The ladder that ``student=fit`` climbs: students by cost, and what each has measured.

``measured.csv`` beside this file holds a row for every finished training of a rung
(benchmarks/student_front.py appends them). ``python -m students.rungs`` prints the ladder.
"""

import csv
import logging
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import yaml

from distill.budget import Caps, check_caps
from distill.errors import BudgetError, ConfigError
from distill.leaving import leave
from distill.model import network_class
from distill.weights import available
from teachers.torchvision_swin import PREFIX, published_weights

log = logging.getLogger(__name__)
MEASURED = Path(__file__).with_name("measured.csv")
ARM = "distilled"  # how the rungs that are compared were trained: see benchmarks/student_front.py
COLUMNS = ("rung arm seed val_srcc val_plcc minutes steps gmacs params_m data date commit").split()


@dataclass(frozen=True)
class Rung:
    """A student that can be trained.

    Attributes:
        name: in the table of what was measured.
        student: choice of ``conf/student``.
        gmacs: fvcore multiply-adds a video, 1e9, rounded up.
        params_m: parameters, 1e6.
        options: what it changes of that choice.
    """

    name: str
    student: str
    gmacs: float
    params_m: float
    options: Mapping[str, Any] = field(default_factory=dict)

    def node(self) -> dict[str, Any]:
        """Class and arguments, as the option group ``student`` has them."""
        text = files("conf").joinpath("student", f"{self.student}.yaml").read_text("utf-8")
        return {**yaml.safe_load(text), **self.options}


_LITE2: dict[str, Any] = {"backbone": "tf_efficientnet_lite2", "num_frames": 8}
RUNGS = (
    Rung("mixed_lite0_1x224", "mixed_view", 0.378, 3.22, {"num_frames": 1}),
    Rung("mixed_lite0_4x224", "mixed_view", 1.510, 3.22),
    Rung("compact_4x224", "compact", 3.019, 3.22),
    Rung("mixed_lite2_8x224", "mixed_view", 4.574, 4.64, _LITE2),
    Rung("mixed_lite2_16x224", "mixed_view", 9.147, 4.64, {**_LITE2, "num_frames": 16}),
    Rung("mixed_lite2_8x320", "mixed_view", 9.331, 4.64, {**_LITE2, "size": 320, "whole": 192}),
    Rung("mixed_lite2_8x448", "mixed_view", 18.286, 4.64, {**_LITE2, "size": 448, "whole": 224}),
    Rung("mixed_lite2_32x224", "mixed_view", 18.293, 4.64, {**_LITE2, "num_frames": 32}),
    Rung("swin_t_4x224", "swin_t", 19.178, 33.35, {"num_frames": 4}),
    Rung("swin_t_10x224", "swin_t", 47.945, 33.35),
    Rung("evqa_4x384", "evqa", 114.831, 55.24),
)


@dataclass(frozen=True)
class Measured:
    """What a rung reached on validation.

    Attributes:
        srcc: mean over seeds.
        error: its standard error, from the spread of seeds within the rungs of the whole table:
            one seed is worth less than three. 0 where no rung has two seeds.
        seeds: how many.
        data: of which data set.
        date: of the last.
        ours: whether this project measured it, not the user.
    """

    srcc: float
    error: float
    seeds: int
    data: str
    date: str
    ours: bool = True

    def __str__(self) -> str:
        seeds = f"mean of {self.seeds} seeds" if self.seeds > 1 else "one seed"
        error = f" ± {self.error:.3f}" if self.error else ""
        where = f"this project's {self.data}, not on your data" if self.ours else self.data
        return f"val SRCC {self.srcc:.3f}{error} on {where} ({seeds}, {self.date})"


def read_measured(path: Path = MEASURED) -> dict[str, Measured]:
    """What each rung measured; rungs that nobody trained are not in it.

    Raises:
        ConfigError: the table cannot be read, has no number where there must be one, or compares
            rungs on several data sets.
    """
    runs: dict[str, list[dict[str, str]]] = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["arm"] == ARM:
                    runs[row["rung"]].append(row)
        values = {name: [float(row["val_srcc"]) for row in rows] for name, rows in runs.items()}
        spread = _spread_of_seeds(values.values())
        found = {
            name: Measured(
                fmean(values[name]), spread / math.sqrt(len(rows)), len(rows),
                rows[-1]["data"], max(row["date"] for row in rows), path == MEASURED,
            )
            for name, rows in runs.items()
        }  # fmt: skip
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"student.measured={path}: cannot be used ({error!r}); it is a CSV with the columns"
            f" {', '.join(COLUMNS)}"
        ) from error
    if len(sets := {row["data"] for rows in runs.values() for row in rows}) > 1:
        raise ConfigError(
            f"student.measured={path}: compares rungs on several data sets:"
            f" {', '.join(sorted(sets))}"
        )
    return found


def _spread_of_seeds(rungs: Collection[Sequence[float]]) -> float:
    """Standard deviation of seeds within rungs, pooled over them; 0 where none has two seeds."""
    squares = sum((len(seeds) - 1) * variance(seeds) for seeds in rungs if len(seeds) > 1)
    freedom = sum(len(seeds) - 1 for seeds in rungs)
    return math.sqrt(squares / freedom) if freedom else 0.0


def fit(caps: Caps, passes: int = 1, measured: str | None = None) -> dict[str, Any]:
    """The rung that measured best under the caps, ties (to 0.001) to the cheaper.

    Best is the mean of a rung's seeds less its standard error, so that one lucky seed does not
    beat several.

    A rung whose pretrained weights cannot be had here is passed over. Where no rung under the caps
    was measured, the dearest of them is taken. Both are told.

    Args:
        caps: what an inference may cost; ``gmacs`` is needed.
        passes: inferences of each video, all of which count.
        measured: table of the user's own measurements; None is the one that comes with this
            program.

    Returns:
        Class and arguments of the student.

    Raises:
        ConfigError: no cap on GMACs, or the table cannot be used.
        BudgetError: no rung is cheap enough.
    """
    if caps.gmacs is None:
        raise ConfigError("student=fit needs a budget: +budget=20, in GMACs a video")
    known = read_measured(Path(measured) if measured else MEASURED)
    fitting = [
        rung
        for rung in RUNGS
        if passes * rung.gmacs <= caps.gmacs
        and (caps.params_m is None or rung.params_m <= caps.params_m)
    ]
    ordered = sorted(fitting, key=lambda rung: _rank(rung, known.get(rung.name)))
    passed: dict[str, list[str]] = defaultdict(list)  # by the reason, which several may share
    while ordered and (why_not := _not_here(ordered[0], caps, passes)):
        passed[why_not].append(ordered.pop(0).name)
    for reason, names in passed.items():
        log.warning("student=fit: passed over: %s: %s", ", ".join(names), reason)
    if ordered:
        _tell(ordered, known, caps)
        return ordered[0].node()
    cheapest = min(RUNGS, key=lambda rung: rung.gmacs)
    told = f"under {caps}" + (f", test_views={passes}" if passes > 1 else "")
    raise BudgetError(
        f"student=fit: no student {told} can be trained here; the cheapest is {cheapest.name}:"
        f" {passes * cheapest.gmacs:.2f} GMACs a video, {cheapest.params_m:.2f} M parameters"
    )


def _rank(rung: Rung, measured: Measured | None) -> tuple[float, float]:
    """Measured ones first, the best before the others; of those not measured the dearest."""
    if measured is None:
        return (1.0, -rung.gmacs)
    return (-round(measured.srcc - measured.error, 3), rung.gmacs)


def _not_here(rung: Rung, caps: Caps, passes: int) -> str:
    """Why a rung cannot be trained here within the caps; "" where it can."""
    node = rung.node()
    cls, arguments = network_class(node)
    backbone: str = arguments.get("backbone") or cls.BACKBONE  # type: ignore[attr-defined]
    if backbone.startswith(PREFIX):
        reason = published_weights(backbone).why_missing()
    else:
        reason = available(backbone)[1]
    if reason:
        return reason
    if caps.latency_ms is not None:
        try:
            check_caps(cls, arguments, Caps(latency_ms=caps.latency_ms), passes)
        except BudgetError as error:
            return str(error)
    return ""


def _tell(ordered: Sequence[Rung], known: Mapping[str, Measured], caps: Caps) -> None:
    for rung in ordered:
        how = f"student=fit under {caps}:" if rung is ordered[0] else "  not taken:"
        log.info("%s %s", how, _line(rung, known))


def _line(rung: Rung, known: Mapping[str, Measured]) -> str:
    told = known.get(rung.name) or "not measured"
    return f"{rung.name}: {rung.gmacs:.2f} GMACs, {rung.params_m:.2f} M parameters; {told}"


def main() -> int:
    """Print the ladder."""
    known = read_measured()
    for rung in sorted(RUNGS, key=lambda rung: rung.gmacs):
        print(_line(rung, known))
    return 0


if __name__ == "__main__":
    leave(main)
