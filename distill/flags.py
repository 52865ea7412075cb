"""Command lines of flags (``--out FOLDER``), as the commands that are not Hydra's have them."""

import argparse
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any


class Parser(argparse.ArgumentParser):
    """argparse's, which keeps the lines of a description and names the flags near a misspelt one.

    Args:
        options: argparse's.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def parse_args(  # type: ignore[override]  # argparse has overloads for kinds of namespaces
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse's; exits with 2 after a message where a word is no option."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = sorted(set(_flags(self)))
            near = {
                word: get_close_matches(word.partition("=")[0], known, 1)
                for word in unknown
                if word.startswith("-")
            }
            hints = "".join(f"; did you mean {close[0]}?" for close in near.values() if close)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hints or '; see --help'}")
        return found


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Those of a parser and of the commands below it."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _flags(below)
