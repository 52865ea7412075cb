"""Views: what one model wants to see of one video, as data.

A view says which frame indices it needs, then takes those frames one by one as they are decoded
and cuts or shrinks each at once, so that no stack of native frames ever exists. Views yield uint8;
the network that asked for a view normalises it. docs/views.md compares them.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from distill.data.views.base import Collector, FrameCollector, View, at_full_count
from distill.data.views.fragments import Fragments
from distill.data.views.key_frames import KeyFrames
from distill.data.views.mixed_frames import MixedFrames
from distill.data.views.motion_chunks import MotionChunks
from distill.data.views.native_patches import NativePatches
from distill.data.views.table_scores import TableScores
from distill.data.views.texture_patches import TexturePatches
from distill.errors import ConfigError

__all__ = [
    "VIEW_KINDS",
    "Collector",
    "Fragments",
    "FrameCollector",
    "KeyFrames",
    "MixedFrames",
    "MotionChunks",
    "NativePatches",
    "TableScores",
    "TexturePatches",
    "View",
    "at_full_count",
    "make_view",
]

VIEW_KINDS: dict[str, Callable[..., View]] = {
    "key_frames": KeyFrames,
    "motion_chunks": MotionChunks,
    "fragments": Fragments,
    "native_patches": NativePatches,
    "texture_patches": TexturePatches,
    "mixed_frames": MixedFrames,
    "table_scores": TableScores,
}


def make_view(options: Mapping[str, Any], where: str = "view") -> View:
    """Build a view from ``{kind: key_frames, num_frames: 8, ...}``.

    Args:
        options: ``kind``, a key of ``VIEW_KINDS``, and that view's own options.
        where: the option that holds them, for messages.

    Raises:
        ConfigError: no such kind, no such option, or a value out of its range.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"{where}: {options!r}; give options, as {{kind: key_frames, ...}}")
    arguments = dict(options)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in VIEW_KINDS:
        raise ConfigError(f"{where}.kind: {kind!r}; known are {', '.join(VIEW_KINDS)}")
    options_of = fields(VIEW_KINDS[kind])  # type: ignore[arg-type]
    known = [field.name for field in options_of if field.init]
    for name in arguments:
        if name not in known:
            like = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {like[0]!r}?" if like else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}: {kind} has no option {name!r}; {hint}")
    try:
        return VIEW_KINDS[kind](**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
