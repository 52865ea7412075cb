"""README and docs as data: the commands, options and links that they show."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("python", "pip", "make", "wandb", "hf", "ffmpeg", "docker")
_FENCE = re.compile(r"^\s*```\s*(\w*)\s*$")
_COMMAND = re.compile(rf"(?:\w+=\S* )*(?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)})(?: |$)")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Command:
    """One command as a page shows it.

    Attributes:
        page: of which file, relative to the root.
        line: where it begins, from 1.
        text: in one line, without comments.
        body: what is fed to it (``<<'END'``), or "".
    """

    page: str
    line: int
    text: str
    body: str = ""

    @property
    def words(self) -> list[str]:
        """As a shell hands them on, without redirections and settings of the environment."""
        words = shlex.split(self.text)
        for at, word in enumerate(words):
            if word.startswith((">", "<", "|")):
                words = words[:at]
                break
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        return words

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Block:
    """A fenced or indented block of a page: its language, first line and text."""

    page: str
    language: str
    line: int
    text: str


def pages() -> list[Path]:
    """Every page that a user reads."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> tuple[list[Block], str]:
    """The blocks of code of a page; and its prose, with as many lines as the page."""
    name = page.relative_to(ROOT).as_posix()
    found: list[Block] = []
    prose: list[str] = []
    inside: list[str] | None = None
    language, begun, indented = "", 0, False
    before = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if inside is not None and not indented:
            if fence:
                found.append(Block(name, language, begun, "\n".join(inside)))
                inside = None
            else:
                inside.append(line)
            prose.append("")
            continue
        if inside is not None and not line.startswith("    "):
            found.append(Block(name, "", begun, "\n".join(inside)))
            inside, indented = None, False
        if inside is not None:
            inside.append(line[4:])
            prose.append("")
        elif fence:
            inside, language, begun = [], fence[1], number + 1
            prose.append("")
        elif line.startswith("    ") and (not before.strip() or before.startswith("#")):
            inside, begun, indented = [line[4:]], number, True
            prose.append("")
        else:
            prose.append(line)
        before = line
    if inside is not None:
        found.append(Block(name, language, begun, "\n".join(inside)))
    return found, "\n".join(prose)


def commands(page: Path) -> list[Command]:
    """Every command of a page: lines of blocks without a language or of bash, and inline code."""
    name = page.relative_to(ROOT).as_posix()
    code, prose = blocks(page)
    found = [
        command for block in code if block.language in ("", "bash") for command in _typed(block)
    ]
    for paragraph, line in _paragraphs(prose):
        for match in _CODE.finditer(paragraph):
            text = " ".join(match[1].split())
            if _COMMAND.match(text) and " " in text:
                at = line + paragraph[: match.start()].count("\n")
                found.append(Command(name, at, text))
    return sorted(found, key=lambda command: command.line)


def options(page: Path) -> list[tuple[int, str]]:
    """Inline code that is no command, word by word: line and word."""
    found = []
    for paragraph, line in _paragraphs(blocks(page)[1]):
        for match in _CODE.finditer(paragraph):
            text = " ".join(match[1].split())
            if not _COMMAND.match(text):
                at = line + paragraph[: match.start()].count("\n")
                found += [(at, word) for word in text.split()]
    return found


def links(page: Path) -> list[tuple[int, str]]:
    """Targets of links and pictures of a page's prose: line and target."""
    found = []
    for paragraph, line in _paragraphs(blocks(page)[1]):
        for match in _LINK.finditer(paragraph):
            found.append((line + paragraph[: match.start()].count("\n"), match[1] or match[2]))
    return found


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: set[str] = set()
    for line in blocks(page)[1].splitlines():
        if heading := re.match(r"#{1,6} +(.+?)\s*#*$", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            again = next(n for n in range(1000) if (f"{slug}-{n}" if n else slug) not in found)
            found.add(f"{slug}-{again}" if again else slug)
    return found


def _typed(block: Block) -> Iterator[Command]:
    lines = block.text.splitlines()
    at = 0
    while at < len(lines):
        begun, text = at, lines[at]
        while text.endswith("\\") and at + 1 < len(lines):
            at += 1
            text = f"{text[:-1].rstrip()} {lines[at].strip()}"
        at += 1
        body: list[str] = []
        if mark := re.search(r"<<'(\w+)'", text):
            while at < len(lines) and lines[at] != mark[1]:
                body.append(lines[at])
                at += 1
            at += 1
        for part in re.split(r" (?:&&|\|) ", _uncommented(text)):
            part = re.sub(r"\s+", " ", part.removeprefix("$ ")).strip()
            if _COMMAND.match(part):
                yield Command(block.page, block.line + begun, part, "\n".join(body))


def _uncommented(text: str) -> str:
    """Without a comment: after a # or three spaces, outside of quotes."""
    quote = ""
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        hash_sign = letter == "#" and text[at - 1 : at] in ("", " ")
        if not quote and (hash_sign or (text[at:].startswith("   ") and text[:at].strip())):
            return text[:at]
    return text


def _paragraphs(prose: str) -> Iterator[tuple[str, int]]:
    """Paragraphs with their first lines: inline code may be broken over lines, not over more."""
    line = 1
    for paragraph in re.split(r"(\n[ \t]*\n)", prose):
        if paragraph.strip():
            yield paragraph, line
        line += paragraph.count("\n")
