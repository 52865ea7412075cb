"""What W&B may see: names and paths say whose videos they are, and stay here unless asked for."""

import os
from typing import Any

HIDDEN = "(not sent: tracking.names)"
# Options whose value is a path, whatever it looks like; any other with a separator is one too.
_PATHS = frozenset(
    "manifest root also labels labels_root init teacher_bundle pool store bundles manifests outputs"
    " bundle weights table resume feature_cache columns group_regex address by pairs model".split()
)
_COLUMN_OF_TABLE = "name"  # of a member that reads a table; any other name is no secret
_WORDS = frozenset(("", "none", "auto", "imagenet"))


def without_paths(value: Any, name: str = "") -> Any:
    """Options with every path and every name of a table's columns left out.

    Args:
        value: options, nested; or one of them.
        name: of the option.
    """
    if isinstance(value, dict):
        hide = name if name in _PATHS else ""
        return {
            key: without_paths(inner, hide or _known_as(str(key), value))
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_paths(inner, name) for inner in value]
    if not isinstance(value, str) or value in _WORDS:
        return value
    is_path = name in _PATHS or "/" in value or "\\" in value or value.startswith("~")
    return HIDDEN if is_path else value


def _known_as(key: str, options: dict[Any, Any]) -> str:
    """The name that says whether an option is private."""
    return "columns" if key == _COLUMN_OF_TABLE and "table" in options else key


def private_settings() -> dict[str, Any]:
    """Settings of W&B that keep names of machine, user, repository, program and videos here.

    Its console log would hold what this program says of broken videos, by name. Code is saved
    where an account or WANDB_SAVE_CODE asks for it, unless a program forbids it.
    """
    return {
        "console": "off", "x_disable_meta": True, "disable_git": True, "save_code": False,
        "host": "not-sent",
    }  # fmt: skip


def no_error_reports() -> None:
    """Keep W&B's library from reporting its own errors: a stack trace has paths of this machine.

    To be called before wandb is imported; what the user set stands.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
