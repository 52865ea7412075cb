"""What of a command's options, code and errors may leave this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from distill.config import SCHEMAS
from distill.tracking.privacy import HIDDEN, without_paths

# One of a few words, a number or auto, a network and its options, or what docs/tracking.md tells.
SENT = set(
    "budget data.adapter data.as_split data.name data.options device devices doubt.action"
    " doubt.rule doubt.shrink engine finetune.first finetune.loss intervals leak_check loss"
    " max_latency max_params precision reader.hdr reader.name reader.time_limit select.duplicates"
    " select.features select.method split student teacher tracking.entity tracking.group"
    " tracking.mode tracking.project training.accelerator training.devices"
    " training.precision".split()
)
TWO_RUNS = """
import os
from pathlib import Path
from distill.config import TrainTeacherConfig
from distill.options import TrackingConfig
from distill.tracking import Tracker

for name in ("private", "named"):
    settings = TrackingConfig(mode="offline", names=name == "named")
    Path(name).mkdir()
    Tracker(settings, Path(name), "train_teacher", TrainTeacherConfig(tracking=settings)).close()
    if name == "private":
        print(os.environ.pop("WANDB_ERROR_REPORTING"))
    else:
        print("WANDB_ERROR_REPORTING" in os.environ)
"""


def _texts(schema: Any, prefix: str = "") -> Iterator[str]:
    """Options that a text can be given for."""
    for field in fields(schema):
        if is_dataclass(field.type):
            yield from _texts(field.type, f"{prefix}{field.name}.")
        elif "str" in str(field.type) or "Any" in str(field.type):
            yield f"{prefix}{field.name}"


def test_every_option_of_every_command_is_hidden_or_known_to_be_harmless() -> None:
    sent = set()
    for schema in SCHEMAS.values():
        for name in _texts(schema):
            options: Any = "secret"
            for key in reversed(name.split(".")):
                options = {key: options}
            if HIDDEN not in json.dumps(without_paths(options)):
                sent.add(name)
    assert sent == SENT, "an option is new: is it a path, or a name out of a table?"


def test_code_and_reports_of_errors_stay_here_unless_names_may_be_sent(tmp_path: Path) -> None:
    (tmp_path / "secret_script.py").write_text(TWO_RUNS)
    root = Path(__file__).parents[3]
    # Other tests leave a service of W&B's behind, which this one would join.
    known = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "secret_script.py"], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=True, env={**known, "PYTHONPATH": str(root), "WANDB_SAVE_CODE": "true"},
    )  # fmt: skip
    assert done.stdout.split() == ["false", "False"]
    saved = {path.relative_to(tmp_path).parts[0] for path in tmp_path.glob("*/**/secret_script.py")}
    assert saved == {"named"}
    (told,) = tmp_path.glob("private/wandb/offline-run-*/*.wandb")
    assert b"secret_script" not in told.read_bytes()
