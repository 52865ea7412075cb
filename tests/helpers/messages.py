"""Every message that the program can end or warn with, read from its source.

``python -m tests.helpers.messages`` prints those that docs/troubleshooting.md lacks, as lines for
one of its blocks.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from tests.helpers.documents import ROOT, blocks

PAGE = ROOT / "docs" / "troubleshooting.md"
ROOMS = ("distill", "teachers", "students")
# Their texts become the reason of a row or of a VideoError.
_REASONS = {"Damaged", "Refused", "_NoVideo", "_Lost"}
_GAP = "…"  # what stands for a value
_LEAST = 10  # letters of a constant part that can be searched for
_PERCENT = r"%[-+.#\d]*[sdgefr]"
_MARKS = " .,:;()'\"="
_DEPTH = 3  # functions and variables that a message is followed through


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        file: where it is made, relative to the root.
        line: there.
        kind: its class, or ``warning``.
        text: with ``…`` for each value.
    """

    file: str
    line: int
    kind: str
    text: str

    @property
    def parts(self) -> list[str]:
        """What is the same each time, as far as it is long enough to be searched for."""
        found = (" ".join(part.split()) for part in self.text.split(_GAP))
        long = [part for part in found if len(part.strip(_MARKS)) >= _LEAST]
        return long or ([self.text] if re.search("[a-z]{2}", self.text) else [])


class _Source:
    """The parsed rooms: classes of errors, and functions by name."""

    def __init__(self) -> None:
        self.files = {
            path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
            for room in ROOMS
            for path in sorted((ROOT / room).rglob("*.py"))
        }
        nodes = [node for tree in self.files.values() for node in ast.walk(tree)]
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self.errors = {"DistillError", *_REASONS}
        before = 0
        while len(self.errors) > before:  # classes of classes, until there are no more
            before = len(self.errors)
            self.errors |= {
                found.name for found in classes if any(_name(b) in self.errors for b in found.bases)
            }
        self.functions: dict[str, ast.FunctionDef] = {}
        for node in nodes:
            if isinstance(node, ast.FunctionDef):
                self.functions.setdefault(node.name, node)

    def messages(self) -> Iterator[Message]:
        for file, tree in self.files.items():
            for owner, call in _calls(tree):
                kind = _name(call.func)
                if kind in self.errors and call.args:
                    # A VideoError is path, reader, reason.
                    at = 2 if kind == "VideoError" and len(call.args) > 2 else 0
                    texts = self._texts(call.args[at], owner, _DEPTH)
                elif kind == "by" and len(call.args) == 2:
                    texts = self._texts(call.args[1], owner, _DEPTH)
                elif kind == "error" and isinstance(call.func, ast.Attribute):  # argparse's
                    texts = self._texts(call.args[0], owner, _DEPTH)
                elif kind == "warning" and call.args:
                    kind = "warning"
                    texts = [
                        re.sub(_PERCENT, _GAP, text).replace("%%", "%")
                        for text in self._texts(call.args[0], owner, _DEPTH)
                    ]
                else:
                    continue
                for text in texts:
                    clean = re.sub(f"{_GAP}(?:{_GAP})+", _GAP, " ".join(text.split()))
                    yield Message(file, call.lineno, kind, clean)

    def _texts(self, node: ast.expr, owner: ast.AST, depth: int) -> list[str]:
        """What an expression may say; a value is ``…``."""
        if isinstance(node, ast.Constant):
            return [str(node.value)] if isinstance(node.value, str) else [_GAP]
        if isinstance(node, ast.IfExp):
            return self._texts(node.body, owner, depth) + self._texts(node.orelse, owner, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            both = (self._texts(side, owner, depth) for side in (node.left, node.right))
            return ["".join(parts) for parts in product(*both)]
        if isinstance(node, ast.JoinedStr):
            return [_template(node)]
        if depth and isinstance(node, ast.Name):
            found = [
                text
                for assigned in _assigned(owner, node.id)
                for text in self._texts(assigned, owner, depth - 1)
            ]
            return found or [_GAP]
        if depth and isinstance(node, ast.Call) and _name(node.func) in self.functions:
            function = self.functions[_name(node.func)]
            found = [
                text
                for inner in ast.walk(function)
                if isinstance(inner, ast.Return) and inner.value is not None
                for text in self._texts(inner.value, function, depth - 1)
            ]
            return found or [_GAP]
        return [_GAP]


def _template(node: ast.JoinedStr) -> str:
    """An f-string with ``…`` for each value."""
    return "".join(str(v.value) if isinstance(v, ast.Constant) else _GAP for v in node.values)


def _calls(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Every call with the function that it stands in."""
    pending: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while pending:
        owner, node = pending.pop()
        if isinstance(node, ast.Call):
            yield owner, node
        inner = node if isinstance(node, ast.FunctionDef) else owner
        pending += [(inner, child) for child in ast.iter_child_nodes(node)]


def _assigned(owner: ast.AST, name: str) -> list[ast.expr]:
    return [
        node.value
        for node in ast.walk(owner)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]


def _name(node: ast.expr) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


@cache
def _source() -> _Source:
    return _Source()


def messages() -> list[Message]:
    """All messages, in the order of files and lines, each text once per place."""
    found = dict.fromkeys(_source().messages())
    return sorted(found, key=lambda m: (m.file, m.line, m.text))


def strings() -> str:
    """Every text of the program's source, with ``…`` for values; to see that a message exists."""
    found = []
    for tree in _source().files.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.append(_template(node))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(_PERCENT, _GAP, node.value))
    return "\n".join(" ".join(text.split()) for text in found)


def entries() -> list[tuple[int, list[str], str]]:
    """The page's blocks of messages: first line, messages, and the prose that explains them."""
    code, prose = blocks(PAGE)
    lines = prose.splitlines()
    found = []
    for block in code:
        if block.language == "text":
            texts = [" ".join(line.split()) for line in block.text.splitlines()]
            after = lines[block.line + len(texts) :]
            told: list[str] = []
            for line in after:
                if line.startswith("#") or (told and not line.strip()):
                    break
                told += [line] if line.strip() else []
            found.append((block.line, texts, " ".join(told)))
    return found


def missing() -> list[Message]:
    """The messages of which a constant part stands in no block of the page."""
    shown = "\n".join(text for _, texts, _ in entries() for text in texts)
    return [m for m in messages() if not all(part in shown for part in m.parts)]


if __name__ == "__main__":
    for one in missing():
        print(f"{one.text}    <- {one.file}:{one.line}")
