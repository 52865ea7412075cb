"""Bundles: a directory with weights, a specification and a README. No pickle in or out."""

import hashlib
import json
import logging
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from distill import __version__
from distill.content_levels import ContentSlopes
from distill.data.identity import sha256_of
from distill.errors import BundleError, ConfigError
from distill.logistic import Logistic4
from distill.model import TRUST_VARIABLE, QualityModel, network_class
from distill.specification import FORMAT, SPEC, calibration_of, read_spec

log = logging.getLogger(__name__)
WEIGHTS, README = "model.safetensors", "README.md"


@dataclass
class Bundle:
    """A loaded bundle.

    Attributes:
        model: in evaluation mode, on the CPU.
        spec: what ``spec.json`` says; see ``save_bundle``.
        folder: where it came from.
        calibration: raw score -> MOS scale; None: raw scores are all there is.
    """

    model: QualityModel
    spec: dict[str, Any]
    folder: Path
    calibration: Logistic4 | None = field(default=None)

    @property
    def role(self) -> str:
        """``teacher`` or ``student``."""
        return str(self.spec["role"])

    @property
    def fingerprint(self) -> str:
        """A hash of weights, architecture, views and calibration: what decides a score."""
        return str(self.spec["fingerprint"])

    @property
    def test_views(self) -> int:
        """Looks at each video, whose scores are averaged; bundles from before there were any: 1."""
        return int(self.spec.get("test_views", 1))

    def calibrated(self, raw: float) -> float:
        """A raw score on the MOS scale."""
        if self.calibration is None or not math.isfinite(raw):
            return raw
        return float(self.calibration(raw))


_SHARED: "WeakValueDictionary[tuple[Path, int], Bundle]" = WeakValueDictionary()


def save_bundle(
    folder: Path,
    model: QualityModel,
    *,
    role: str,
    architecture: dict[str, Any],
    calibration: Logistic4 | None,
    cost: dict[str, Any],
    provenance: dict[str, Any],
    licenses: list[str],
    metrics: dict[str, Any],
    test_views: int = 1,
    slopes: ContentSlopes | None = None,
    score_range: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Write a bundle; ``spec.json`` comes last, so a folder without it is no bundle.

    Args:
        folder: made if missing.
        model: its whole state goes to ``model.safetensors``.
        role: ``teacher`` or ``student``.
        architecture: ``_target_`` and arguments that build the network anew.
        calibration: fitted on labelled videos; None: raw scores are all there is.
        cost: GMACs, parameters.
        provenance: data, command, teacher, versions.
        licenses: of what the network learned from.
        metrics: what it measured, for the README.
        test_views: looks at each video that the calibration was fitted with.
        slopes: what its scores are worth between contents and within them.
        score_range: lowest and highest MOS that it learned from and was chosen on.

    Returns:
        The specification.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    views = _views(model)
    decisive = {
        "architecture": architecture,
        "views": views,
        "calibration": calibration.to_dict() if calibration else None,
        "test_views": test_views,
        "sha256": sha256_of(folder / WEIGHTS),
    }
    fingerprint = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    spec = {
        "format": FORMAT,
        "distill_vqa": __version__,
        "role": role,
        "fingerprint": fingerprint,
        **decisive,
        "cost": cost,
        "provenance": provenance,
        "licenses": licenses,
        "metrics": metrics,
        "content_slopes": asdict(slopes) if slopes else None,
        "score_range": list(score_range) if score_range else None,
    }
    (folder / README).write_text(_readme(spec), encoding="utf-8")
    (folder / SPEC).write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
    return spec


def _views(model: QualityModel) -> dict[str, dict[str, Any]]:
    return {
        name: {"kind": type(view).__name__, **view.__dict__, "shape": list(view.shape)}
        for name, view in model.views.items()
    }


def load_bundle(folder: Path) -> Bundle:
    """Rebuild the network of a bundle; checks format, class, checksum and keys.

    Raises:
        BundleError: missing, incomplete, damaged, made by another version, or naming a class
            outside this program.
    """
    spec = read_spec(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise BundleError(f"{weights}: missing; the bundle is incomplete, copy it again")
    if sha256_of(weights) != spec["sha256"]:
        raise BundleError(f"{weights}: checksum differs from {SPEC}; the file is damaged")
    try:
        cls, arguments = network_class(_untrusted(spec["architecture"]))
        model = cls(**arguments)
    except (ConfigError, TypeError) as error:
        raise BundleError(f"{folder / SPEC}: {error}") from error
    try:
        model.load_state_dict(load_file(weights), strict=True)
    except (RuntimeError, SafetensorError) as error:
        first = " ".join(str(error).split())[:300]
        raise BundleError(f"{weights}: does not fit {cls.__name__}: {first}") from error
    calibration = calibration_of(spec, folder)
    return Bundle(model.eval(), _with_changes(spec, model, folder), folder, calibration)


def shared_bundle(folder: Path) -> Bundle:
    """As ``load_bundle``, but one for all that hold it at a time, none of whom may change it.

    Heavy teachers take their time and memory.
    """
    spec = folder / SPEC
    key = (folder, spec.stat().st_mtime_ns if spec.is_file() else 0)  # none: load_bundle tells
    bundle = _SHARED.get(key)
    if bundle is None:
        with torch.random.fork_rng(devices=[]):  # whoever draws next draws the same, loaded or not
            bundle = _SHARED[key] = load_bundle(folder)
    return bundle


def _with_changes(spec: dict[str, Any], model: QualityModel, folder: Path) -> dict[str, Any]:
    """A view may refer to a file, a table of scores: another file makes it another model."""
    now = json.loads(json.dumps(_views(model)))
    changed = [
        f"{name}.{key}: was {was!r}, is {now.get(name, {}).get(key)!r}"
        for name, view in spec["views"].items()
        for key, was in view.items()
        if now.get(name, {}).get(key) != was
    ]
    if not changed:
        return spec
    told = "; ".join(changed)
    fingerprint = hashlib.sha256(f"{spec['fingerprint']} {told}".encode()).hexdigest()[:16]
    log.warning("%s: its views have changed since it was made (%s); it counts as another model, %s",
                folder, told, fingerprint)  # fmt: skip
    return {**spec, "views": now, "fingerprint": fingerprint}


def _untrusted(options: Any) -> Any:
    """Options of a file: that code of a repository may run is its reader's to say, not its own."""
    if isinstance(options, dict):
        trusted = os.environ.get(TRUST_VARIABLE) == "1"
        return {
            key: _untrusted(value) if key != "trust_remote_code" else bool(value) and trusted
            for key, value in options.items()
        }
    return [_untrusted(value) for value in options] if isinstance(options, list) else options


def load_weights(model: QualityModel, checkpoint: Path) -> None:
    """Fill a network from a Lightning checkpoint of ``QualityModule`` (averaged weights)."""
    model.load_state_dict(read_weights(checkpoint), strict=True)


def read_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """A network's state dict from a Lightning checkpoint of ``QualityModule``."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "model."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _readme(spec: dict[str, Any]) -> str:
    cost, metrics = spec["cost"], spec["metrics"]
    measured = "\n".join(f"* {name}: {value}" for name, value in metrics.items()) or "* nothing yet"
    licenses = "\n".join(f"* {text}" for text in spec["licenses"])
    return f"""# Distill-VQA {spec["role"]} bundle {spec["fingerprint"]}

{spec["architecture"]["_target_"]}, {cost.get("gmacs", float("nan")):.2f} GMACs a video (fvcore
multiply-adds), {cost.get("params_m", float("nan")):.2f} M parameters.

Score videos with it: `python score.py VIDEO_OR_FOLDER --bundle THIS_FOLDER`

## Measured
{measured}

## Learned from
{licenses}
"""
