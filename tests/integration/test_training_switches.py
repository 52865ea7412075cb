"""The switches of training on the tiny demo: what each changes, and what none of them does."""

import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill.callbacks import epoch_weights
from distill.errors import Interrupted
from distill.training import QualityModule
from tests.helpers.stages import TEACHER, TRAINING, run_stage

WORDS = [*TEACHER, *TRAINING]


def _weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "bundle" / "model.safetensors")


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
