"""Bundles of tiny students, written in a moment."""

from pathlib import Path
from typing import Any

import torch

from distill.bundle import save_bundle
from distill.logistic import Logistic4
from students.frames import FramesStudent
from students.mixed_view import MixedViewStudent

_TOY: dict[str, Any] = {
    "backbone": "test_efficientnet", "weights": "none", "num_frames": 2, "size": 64,
    "stages": [1, 3], "hidden": 16, "score_mean": 3.0, "score_std": 1.0,
}  # fmt: skip
STUDENTS: dict[str, tuple[type, dict[str, Any]]] = {
    "frames": (FramesStudent, _TOY | {"short_side": 64, "grid": 2}),
    "mixed": (MixedViewStudent, _TOY | {"whole": 32, "bins": 5, "temporal": "attention"}),
}
# Steep, so that a difference of raw scores is one of MOS.
CALIBRATION = Logistic4(beta1=5.0, beta2=1.0, beta3=3.0, beta4=0.2)


def write_bundle(folder: Path, name: str, shift: float = 0.0, **changes: Any) -> Path:
    cls, options = STUDENTS[name]
    torch.manual_seed(3)
    model = cls(**options).eval()
    with torch.no_grad():
        model.head[-1].bias += shift
    options = {"_target_": f"{cls.__module__}.{cls.__name__}", **options}
    arguments: dict[str, Any] = {
        "role": "student", "architecture": options, "calibration": CALIBRATION, "cost": {},
        "provenance": {"data": None}, "licenses": ["ours"], "metrics": {}, "test_views": 2,
    }  # fmt: skip
    save_bundle(folder, model, **(arguments | changes))
    return folder
