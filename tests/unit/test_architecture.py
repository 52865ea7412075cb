"""docs/architecture.md says who may import whom; the source does no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.documents import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("distill", "teachers", "students", "conf")
# What the page tells as exceptions: module -> what it may import beside its room's.
EXCEPTIONS = {
    "distill.doors": {"stages", "students", "tracking"},
    "distill": {"deploy"},
}


def _table(heading: str) -> list[list[str]]:
    """Cells of the first table whose header begins with a word."""
    lines = PAGE.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


ALLOWED = {room: set(filter(None, may.split(", "))) for room, _, may in _table("room")}
LIBRARIES = {
    library.strip("`"): tuple(name.strip("` ") for name in known.split(","))
    for library, known in _table("library")
}


def _files() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield module.removesuffix(".__init__"), path


def _imports(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            # ``from distill import plots``: the name may be a module.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _by_name(node):
            found.add(_by_name(node))
    return found


def _by_name(call: ast.Call) -> str:
    """What ``importlib.import_module`` is told to import, where that is fixed; or ""."""
    of_import = getattr(call.func, "attr", "") == "import_module" and call.args
    return str(call.args[0].value) if of_import and isinstance(call.args[0], ast.Constant) else ""


def _room(name: str) -> str:
    """The room of a module: ``data`` of distill.data.rows, ``core`` of distill.cost."""
    package, _, rest = name.partition(".")
    if package != "distill":
        return package
    room = rest.split(".")[0]
    return room if room and (ROOT / "distill" / room).is_dir() else "core"


MODULES = {module: _imports(path) for module, path in _files()}


def test_the_page_has_every_room_and_no_other() -> None:
    assert {_room(module) for module in MODULES} == set(ALLOWED), (
        "docs/architecture.md, 'Who may know whom': a row for each room"
    )
    assert all(may <= set(ALLOWED) for may in ALLOWED.values())


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_knows_those_it_may(room: str) -> None:
    wrong = []
    for module, names in MODULES.items():
        if _room(module) != room:
            continue
        may = ALLOWED[room] | {room} | EXCEPTIONS.get(module, set())
        for name in names:
            if name.split(".")[0] in PACKAGES and name != "distill" and _room(name) not in may:
                wrong.append(f"{module} imports {name}")
    assert not wrong


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_is_known_to_those_who_may(library: str) -> None:
    users = [m for m, names in MODULES.items() if any(n.split(".")[0] == library for n in names)]
    assert users, f"nobody imports {library}; the row is idle"
    known = LIBRARIES[library]
    assert [u for u in users if not any(u == k or u.startswith(f"{k}.") for k in known)] == []


# Help and reports that compare with a public set by its name.
NAME_DATA_SETS = {
    "distill.stages.ladder_options",  # as many pairs as KVQ's test has
    "distill.evaluation.comparisons",
    "distill.evaluation.telling",
    "distill.stages.evaluate",
    "distill.stages.evaluation_rows",
    "distill.report.answers",
    "distill.report.cost",
    "distill.report.verdicts",
}


def test_only_adapters_and_published_weights_name_public_data_sets() -> None:
    """In texts of the code, docstrings apart."""
    sets = [p.stem for p in (ROOT / "distill/datasets").glob("*.py") if p.stem[0] != "_"]
    assert "kvq" in sets
    name = re.compile(rf"(?i)\b(?:{'|'.join(sets)})\b")
    named = set()
    for module, path in _files():
        if not module.startswith("distill.") or _room(module) in ("datasets", "kvq"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in docstrings and name.search(node.value):
                named.add(module)
    assert named <= NAME_DATA_SETS


def test_the_tests_that_hold_the_invariants_are_there() -> None:
    rows = _table("invariant")
    assert len(rows) >= 20
    for invariant, held in rows:
        names = re.findall(r"`(tests/[^`]+)`", held)
        assert names, invariant
        for name in names:
            file, _, test = name.partition("::")
            path = ROOT / file
            assert path.is_file(), f"{invariant}: {name}"
            assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), name


def test_a_forbidden_import_would_be_found() -> None:
    assert _room("distill.data.rows") == "data" and _room("distill.cost") == "core"
    assert _room("teachers.liqe") == "teachers" and _room("distill") == "core"
    assert "stages" not in ALLOWED["data"] and "students" not in ALLOWED["teachers"]
    assert {"losses", "data"} <= {_room(name) for name in MODULES["distill.training"]}
