"""Names of files on a terminal."""

import os

from hypothesis import given
from hypothesis import strategies as st

from distill.terminal import for_terminal


@given(st.text() | st.binary().map(os.fsdecode))
def test_whatever_a_name_holds_one_printable_line_is_shown(name: str) -> None:
    shown = for_terminal(name)
    assert shown.isprintable() and "\n" not in shown
    assert shown == name or not name.isprintable()


def test_what_cannot_be_printed_is_escaped_and_nothing_else() -> None:
    assert for_terminal("中 ü [1].mp4") == "中 ü [1].mp4"
    assert for_terminal("a\tb\x1b[0m\u202e") == r"a\tb\x1b[0m\u202e"
    assert for_terminal(os.fsdecode(b"\xff")) == r"\udcff"
