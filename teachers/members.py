"""The kinds of members by name: what ``members.NAME.kind`` may be."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from distill.checks import one_of, unknown_option
from distill.data.views import make_view
from distill.errors import ConfigError, WeightsError
from teachers.member import Member

# Module and class; imported when asked for, because some need optional packages.
KINDS = {
    "fast_vqa": "teachers.fast_vqa.FastVQA",
    "liqe": "teachers.liqe.Liqe",
    "slowfast": "teachers.slowfast.SlowFast",
    "swin_b": "teachers.swin_b.SwinB",
    "timm": "teachers.timm_frames.TimmFrames",
    "file_scores": "teachers.file_scores.FileScores",
    "hvs": "teachers.hvs.HvsFrames",
    "vision_language": "teachers.vision_language.VisionLanguage",
}


def make_member(name: str, options: Mapping[str, Any], weights: str = "auto") -> Member:
    """Build a member.

    Args:
        name: for messages.
        options: ``kind``, one of ``KINDS`` (timm where it is missing), ``view`` (see
            :func:`distill.data.views.make_view`), and the arguments of its class.
        weights: ``none`` builds it without weights, whatever ``options`` say.

    Raises:
        ConfigError, WeightsError: it cannot be built; the text begins with the member's name.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(
            f"members.{name}: {options!r} are no options; leave a member out with"
            f" ~teacher.members.{name}"
        )
    arguments = dict(options)
    kind = arguments.pop("kind", "timm")
    arguments.pop("head", None)  # the ensemble's
    one_of(f"members.{name}.kind", kind, KINDS)
    module, _, cls_name = KINDS[kind].rpartition(".")
    try:
        cls: type[Member] = getattr(importlib.import_module(module), cls_name)
    except ImportError as error:
        raise ConfigError(
            f"members.{name}: kind {kind} needs the package {error.name}: pip install"
            f" 'distill-vqa[{kind}]'"
        ) from error
    parameters = inspect.signature(cls).parameters
    for key in arguments:
        if key not in parameters:
            known = [f"members.{name}.{parameter}" for parameter in parameters]
            raise ConfigError(unknown_option(f"members.{name}.{key}", known))
        if parameters[key].annotation in (bool, "bool") and not isinstance(arguments[key], bool):
            raise ConfigError(f"members.{name}.{key}={arguments[key]!r}: give true or false")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise ConfigError(f"members.{name}: {key} is missing")
    if arguments.get("view") is not None:
        arguments["view"] = make_view(arguments["view"], f"members.{name}.view")
    if weights == "none" and "weights" in parameters:
        arguments["weights"] = "none"
    try:
        member = cls(**arguments)
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"members.{name}: {error}") from error
    except WeightsError as error:
        raise type(error)(f"members.{name}: {error}") from error
    member.name = name
    return member
