"""Type commands one after another, each in a fork of a process that has the libraries loaded.

``python -m tests.helpers.type_commands FOLDER`` reads ``commands.json`` of FOLDER, a list of lists
of words that begin after ``python``, and writes N.txt (all that command N printed) and
``codes.json`` there. Each command sees a fresh process, without seconds of imports.
"""

import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LOADED = (
    "distill.doors", "distill.stages.train_teacher", "distill.stages.train_student",
    "distill.stages.pseudo_label", "distill.stages.evaluate", "distill.stages.score",
    "distill.deploy.scorer", "teachers.members", "students.mixed_view",
)  # fmt: skip


def main(folder: Path) -> None:
    """Run the commands of a folder."""
    for name in _LOADED:
        importlib.import_module(name)
    codes = []
    for at, words in enumerate(json.loads((folder / "commands.json").read_text())):
        child = os.fork()
        if child == 0:
            _type(words, folder / f"{at}.txt")
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    (folder / "codes.json").write_text(json.dumps(codes))


def _type(words: list[str], told: Path) -> None:
    """Become the command; never returns."""
    output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code: object = 0
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            exec(compile(words[1], "the page", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [str(ROOT / words[0]), *words[1:]]
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
