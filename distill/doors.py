"""The commands: parse, check the options, call a stage, return an exit code.

Hydra composes and runs; this module checks first what Hydra would let pass or would answer with
a traceback, and chooses what the user left open (run directory to resume, default student).
"""

import importlib
import logging
import multiprocessing
import os
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distill.checks import unknown_option
from distill.config import SCHEMAS, folder, register_schemas, to_config
from distill.errors import ConfigError, DistillError, Interrupted
from distill.help import config_groups, help_page
from distill.runs import first_process, unfinished

# Before torch is imported. Its threads otherwise spin while they wait for each other, which slows
# training down several times where decoding processes share the cores (benchmarks/threads.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

log = logging.getLogger(__name__)
_SWITCHES = ("-m", "--multirun")
_LIBRARY_NOISE = (
    ".*torch.jit.script.*deprecated.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*module.s. in eval mode at the start of training.*",  # frozen parts are meant to be
    ".*does not have many workers.*",  # as many as there are cores
    ".*lr_scheduler.step.*before.*optimizer.step.*",
)
# Hydra answers ``training=null`` with a ValueError.
_COMPOSE_ERRORS = (HydraException, OmegaConfBaseException, ValueError)


def train_teacher() -> None:
    """``python train_teacher.py``."""
    sys.exit(_hydra_door("train_teacher"))


def pseudo_label() -> None:
    """``python pseudo_label.py``."""
    sys.exit(_hydra_door("pseudo_label"))


def train_student() -> None:
    """``python train_student.py``."""
    sys.exit(_hydra_door("train_student"))


def evaluate() -> None:
    """``python evaluate.py``."""
    sys.exit(_hydra_door("evaluate"))


def score() -> None:
    """``python score.py``."""
    from distill.stages.score import run

    try:
        code = run(sys.argv[1:])
    except DistillError as error:
        code = _fail(error)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _hydra_door(stage: str) -> int:
    """Run a stage under Hydra; its exit code."""
    register_schemas()
    _quiet()
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(help_page(stage))
        return 0
    if any(word.startswith("-") and word not in _SWITCHES for word in words):
        return _hydra_itself(stage, words)
    overrides = [word for word in words if word not in _SWITCHES]
    multirun = len(overrides) < len(words)
    try:
        config = check_overrides(stage, overrides, multirun)
        extra = choose(stage, overrides, config, multirun)
        if extra:  # the default student may lack an option of the one that was checked
            check_overrides(stage, [*overrides, *extra], multirun)
        words += extra
    except DistillError as error:
        return _fail(error)
    sys.argv = [sys.argv[0], *words]
    failures: list[DistillError] = []

    def job(cfg: DictConfig) -> Any:
        module = importlib.import_module(f"distill.stages.{stage}")
        out = Path(HydraConfig.get().runtime.output_dir)
        if not first_process():
            logging.getLogger().setLevel(logging.ERROR)
        try:
            return module.run(cfg, out, bool(cfg.get("resume")))
        except DistillError as error:
            _fail(error)
            failures.append(error)
            if isinstance(error, Interrupted):
                raise SystemExit(error.exit_code) from error
            return None
        finally:
            importlib.import_module("distill.tracking").finish()

    try:
        hydra.main(version_base="1.3", config_path="pkg://conf", config_name=stage)(job)()
    except KeyboardInterrupt:
        return Interrupted.exit_code
    finally:
        for worker in multiprocessing.active_children():
            worker.kill()  # one that hangs in a broken video would keep the command from ending
    return max((error.exit_code for error in failures), default=0)


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
                f"{word!r} is a sweep: add -m for one run per value, or, if it is one value, quote"
                f" it twice: {_requoted(name, value)}"
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
    ordered = sorted(overrides, key=lambda word: _name(word) not in groups)
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
    if name not in known and not name.startswith("hydra"):
        return unknown_option(name, known)
    if name in groups:
        if culprit.startswith("+"):
            return f"{culprit}: {name} is chosen already; write {culprit.lstrip('+')}"
        return f"{culprit}: no such choice; {name} is one of {', '.join(groups[name])}"
    value = culprit.partition("=")[2]
    hint = f"; if it is text, quote it twice: {_requoted(name, value)}" if value[:1] in "[{" else ""
    return f"{culprit}: {str(error.__cause__ or error).splitlines()[0]}{hint if value else ''}"


def _name(word: str) -> str:
    """``student.size`` of ``+student.size=224``."""
    return word.lstrip("+~").split("=", 1)[0]


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


def _quoted(value: str) -> str:
    """A value as Hydra reads it back letter by letter."""
    body = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value)
    return f'"{body}"'


def _grammar_hint(word: str) -> str:
    name, equals, value = word.partition("=")
    if not equals or not name:
        return f"cannot read {word!r}; write options as name=value, for example +budget=120"
    return (
        f"cannot read the value of {word!r}; Hydra gives commas, =, #, ~, quotes, brackets and"
        f" letters beyond ASCII a meaning, so quote such a value twice: {_requoted(name, value)}"
    )


def _requoted(name: str, value: str) -> str:
    return shlex.quote(f"{name}={_quoted(value)}")


def choose(stage: str, overrides: Sequence[str], config: Any, multirun: bool) -> list[str]:
    """Overrides for what the user left open: the directory to resume, the default student.

    Raises:
        ConfigError: ``resume`` finds nothing, or comes with a sweep.
    """
    extra: list[str] = []
    given = {word.lstrip("+").split("=", 1)[0] for word in overrides}
    resume = getattr(config, "resume", False)
    if resume and "hydra.run.dir" not in given:  # given: a process of a distributed run
        if multirun:
            raise ConfigError("resume=true goes on with one run; not together with -m")
        found = unfinished(Path(config.outputs), stage) if resume is True else folder(resume)
        if found is None or not (found / "checkpoints" / "last.ckpt").is_file():
            raise ConfigError(
                f"resume={resume}: no unfinished run with a checkpoint"
                f" {'below ' + config.outputs if resume is True else 'in ' + str(found)}"
            )
        print(f"resuming {found}", file=sys.stderr)
        extra.append(f"hydra.run.dir={_quoted(str(found))}")
    if stage == "train_teacher" and not {"teacher", "teacher._target_"} & given:
        print(
            "teacher=compact: two EfficientNet-Lite0 members, for a CPU; the full-size choice:"
            " teacher=large training=gpu",
            file=sys.stderr,
        )
    if stage == "train_student" and "student" not in given and "student._target_" not in given:
        from students.default import default_student

        name, why = default_student()
        bar = "=" * 88
        print(f"{bar}\nstudent={name}: {why}\n{bar}", file=sys.stderr)
        extra.append(f"student={name}")
    return extra


def _hydra_itself(stage: str, words: list[str]) -> int:
    """``--cfg job``, ``--info``, ``--hydra-help`` and the like: Hydra's own business."""
    known = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--resolve", "--package")
    for word in words:
        flag = word.split("=", 1)[0]
        if flag.startswith("-") and flag not in (*known, *_SWITCHES, "-p", "--shell-completion"):
            text = f"unknown option {word!r}; options are name=value; see --help"
            return _fail(ConfigError(text))
    hydra.main(version_base="1.3", config_path="pkg://conf", config_name=stage)(lambda cfg: None)()
    return 0


def _fail(error: DistillError) -> int:
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code


def _quiet() -> None:
    """Silence what libraries say about their own insides, which a user can do nothing about."""
    for text in _LIBRARY_NOISE:
        warnings.filterwarnings("ignore", message=text)
