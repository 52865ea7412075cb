"""Every command that README and docs show is one that the program takes, and is accounted for."""

import argparse
import re
import runpy
import shlex
import signal
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from distill.config import SCHEMAS, split_target
from distill.flags import Parser
from distill.overrides import check_overrides
from tests.helpers.documents import ROOT, Block, Command, blocks, commands, pages
from tests.helpers.typed import MAY_STAY_UNTYPED, TYPED, Typed, untyped_because

COMMANDS = [command for page in pages() for command in commands(page)]
CODE = [block for page in pages() for block in blocks(page)[0] if block.language == "python"]


class _Parsed(BaseException):
    """What stops a program once it has taken its command line."""


def _of(program: str) -> list[Command]:
    found = {c.text: c for c in COMMANDS if c.words and c.words[0].endswith(program)}
    return list(found.values())


def _stage(command: Command) -> str:
    """The stage of a door that Hydra runs, or ""."""
    name = command.words[1].removesuffix(".py") if len(command.words) > 1 else ""
    return name if name in SCHEMAS else ""


HYDRA = [command for command in _of("python") if _stage(command)]
OTHERS = [command for command in _of("python") if not _stage(command)]


def test_the_pages_are_read() -> None:
    """Else a changed format of the pages would leave nothing to check."""
    assert len(pages()) >= 17 and len(HYDRA) >= 40 and len(OTHERS) >= 20 and CODE


def _put(word: str) -> str:
    """A word with a choice that exists for a placeholder that stands for one."""
    return {"experiment=NAME": "experiment=heavy"}.get(word, word)


@pytest.mark.parametrize("command", HYDRA, ids=str)
def test_options_of_the_main_commands_exist(command: Command, tmp_path: Path) -> None:
    words = [_put(word) for word in command.words[2:]]
    if "--help" in words:
        assert words == ["--help"]
        return
    if any("hydra.searchpath" in word for word in words):
        assert untyped_because(command.text) == "", "only typing it tells whether it composes"
        return
    stage = _stage(command)
    config = check_overrides(stage, [word for word in words if word != "-m"], "-m" in words)
    for part in ("student", "teacher"):
        node = getattr(config, part, None)
        if node and "_target_" in node:
            split_target(node, part)


def _takes(path: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a program's own parser takes the words; False where it has no parser.

    Raises:
        SystemExit: the parser refuses them.
    """
    module = path == "-m"
    name, rest = (words[0], words[1:]) if module else (path, words)
    file = ROOT / (name.replace(".", "/") + ".py" if module else name)
    if module and not file.is_file():
        file = ROOT / name.replace(".", "/") / "__main__.py"
    assert file.is_file(), f"there is no {name}"
    of_its_own = file.parent.name in ("benchmarks", "helpers", "students")
    if of_its_own and "import argparse" not in file.read_text(encoding="utf-8"):
        return False

    def parsing_only(kind: type[argparse.ArgumentParser]) -> None:
        real = kind.parse_args

        def parse(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
            real(self, args, namespace)
            raise _Parsed

        monkeypatch.setattr(kind, "parse_args", parse)

    for kind in (argparse.ArgumentParser, Parser):
        parsing_only(kind)
    monkeypatch.setattr(sys, "argv", [str(file), *rest])
    for folder in (file.parent, ROOT):
        monkeypatch.syspath_prepend(str(folder))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(_Parsed):
            if module:
                runpy.run_module(name, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(file), run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, before)
    return True


@pytest.mark.parametrize("command", OTHERS, ids=str)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_options_of_the_other_programs_exist(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *words = command.words[1:]
    if program in ("-", "-c"):
        compile(command.body or words[0], str(command), "exec")
    elif words[:1] == ["pytest"]:
        assert all((ROOT / word).exists() for word in words[1:])
    elif not _takes(program, words, monkeypatch):
        options = [word for word in words if word.startswith("-")] if program != "-m" else words[1:]
        assert not options, f"{command}: it has no options"


def test_an_option_that_does_not_exist_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["x", "--frame-scores"], []):
        with pytest.raises(SystemExit) as refused, monkeypatch.context() as patch:
            _takes("score.py", words, patch)
        assert refused.value.code == 2


def test_extras_and_targets_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = re.findall(r"(?m)^([a-z]+):.*##", (ROOT / "Makefile").read_text())
    for command in COMMANDS:
        for extras in re.findall(r"(?:distill-vqa|\.)\[([\w,]+)\]", command.text):
            for extra in extras.split(","):
                assert extra in project["optional-dependencies"], str(command)
        if command.words[:1] == ["make"]:
            assert command.words[1] in targets, str(command)


@pytest.mark.parametrize("block", CODE, ids=lambda block: f"{block.page}:{block.line}")
def test_python_of_the_pages_compiles(block: Block) -> None:
    compile(block.text, f"{block.page}:{block.line}", "exec")


def test_each_command_is_typed_or_has_a_reason_why_not() -> None:
    """A new line of the docs belongs into tests/helpers/typed.py."""
    typed = {entry.text for entry in TYPED}
    left = [str(c) for c in COMMANDS if c.text not in typed and not untyped_because(c.text)]
    assert not left, "neither typed nor excused in tests/helpers/typed.py:\n" + "\n".join(left)


def test_the_list_has_nothing_that_no_page_shows() -> None:
    shown = {command.text for command in COMMANDS}
    assert [entry.text for entry in TYPED if entry.text not in shown] == []
    every = [pattern for patterns in MAY_STAY_UNTYPED.values() for pattern in patterns]
    idle = [p for p in every if not any(untyped_because(text, (p,)) for text in shown)]
    assert not idle


def test_nothing_is_typed_that_would_stay_untyped() -> None:
    assert not [entry.text for entry in TYPED if untyped_because(entry.text)]
    assert all(isinstance(entry, Typed) and shlex.split(entry.text) for entry in TYPED)
