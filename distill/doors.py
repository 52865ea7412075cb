"""The commands: parse, check the options, call a stage, return an exit code.

Hydra composes and runs; this module checks first what Hydra would let pass or would answer with
a traceback, and chooses what the user left open (run directory to resume, default student).
"""

import importlib
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from distill.config import folder, register_schemas
from distill.errors import ConfigError, DistillError, Interrupted
from distill.help import help_page
from distill.leaving import fail, leave, plain_door
from distill.overrides import check_overrides
from distill.runs import begun, first_process, unfinished
from distill.stages.front import begin, finish, names_folder, note, sweep_folder
from distill.words import quoted

# Before torch is imported. Its threads otherwise spin while they wait for each other. On 2 cores a
# training step took 2.15 times as long with spinning beside one busy process per core, as decoding
# workers are, and 0.70 times as long on an idle machine (benchmarks/threads.py). Yours to set.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

log = logging.getLogger(__name__)
_SWITCHES = ("-m", "--multirun")
_LAUNCHER = "hydra/launcher="
_SWINS = ("swin_t", "evqa")  # students that conf/training/gpu.yaml is for
_LIBRARY_NOISE = (
    ".*torch.jit.script.*deprecated.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*module.s. in eval mode at the start of training.*",  # frozen parts are meant to be
    ".*does not have many workers.*",  # as many as there are cores
    "Using a non-tuple sequence for multidimensional indexing.*",  # timm's, of position tables
    ".*lr_scheduler.step.*before.*optimizer.step.*",
)


def train_teacher() -> None:
    """``python train_teacher.py``."""
    leave(lambda: _hydra_door("train_teacher"))


def pseudo_label() -> None:
    """``python pseudo_label.py``."""
    leave(lambda: _hydra_door("pseudo_label"))


def train_student() -> None:
    """``python train_student.py``."""
    leave(lambda: _hydra_door("train_student"))


def evaluate() -> None:
    """``python evaluate.py``."""
    leave(lambda: _hydra_door("evaluate"))


def score() -> None:
    """``python score.py``."""
    plain_door(importlib.import_module("distill.stages.score").run)


def export() -> None:
    """``python export.py``."""
    plain_door(importlib.import_module("distill.stages.export").run)


def make_ladder() -> None:
    """``python make_ladder.py``."""
    plain_door(importlib.import_module("distill.stages.make_ladder").run)


def dashboard() -> None:
    """``python dashboard.py``."""
    plain_door(importlib.import_module("distill.stages.dashboard").run)


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
    words = [*(["-m"] if multirun else []), *overrides]  # Hydra takes a switch in front only
    try:
        config = check_overrides(stage, overrides, multirun)
        extra = choose(stage, overrides, config, multirun)
        if extra:  # the default student may lack an option of the one that was checked
            check_overrides(stage, [*overrides, *extra], multirun)
        words += extra
        made = missing_folders(config.outputs, stage)
        check_outputs(config.outputs)
        sweep: Path | None = None
        if multirun and stage == "train_student":  # its door draws their front at the end
            sweep = sweep_folder(config.outputs, words)
    except DistillError as error:
        return fail(error)
    if sweep is not None:
        words = [word for word in words if not names_folder(word)]
        words.append(f"hydra.sweep.dir={quoted(str(sweep))}")
        if first_process():
            begin(sweep)
    sys.argv = [sys.argv[0], *words]
    failures: list[DistillError] = []
    door = os.getpid()
    if any(word.startswith(_LAUNCHER) for word in words):
        # Errors then come back from other processes through Hydra, which would print and drop them.
        os.environ["HYDRA_FULL_ERROR"] = "1"

    def job(cfg: DictConfig) -> Any:
        module = importlib.import_module(f"distill.stages.{stage}")
        out = Path(HydraConfig.get().runtime.output_dir)
        if not first_process():
            logging.getLogger().setLevel(logging.ERROR)
        result: Any = None
        failure = ""
        try:
            result = module.run(cfg, out, bool(cfg.get("resume")))
            return result
        except DistillError as error:
            failure = str(error)
            fail(error)
            failures.append(error)
            with (out / "log.txt").open("a", encoding="utf-8") as file:
                file.write(f"error: {error}\n")
            if os.getpid() != door:  # a launcher's process, whose list of failures nobody reads
                raise
            if isinstance(error, Interrupted):
                raise SystemExit(error.exit_code) from error
            return None
        except Exception as error:  # a defect, which Hydra shows whole
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            importlib.import_module("distill.tracking").finish()
            if {path.name for path in out.iterdir()} <= {".hydra", "log.txt"}:
                shutil.rmtree(out)  # a dry run or a refused start leaves nothing
            if sweep is not None and first_process():
                its = HydraConfig.get()
                own = [word for word in its.overrides.task if word not in overrides]
                note(sweep, its.job.num, own, out, result, failure)

    try:
        hydra.main(version_base="1.3", config_path="pkg://conf", config_name=stage)(job)()
    except DistillError as error:
        return fail(error)
    except SystemExit:  # stopped, or a defect: the runs before it are worth a table all the same
        if sweep is not None:
            finish(sweep)
        raise
    finally:
        for worker in multiprocessing.active_children():
            worker.kill()  # one that hangs in a broken video would keep the command from ending
        remove_empty(made)
    if sweep is not None:
        finish(sweep)
    if multirun and failures:
        told = "".join(f"\n  {error}" for error in failures)
        sys.stderr.write(f"error: {len(failures)} runs of the sweep did not finish:{told}\n")
    return max((error.exit_code for error in failures), default=0)


def missing_folders(outputs: str, stage: str) -> list[Path]:
    """The folders above a run that are not there yet, the innermost first."""
    above = folder(outputs) / stage
    return [path for path in (above, above.parent) if not path.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those that a dry run or a refused start made and left empty."""
    for path in folders:
        with suppress(OSError):  # it holds a run
            path.rmdir()


def check_outputs(outputs: str) -> None:
    """Make the folder that runs go to.

    Raises:
        ConfigError: it cannot be made or written to.
    """
    try:
        folder(outputs).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder(outputs)):
            pass
    except OSError as error:
        raise ConfigError(
            f"outputs={outputs}: cannot be written to ({error.strerror}); give another folder"
        ) from error


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
            raise ConfigError("resume=true continues one run; it cannot be combined with -m")
        found = unfinished(Path(config.outputs), stage) if resume is True else folder(resume)
        if found is None or not begun(found):
            raise ConfigError(
                f"resume={resume}: no unfinished run with a checkpoint or scores"
                f" {'below ' + config.outputs if resume is True else 'in ' + str(found)}"
            )
        print(f"resuming {found}", file=sys.stderr)
        extra.append(f"hydra.run.dir={quoted(str(found))}")
    groups = {name.split(".")[0] for name in given}
    if stage == "train_teacher" and not groups & {"teacher", "experiment"}:
        print(
            "teacher=compact: two EfficientNet-Lite0 members, for a CPU; full size, for a GPU:"
            " experiment=heavy",
            file=sys.stderr,
        )
    if stage == "train_student" and not given & {"student", "student._target_", "recipe"}:
        from students.default import default_student

        name, why = default_student()
        bar = "=" * 88
        print(f"{bar}\nstudent={name}: {why}\n{bar}", file=sys.stderr)
        extra.append(f"student={name}")
    if stage == "train_student" and not given & {"training", "recipe"}:
        student = next((w for w in [*overrides, *extra] if w.startswith("student=")), "")
        if student.removeprefix("student=") in _SWINS:
            print(
                "training=gpu: learning rates and epochs as published for a Swin; for the compact"
                " student's: training=student",
                file=sys.stderr,
            )
            extra.append("training=gpu")
    return extra


def _hydra_itself(stage: str, words: list[str]) -> int:
    """``--cfg job``, ``--info``, ``--hydra-help`` and the like: Hydra's own business."""
    known = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--resolve", "--package")
    for word in words:
        flag = word.split("=", 1)[0]
        if flag.startswith("-") and flag not in (*known, *_SWITCHES, "-p", "--shell-completion"):
            text = f"unknown option {word!r}; options are name=value; see --help"
            return fail(ConfigError(text))
    hydra.main(version_base="1.3", config_path="pkg://conf", config_name=stage)(lambda cfg: None)()
    return 0


def _quiet() -> None:
    """Silence what libraries say about their own insides, which a user can do nothing about."""
    for text in _LIBRARY_NOISE:
        warnings.filterwarnings("ignore", message=text)
