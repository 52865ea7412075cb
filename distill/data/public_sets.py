"""The public data sets that there is an adapter for, by the names of ``conf/data``."""

from importlib.resources import files
from typing import Any

import yaml


def public_sets() -> dict[str, dict[str, Any]]:
    """Name, as in ``data=NAME``, -> its options."""
    found = {}
    for file in sorted(files("conf").joinpath("data").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            node = yaml.safe_load(file.read_text(encoding="utf-8"))
            if node.get("adapter"):
                found[file.name.removesuffix(".yaml")] = node
    return found
