"""From what Hydra composed to checked options, and errors that name the nearest right one.

Hydra composes YAML files of ``conf/`` into the dataclasses of ``stage_options.py`` and
``learning_options.py``. Hydra lets a few things pass that a user did not mean (``+bugdet=120`` adds
a key, ``budget=abc`` is a string); they stop here.
"""

import inspect
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distill.checks import unknown_option
from distill.data.places import RemotePath, is_url
from distill.errors import ConfigError
from distill.learning_options import LearningConfig, TrainStudentConfig, TrainTeacherConfig
from distill.options import DataConfig, ReaderConfig, TrackingConfig, TrainingConfig
from distill.stage_options import EvaluateConfig, KvqConfig, PseudoLabelConfig, StageConfig

__all__ = [
    "SCHEMAS", "DataConfig", "EvaluateConfig", "KvqConfig", "LearningConfig", "PseudoLabelConfig",
    "ReaderConfig", "StageConfig", "TrackingConfig", "TrainStudentConfig", "TrainTeacherConfig",
    "TrainingConfig", "folder", "place", "register_schemas", "split_target", "to_config",
]  # fmt: skip

SCHEMAS: dict[str, type[StageConfig]] = {
    "train_teacher": TrainTeacherConfig,
    "pseudo_label": PseudoLabelConfig,
    "train_student": TrainStudentConfig,
    "evaluate": EvaluateConfig,
}


def register_schemas() -> None:
    """Tell Hydra the schemas; idempotent."""
    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=schema)


def to_config(cfg: DictConfig, schema: type[StageConfig]) -> Any:
    """A checked dataclass from what Hydra composed.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range.
    """
    _check_keys(cfg, schema, "")
    try:
        OmegaConf.resolve(cfg)
        return OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from error


def split_target(node: Mapping[str, Any], option: str) -> tuple[type, dict[str, Any]]:
    """Class and arguments of a ``_target_`` node, its argument names checked.

    Raises:
        ConfigError: no such class, or an argument that it does not take.
    """
    kwargs = {str(key): value for key, value in node.items() if key != "_target_"}
    target = str(node.get("_target_", ""))
    try:
        cls = get_class(target)
    except Exception as error:
        raise ConfigError(f"{option}._target_={target!r}: {error}") from error
    known = list(inspect.signature(cls).parameters)
    for name in kwargs:
        if name not in known:
            raise ConfigError(unknown_option(f"{option}.{name}", [f"{option}.{k}" for k in known]))
    return cls, kwargs


def _check_keys(node: Any, schema: Any, prefix: str) -> None:
    known = {f.name: f for f in fields(schema)}
    for key in node:
        if key not in known:
            names = [f"{prefix}{name}" for name in known]
            raise ConfigError(unknown_option(f"{prefix}{key}", names))
        inner = known[key].default_factory
        if is_dataclass(inner):
            _check_keys(node[key], inner, f"{prefix}{key}.")


def place(text: str) -> Path:
    """What names videos, as the user means it: a URL as it stands, or see ``folder``."""
    return RemotePath(text) if is_url(text) else folder(text)


def folder(path: str | Path) -> Path:
    """A path as the user means it: ``~`` expanded, relative to where the command was typed.

    In one spelling, without ``..``: held-out videos are kept from the student by their paths.
    """
    return Path(os.path.abspath(Path(path).expanduser()))
