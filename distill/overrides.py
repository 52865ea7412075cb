"""The words of a command line: composed and checked before Hydra makes a directory for them."""

import shlex
from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distill.checks import unknown_option
from distill.config import SCHEMAS, register_schemas, to_config
from distill.errors import ConfigError
from distill.help import config_groups
from distill.words import requoted

_COMPOSE_ERRORS = (HydraException, OmegaConfBaseException, ValueError)


def check_overrides(stage: str, overrides: Sequence[str], multirun: bool = True) -> Any:
    """Compose and check what the user typed, before Hydra makes a directory for it.

    Args:
        stage: the command.
        overrides: Hydra's ``name=value`` words; sweeps are checked value by value.
        multirun: whether sweeps are allowed.

    Returns:
        The checked options; of a sweep, those with its first values.

    Raises:
        ConfigError: an option is unknown, has no value, or a value that it cannot have.
    """
    register_schemas()
    variants: list[list[str]] = []
    for word in overrides:
        try:
            parsed = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise ConfigError(_grammar_hint(word)) from error
        if not _name(word):
            raise ConfigError(_grammar_hint(word))
        if parsed.is_sweep_override() and not multirun:
            name, _, value = word.partition("=")
            raise ConfigError(
                f"{word!r} is a sweep: add -m for one run per value; write a list in brackets,"
                f" {shlex.quote(f'{name}=[{value}]')}; or, if it is one value, quote it twice:"
                f" {requoted(name, value)}"
            )
        variants.append(_values(parsed) if parsed.is_sweep_override() else [word])
    first = [options[0] for options in variants]
    trials = [first] + [
        [*first[:at], other, *first[at + 1 :]]
        for at, options in enumerate(variants)
        for other in options[1:]
    ]
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        configs = [to_config(_compose(stage, trial), SCHEMAS[stage]) for trial in trials]
    return configs[0]


def _compose(stage: str, overrides: list[str]) -> DictConfig:
    try:
        return compose(stage, overrides)
    except _COMPOSE_ERRORS as error:
        raise ConfigError(_explain(stage, overrides, error)) from error


def _explain(stage: str, overrides: list[str], error: Exception) -> str:
    """Which word Hydra stumbled over, and what the user could have meant."""
    groups = config_groups()
    # Choices of groups first, as Hydra does: they decide which options exist.
    ordered = sorted(overrides, key=lambda word: _group(word) not in groups)
    good = 0
    while good < len(ordered):
        try:
            compose(stage, ordered[: good + 1])
        except _COMPOSE_ERRORS as found:
            error = found
            break
        good += 1
    else:
        return str(error)
    culprit = ordered[good]
    known = _option_names(OmegaConf.to_container(compose(stage, ordered[:good])))
    name = _name(culprit)
    if name == "hydra/launcher" and "submitit" in culprit:
        return f"{culprit} needs Hydra's submitit launcher: pip install 'distill-vqa[slurm]'"
    group = _group(culprit)
    packaged = group != name and group in groups
    if name not in known and not packaged and not name.startswith("hydra"):
        return unknown_option(name, known)
    if name in groups or packaged:
        if culprit.startswith("+"):
            return f"{culprit}: {name} is chosen already; write {culprit.lstrip('+')}"
        return f"{culprit}: no such choice; {name} is one of {', '.join(groups[group])}"
    value = culprit.partition("=")[2]
    hint = f"; if it is text, quote it twice: {requoted(name, value)}" if value[:1] in "[{" else ""
    return f"{culprit}: {str(error.__cause__ or error).splitlines()[0]}{hint if value else ''}"


def _name(word: str) -> str:
    """``student.size`` of ``+student.size=224``."""
    return word.lstrip("+~").split("=", 1)[0]


def _group(word: str) -> str:
    """``loss`` of ``loss@finetune.loss=plcc``."""
    return _name(word).partition("@")[0]


def _option_names(node: Any, prefix: str = "") -> list[str]:
    """Dotted names of every option of a composed configuration."""
    names: list[str] = []
    for key, value in node.items() if isinstance(node, dict) else ():
        names += [f"{prefix}{key}", *_option_names(value, f"{prefix}{key}.")]
    return names


def _values(override: Override) -> list[str]:
    prefix = (override.input_line or "").split("=", 1)[0]
    sweep = override.value()
    if isinstance(sweep, Glob):
        found = sweep.filter(config_groups().get(prefix, []))
        if not found:
            raise ConfigError(f"{override.input_line}: no such choice of {prefix}")
        return [f"{prefix}={name}" for name in found]
    return [f"{prefix}={value}" for value in override.sweep_string_iterator()]


def _grammar_hint(word: str) -> str:
    name, equals, value = word.partition("=")
    if not equals or not name:
        return f"cannot read {word!r}; write options as name=value, for example +budget=120"
    return (
        f"cannot read the value of {word!r}; Hydra gives commas, =, #, ~, quotes, brackets and"
        f" letters beyond ASCII a meaning, so quote such a value twice: {requoted(name, value)}"
    )
