"""Run a stage of a written configuration in a process of its own, as its door would.

    python -m distill.stages.run_config train_teacher CONFIG.yaml RUN_FOLDER [resume]

For stages that start others: the options of another run are not words that a user could type.
"""

import importlib
import logging
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from distill.config import SCHEMAS
from distill.errors import DistillError, Interrupted
from distill.leaving import fail, leave
from distill.runs import first_process

log = logging.getLogger(__name__)


def start(stage: str, options: Mapping[str, Any], out: Path, resumed: bool = False) -> None:
    """Run a stage to its end; its progress and messages go where this process's go.

    Args:
        stage: a command's name.
        options: as its ``config.yaml`` has them; what is missing is the schema's default.
        out: its run directory.
        resumed: go on with the run of that directory.

    Raises:
        DistillError: it failed; its own message was printed.
        Interrupted: a signal stopped it, and this process.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "options.yaml"
    path.write_text(yaml.safe_dump(dict(options), sort_keys=False), encoding="utf-8")
    words = [stage, str(path), str(out), *(["resume"] if resumed else [])]
    child = subprocess.Popen([sys.executable, "-m", __name__, *words])
    try:
        code = child.wait()
    except KeyboardInterrupt as stop:
        # The terminal's Ctrl-C reached it too; a signal to this process alone did not.
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.wait()
        raise Interrupted.by(stop, f"stopped in {out}; continue with resume=true") from stop
    if code < 0:  # Python's way to say that a signal ended it, without a word of its own
        name = signal.Signals(-code).name
        raise Interrupted(
            f"{stage} was ended by {name} in {out} (SIGKILL: mostly for lack of memory);"
            " continue with resume=true",
            -code,
        )
    if code > 128:
        raise Interrupted(f"stopped in {out}; continue with resume=true", code - 128)
    if code:
        error = DistillError(f"{stage} did not finish (see its message above); its run is {out}")
        error.exit_code = code
        raise error


def main(words: Sequence[str]) -> int:
    """Run the stage that the words name; its exit code."""
    stage, path, out, *rest = words
    folder = Path(out)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if first_process():
        handlers.append(logging.FileHandler(folder / "log.txt"))
    level = logging.INFO if first_process() else logging.ERROR
    logging.basicConfig(level=level, format="%(message)s", handlers=handlers)
    given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    try:
        config = OmegaConf.merge(OmegaConf.structured(SCHEMAS[stage]), given)
        importlib.import_module(f"distill.stages.{stage}").run(config, folder, "resume" in rest)
    except DistillError as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    leave(lambda: main(sys.argv[1:]))
