"""Where what can be made again is kept: the embedded data set, features of frozen networks."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``distill-vqa`` below DISTILL_CACHE, else XDG_CACHE_HOME, else ``~/.cache``."""
    named = os.environ.get("DISTILL_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(named or Path.home() / ".cache").expanduser() / "distill-vqa"
