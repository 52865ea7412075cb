"""docs/troubleshooting.md has every message of the program, and none that the program lacks."""

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.checks import above, at_least, between, one_of
from distill.data.manifest import read_manifest
from distill.data.readers import make_reader
from distill.errors import DistillError, StoreFullError
from distill.labels import LabelStore
from distill.labels.files import told
from distill.overrides import check_overrides
from distill.stages.score import run as score
from tests.helpers.messages import Message, entries, messages, missing, strings

ENTRIES = entries()
LINES = [text for _, texts, _ in ENTRIES for text in texts]


def test_the_source_is_read() -> None:
    """Else there would be nothing to look for."""
    found = messages()
    assert len({message.text for message in found}) > 400
    assert {"ConfigError", "ManifestError", "VideoError", "by", "warning"} <= {
        message.kind for message in found
    }
    places = {(message.file, message.text) for message in found}
    assert ("distill/checks.py", "…=… must lie between … and …") in places
    # Through a variable, a function's returns, and the two branches of a condition.
    assert ("distill/model.py", "cannot build …: not one of this program's networks") in places
    assert any("UNCALIBRATED: bundle …" in text for _, text in places)
    for reason in ("only a cover picture", "no video stream"):
        assert ("distill/data/readers/packets.py", reason) in places


def test_each_message_is_on_the_page() -> None:
    left = "\n".join(f"{m.text}    <- {m.file}:{m.line}" for m in missing())
    assert not left, f"put these into blocks of docs/troubleshooting.md, and explain them:\n{left}"


def test_the_page_has_no_message_that_the_program_lacks() -> None:
    known = strings()
    stale = [
        f"line {line}: {text}"
        for line, texts, _ in ENTRIES
        for text in texts
        if not all(part in known for part in Message("", 0, "", text).parts)
    ]
    assert not stale


def test_each_entry_is_explained() -> None:
    assert [line for line, _, prose in ENTRIES if len(prose) < 40] == []


def test_no_message_stands_in_two_entries() -> None:
    assert sorted({text for text in LINES if LINES.count(text) > 1}) == []


def _raised(call: Callable[[], Any]) -> str:
    with pytest.raises(DistillError) as caught:
        call()
    return str(caught.value)


def _on_page(message: str) -> bool:
    """Whether a line of the page is this message, whatever stands for its values."""
    flat = " ".join(message.split())
    patterns = (".*".join(map(re.escape, line.split("…"))) for line in LINES)
    return any(re.fullmatch(pattern, flat) for pattern in patterns)


def test_messages_as_they_are_raised_are_found(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("name\na.mp4\n")
    (tmp_path / "two.csv").write_text("video,mos,split\na.mp4,1,tarin\n")
    (tmp_path / "empty.mp4").touch()
    calls: list[Callable[[], Any]] = [
        lambda: at_least("training.lr", -1, 0),
        lambda: above("lease", 0, 0),
        lambda: between("seed", -1, 0, 2),
        lambda: one_of("split", "tset", ("train", "test")),
        lambda: check_overrides("train_student", ["+bugdet=120"]),
        lambda: check_overrides("train_student", ["student=swint"]),
        lambda: check_overrides("train_student", ["+budget=1,2"], multirun=False),
        lambda: check_overrides("train_student", ["pool=[a"]),
        lambda: check_overrides("evaluate", ["split"]),
        lambda: read_manifest(tmp_path / "none.csv"),
        lambda: read_manifest(tmp_path / "one.csv"),
        lambda: read_manifest(tmp_path / "two.csv"),
        lambda: LabelStore(tmp_path).meta,
        lambda: score([str(tmp_path), "--workers=-1"]),
        lambda: score([str(tmp_path), "--outputs", str(tmp_path)]),
    ]
    assert [text for call in calls if not _on_page(text := _raised(call))] == []
    full = told(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert isinstance(full, StoreFullError) and _on_page(str(full))
    reason = _raised(lambda: make_reader("pyav").probe(tmp_path / "empty.mp4"))
    assert _on_page(reason.rsplit(": ", 1)[1])
    assert not _on_page("something that nobody says")
