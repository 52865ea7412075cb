"""An option as it is typed: quoted for the shell, and for Hydra behind it."""

import re
import shlex


def quoted(value: str) -> str:
    """A value as Hydra reads it back letter by letter."""
    body = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value)
    return f'"{body}"'


def requoted(name: str, value: str) -> str:
    """``name=value`` for a shell, its value quoted for Hydra whatever it is."""
    return shlex.quote(f"{name}={quoted(value)}")


def option_word(name: str, value: str) -> str:
    """``name=value`` as it is typed into a shell, quoted where the shell or Hydra need it."""
    plain = re.fullmatch(r"[A-Za-z0-9_./-]+", value)
    return f"{name}={value}" if plain else requoted(name, value)
