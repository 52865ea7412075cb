"""What ``--help`` of a command prints: docstrings and ``conf/``, read without importing torch."""

import ast
import re
import shlex
import textwrap
from dataclasses import fields, is_dataclass
from importlib.resources import files
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from distill.config import SCHEMAS, StageConfig, register_schemas

# Published recipes are a group of their own for each command that trains.
RECIPES = {"train_teacher": "experiment", "train_student": "recipe"}


def help_page(stage: str) -> str:
    """What ``--help`` prints: the stage's own text, its options with defaults, the choices."""
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        composed = compose(stage)
    options = textwrap.indent(OmegaConf.to_yaml(composed), "  ")
    groups = config_groups().items()
    used = {group: names for group, names in groups if group in composed}
    if recipes := RECIPES.get(stage):
        used[recipes] = config_groups()[recipes]
    choices = "\n".join(f"  {group}={'|'.join(names)}" for group, names in used.items())
    schema = SCHEMAS[stage]
    sections = {f.name: f.default_factory for f in fields(schema)}
    texts = [_attributes(base) for base in schema.__mro__ if issubclass(base, StageConfig)]
    texts += [_attributes(cls, f"{name}.") for name, cls in sections.items() if is_dataclass(cls)]
    described = "\n".join(texts)
    return (
        f"{_stage_text(stage)}\n\nOptions, name=value:\n{described}\n\n"
        f"Groups and their choices, group=choice:\n{choices}\n\n"
        f"All options with their defaults, to be set as group.name=value:\n{options}\n"
        "-m runs a sweep over values (a,b,c); --cfg job prints the options of a run.\n"
        "Quote a value with commas, =, quotes or letters beyond ASCII twice: "
        + shlex.quote('data.root="/videos/a,b"')
    )


def _attributes(schema: Any, prefix: str = "") -> str:
    """The options that a schema's docstring describes."""
    text = textwrap.dedent((schema.__doc__ or "").split("Attributes:\n")[-1].rstrip())
    return textwrap.indent(re.sub(r"(?m)^(?=\w)", prefix, text), "  ")


def _stage_text(stage: str) -> str:
    """The docstring of a stage, read without importing it: that takes torch and seconds."""
    source = files("distill.stages").joinpath(f"{stage}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").strip()


def config_groups() -> dict[str, list[str]]:
    """Config groups and their choices."""
    out: dict[str, list[str]] = {}
    for group in sorted(files("conf").iterdir(), key=lambda path: path.name):
        if group.is_dir() and group.name not in ("hydra", "__pycache__"):
            names = sorted(file.name.removesuffix(".yaml") for file in group.iterdir())
            out[group.name] = [name for name in names if not name.startswith("__")]
    return out
