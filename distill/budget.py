"""Caps on what a student may cost, checked before any training."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from distill.cost import CONVENTION, Cost, latency_ms, profile
from distill.errors import BudgetError, ConfigError, DistillError
from distill.inference import pick_device
from distill.model import QualityModel

_SIZES = (448, 384, 320, 288, 256, 224, 192, 160, 128, 96, 64)
_CHEAPER = "student=mixed_view student.num_frames=1"


@dataclass(frozen=True)
class Caps:
    """What one inference of one video may cost at the most; None: no cap.

    Attributes:
        gmacs: fvcore multiply-adds, 1e9, over all frames and passes.
        params_m: parameters, 1e6.
        latency_ms: milliseconds that the network takes for a video by itself, here.
    """

    gmacs: float | None = None
    params_m: float | None = None
    latency_ms: float | None = None

    def __str__(self) -> str:
        told = [("GMACs", self.gmacs), ("M parameters", self.params_m), ("ms", self.latency_ms)]
        return ", ".join(f"{cap:g} {unit}" for unit, cap in told if cap is not None) or "no cap"


def check_caps(
    build: Callable[..., QualityModel], kwargs: Mapping[str, Any], caps: Caps, passes: int = 1
) -> Cost:
    """Measure a model before any training, and refuse one that costs more than a cap.

    Args:
        build, kwargs: see :func:`check_budget`; of the options of ``student``.
        caps: what it may cost.
        passes: inferences of each video (``test_views``).

    Returns:
        The cost of all passes, with its latency where there is a cap on it.

    Raises:
        BudgetError: the model costs more; says what to change.
    """
    bare = _without_weights(build, kwargs)
    if caps.gmacs is None:
        cost = profile(build(**bare)).times(passes)
    else:
        cost = check_budget(build, kwargs, caps.gmacs, passes=passes)
    if caps.params_m is not None and cost.params_m > caps.params_m:
        raise BudgetError(
            f"{_name(build, kwargs, passes)} has {cost.params_m:.2f} M parameters;"
            f" max_params={caps.params_m:g} million. Take another student, or a smaller"
            " student.backbone; frames and size do not change the number of parameters"
        )
    if caps.latency_ms is None:
        return cost
    device = pick_device("auto")
    took = passes * _latency(build, bare, device)
    if took > caps.latency_ms:
        advice = "take fewer student.num_frames, or a smaller student.size or student.backbone"
        if isinstance(frames := kwargs.get("num_frames"), int):
            fewer = int(frames * caps.latency_ms / took)
            if fewer:
                advice = f"about student.num_frames={fewer} would fit; or {advice}"
        raise BudgetError(
            f"{_name(build, kwargs, passes)} takes {took:.1f} ms a video on {device}, the network"
            f" alone (median of 5 after a warm-up); max_latency={caps.latency_ms:g} ms: {advice}"
        )
    return cost.taking(took)


_latencies: dict[str, float] = {}


def _latency(
    build: Callable[..., QualityModel], bare: Mapping[str, Any], device: torch.device
) -> float:
    """Measured once in a process: what ``student=fit`` chose by is what its choice is held to."""
    key = f"{build} {sorted(bare.items())} {device}"
    if key not in _latencies:
        _latencies[key] = latency_ms(build(**bare).to(device))
    return _latencies[key]


def check_budget(
    build: Callable[..., QualityModel],
    kwargs: Mapping[str, Any],
    budget_gmacs: float,
    prefix: str = "student.",
    cheaper: str = _CHEAPER,
    passes: int = 1,
) -> Cost:
    """Measure a model before any training, and refuse one that costs more than the cap.

    Args:
        build: constructor of the model; built with ``weights="none"`` where it takes that.
        kwargs: its arguments.
        budget_gmacs: the cap in GMACs a video, > 0.
        prefix: what stands before an option's name on the command line.
        cheaper: what to advise where nothing of this model fits.
        passes: inferences of each video (``test_views``), all of which the cap is on.

    Returns:
        The cost of all passes.

    Raises:
        ConfigError: the cap is no positive number.
        BudgetError: the model costs more; names the nearest settings that fit.
    """
    if not 0 < budget_gmacs < math.inf:
        raise ConfigError(f"budget={budget_gmacs}: must be a positive number of GMACs a video")
    settings = {**_defaults(build), **kwargs}
    arguments = _without_weights(build, kwargs)
    once = profile(build(**arguments))
    cost = once.times(passes)
    if cost.gmacs <= budget_gmacs:
        return cost
    fewer = int(budget_gmacs / once.gmacs + 1e-9)
    smaller = _fitting(build, arguments, settings, once.gmacs, budget_gmacs / passes)
    fitting = [(f"test_views={fewer}", fewer * once.gmacs)] if fewer else []
    fitting += [(f"{prefix}{option}", passes * gmacs) for option, gmacs in smaller]
    advice = (
        "These fit: " + "; or ".join(f"{option} ({g:.2f} GMACs)" for option, g in fitting)
        if fitting
        else f"Nothing smaller of it fits, not even one frame; the cheapest student: {cheaper}"
    )
    raise BudgetError(
        f"{_name(build, kwargs, passes)} costs {cost}; the budget is {budget_gmacs:g} GMACs."
        f" {advice}. ({CONVENTION})"
    )


def _fitting(
    build: Callable[..., QualityModel],
    arguments: Mapping[str, Any],
    settings: Mapping[str, Any],
    gmacs: float,
    budget: float,
) -> list[tuple[str, float]]:
    """Nearest settings under the cap: fewer frames, and a smaller size at as many frames."""
    frames, size = settings.get("num_frames"), settings.get("size")
    fitting: list[tuple[str, float]] = []
    if isinstance(frames, int) and frames > 1:
        # Every frame costs the same, so that one frame and all of them fix the line between.
        one = profile(build(**{**arguments, "num_frames": 1})).gmacs
        each = (gmacs - one) / (frames - 1)
        most = 1 + math.floor((budget - one) / each + 1e-9) if one <= budget else 0
        if most:
            fitting.append((f"num_frames={most}", one + (most - 1) * each))
    if isinstance(size, int):
        for smaller in _smaller(build, settings, size):
            try:
                cost = profile(build(**{**arguments, "size": smaller})).gmacs
            except DistillError:
                continue  # this network cannot take that size
            if cost <= budget:
                fitting.append((f"size={smaller}", cost))
                break
    return fitting


def _smaller(
    build: Callable[..., QualityModel], settings: Mapping[str, Any], size: int
) -> list[int]:
    """Sizes to try, from large to small; of a Swin those at which no window is padded.

    Its last stage has one position for 32 pixels, and pads them to whole windows: at 256 a Swin
    of 7x7 windows costs 7.37 GMACs a frame, at 224 4.51 (fvcore, torchvision 0.29's Swin-T).
    """
    backbone = str(settings.get("backbone") or getattr(build, "BACKBONE", ""))
    if "swin" not in backbone:
        return [each for each in _SIZES if each < size]
    named = re.search(r"window(\d+)", backbone)  # as timm's names tell it
    step = 32 * (int(named[1]) if named else 7)
    return list(range((size - 1) // step * step, 0, -step))


def _defaults(build: Callable[..., QualityModel]) -> dict[str, Any]:
    return {name: given.default for name, given in inspect.signature(build).parameters.items()}


def _without_weights(
    build: Callable[..., QualityModel], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    none = {"weights": "none"} if "weights" in {**_defaults(build), **kwargs} else {}
    return {**kwargs, **none}


def _name(build: Callable[..., QualityModel], kwargs: Mapping[str, Any], passes: int) -> str:
    """The model and what decides its cost, as the messages call it."""
    settings = {**_defaults(build), **kwargs}
    used = [f"{key}={settings[key]}" for key in ("num_frames", "size") if key in settings]
    used += [f"test_views={passes}"] if passes > 1 else []
    return f"{getattr(build, '__name__', 'the model')} {' '.join(used)}".strip()
