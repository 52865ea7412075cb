"""README and docs: links lead somewhere, options and flags that prose names exist."""

import inspect
import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distill.config import SCHEMAS
from distill.help import config_groups
from distill.losses.weighted import OPTIONS, TERMS
from teachers.members import KINDS
from tests.helpers.documents import ROOT, anchors, blocks, commands, links, options, pages

_NAMED = re.compile(r"[+~]{0,2}([a-z_][\w./]*(?:@[\w.]+)?)=")
_DOTTED = re.compile(r"[a-z_]+(?:\.\w+)+")
# Arguments of Python and of FFmpeg that prose shows like options.
_NO_OPTIONS = {"hdr", "skip_frame", "weights_only"}
_OTHERS_FLAGS = {"--local-dir", "--no-deps", "--shm-size", "--gpus", "--ipc"}  # hf, pip, docker


def _keys(node: Any, prefix: str = "") -> set[str]:
    """Dotted names of all keys of a tree of mappings."""
    found = set()
    for key, value in node.items() if isinstance(node, dict) else ():
        found |= {f"{prefix}{key}"} | _keys(value, f"{prefix}{key}.")
    return found


def _declared(schema: Any, prefix: str = "") -> set[str]:
    found = set()
    for item in fields(schema):
        found.add(f"{prefix}{item.name}")
        if is_dataclass(item.default_factory):
            found |= _declared(item.default_factory, f"{prefix}{item.name}.")
    return found


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every option of every command, with each choice of each group."""
    found = set().union(*(_declared(schema) for schema in SCHEMAS.values()))
    for group, choices in config_groups().items():
        found.add(group)
        for choice in choices:
            text = (ROOT / "conf" / group / f"{choice}.yaml").read_text(encoding="utf-8")
            node = yaml.safe_load(text) or {}
            inner = "" if "@package _global_" in text else f"{group}."
            found |= _keys(node, inner)
    for target in KINDS.values():  # a member's options beyond those that the choices name
        module, _, name = target.rpartition(".")
        parameters = inspect.signature(getattr(import_module(module), name)).parameters
        found |= {f"teacher.members.NAME.{key}" for key in parameters}
    return found | {f"loss.{name}" for name in (*TERMS, *OPTIONS)}


def _is_option(name: str, known: set[str]) -> bool:
    """Whether prose may call an option so; within its page's subject the last part is enough."""
    name = re.sub(r"@[\w.]+$", "", name)
    if name.startswith(("hydra.", "hydra/")):
        return True
    if name in known or name in OPTIONS:
        return True
    if re.search(r"\b[A-Z]+$", name):  # loss.NAME: what it stands for is the reader's choice
        return any(option.startswith(name[: name.rindex(".") + 1]) for option in known)
    if re.match(r"data\.(options|columns)\.", name):
        return True
    return "." not in name and any(option.endswith(f".{name}") for option in known)


PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


@PAGES
def test_links_lead_somewhere(page: Path) -> None:
    for line, target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}:{line}: {target}: there is no such file"
        assert not anchor or anchor in anchors(file), f"{page.name}:{line}: {target}: no heading"


@PAGES
def test_options_in_prose_exist(page: Path, known: set[str]) -> None:
    roots = {name.split(".")[0] for name in known if "." in name}
    wrong = []
    for line, word in options(page):
        match = _NAMED.match(word)
        name = match[1] if match else ""
        dotted = _DOTTED.fullmatch(word)
        if dotted and word.split(".")[0] in roots and not (ROOT / word).exists():
            name = word
        files = name.endswith((".mat", ".yaml", ".csv", ".json"))
        if name and name not in _NO_OPTIONS and not files and not _is_option(name, known):
            wrong.append(f"{page.name}:{line}: {word}")
    assert not wrong, "\n".join(wrong)


@PAGES
def test_choices_in_prose_exist(page: Path) -> None:
    groups = config_groups()
    for line, word in options(page):
        name, equals, value = word.rstrip(",;").partition("=")
        if equals and name in groups and re.fullmatch(r"[a-z][\w]*", value):
            assert value in (*groups[name], "fit"), f"{page.name}:{line}: {word}"


@pytest.fixture(scope="module")
def source() -> str:
    """All programs' text."""
    rooms = ("distill", "teachers", "students", "benchmarks")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@PAGES
def test_flags_in_prose_exist(page: Path, source: str) -> None:
    for line, word in options(page):
        flag = re.match(r"--[a-z][\w-]*", word)
        if flag and flag[0] not in _OTHERS_FLAGS | {"--help"}:
            assert f'"{flag[0]}"' in source, f"{page.name}:{line}: no program takes {flag[0]}"


@PAGES
def test_files_in_prose_exist(page: Path) -> None:
    """``distill/data/looks.py`` and the like."""
    rooms = ("distill", "teachers", "students", "tests", "benchmarks", "conf", "docs")
    for line, word in options(page):
        if re.fullmatch(rf"(?:{'|'.join(rooms)})/[\w./]+(?:\.\w+|/)", word):
            assert (ROOT / word).exists(), f"{page.name}:{line}: {word}"


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {target.partition("#")[0] for _, target in links(index)}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - linked == {"README.md"}


def test_a_page_is_read_as_a_browser_shows_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tests.helpers.documents.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`, three\n    python a.py x    why it's so\n\n## One two three\n"
        "see `python b.py\ny=1` and [it](other.md#here), `a.b=c d`\n"
        "- item\n    no code, since no blank line\n\n```bash\n$ python c.py \\\n    'z # z' > f\n"
        "X=1 python d.py && pip install e\nfind . | python g.py - | jq\n"
        "```\n```yaml\n# python f.py g\n```\n```\npython - h <<'END'\nprint(1)\nEND\n```\n"
    )
    found = commands(page)
    assert [(c.line, c.words) for c in found] == [
        (2, ["python", "a.py", "x"]),
        (5, ["python", "b.py", "y=1"]),
        (11, ["python", "c.py", "z # z"]),
        (13, ["python", "d.py"]),
        (13, ["pip", "install", "e"]),
        (14, ["python", "g.py", "-"]),
        (20, ["python", "-", "h"]),
    ]
    assert found[-1].body == "print(1)"
    assert anchors(page) == {"one-two-three", "one-two-three-1"}
    assert links(page) == [(6, "other.md#here")]
    assert [word for _, word in options(page)] == ["two", "a.b=c", "d"]


@given(st.lists(st.sampled_from(["# h", "text", "", "```", "    code", "`a`"]), max_size=12))
def test_prose_keeps_its_line_numbers(tmp_path_factory: Any, lines: list[str]) -> None:
    page = tmp_path_factory.mktemp("pages") / "page.md"
    page.write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr("tests.helpers.documents.ROOT", page.parent)
        code, prose = blocks(page)
    shown = prose.split("\n")
    assert all(shown[at] in ("", line) for at, line in enumerate(lines))
    assert all(block.text.split("\n")[0] in lines[block.line - 1] for block in code if block.text)


def test_a_renamed_option_would_be_found(known: set[str]) -> None:
    for name in ("training.epoch", "student.framess", "accumulation", "teacher.members.NAME.lrs"):
        assert not _is_option(name, known)
    for name in ("training.epochs", "accumulate", "teacher.members.NAME.lr", "loss@finetune.loss"):
        assert _is_option(name, known)
