"""Where a video is: a file, or an object that a URL names and that is fetched to be decoded."""

import re
from pathlib import Path, PosixPath
from typing import Any

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: c:// is a drive
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]*@")


def is_url(text: str) -> bool:
    """Whether a text names an object elsewhere, or in an archive, and no file."""
    return _URL.match(text) is not None


class RemotePath(PosixPath):
    """A URL in the place of a path. ``str`` gives it letter by letter; no file has this name.

    Whoever wants to read it asks ``distill.data.spool.local`` for a file. Whoever forgets gets
    "no such file" with the URL.

    Args:
        url: as ``is_url`` knows it.
    """

    url: str

    def __new__(cls, url: str) -> "RemotePath":
        made = super().__new__(cls, url)
        made.url = url
        return made

    @property
    def suffix(self) -> str:
        return suffix_of(self.url)

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemotePath({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> Any:
        return RemotePath, (self.url,)


def place_of(text: str) -> Path:
    """A path or a URL as something that a row can hold; ``str`` gives the text back."""
    return RemotePath(text) if is_url(text) else Path(text)


def suffix_of(url: str) -> str:
    """``.mp4`` of ``https://host/a.mp4?signature=b``, and of ``tar://a.mp4::file:///b.tar``."""
    inside = url.split("::", 1)[0].split("?", 1)[0].split("#", 1)[0]
    name = inside.rsplit("/", 1)[-1]
    return f".{name.rsplit('.', 1)[1]}" if "." in name.lstrip(".") else ""


def without_password(url: str) -> str:
    """For messages."""
    return _PASSWORD.sub("://...@", url)


def url_problem(url: str) -> str:
    """Why a URL is not used, or ''."""
    if _PASSWORD.search(url):
        return "it holds a password, which would be kept in the label store; docs/labels.md"
    return ""


def name_of(url: str) -> str:
    """A URL without what follows ``?``: signatures are for whoever fetches, not for reports."""
    return url.split("?", 1)[0]
