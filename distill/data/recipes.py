"""The rungs of the distortion ladder, as data: add a rung or a recipe here, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.data.ffmpeg import CODECS, LadderError


@dataclass(frozen=True)
class Encode:
    """One encoding: ``codec`` of ``CODECS`` at a rate drawn from low..high, both included.

    Attributes:
        codec: ``x264``, ``x265`` or ``vp9``.
        mode: ``qp`` (constant quantiser) or ``crf`` (constant quality).
        low, high: the codec's own steps; higher is worse.
    """

    codec: str
    mode: str
    low: int
    high: int


@dataclass(frozen=True)
class Recipe:
    """One way to process: filters with drawn parameters, then one encoding after another.

    Attributes:
        processing: name of the kind, for the manifest.
        encodes: at least one; the last one makes the file.
        filters: FFmpeg filters with the names of ``draws``, ``width`` and ``height`` in braces.
        draws: name -> equally likely values.
        detail: how the manifest tells the filters, a template as well; empty repeats them.
    """

    processing: str
    encodes: tuple[Encode, ...]
    filters: str = ""
    draws: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    detail: str = ""

    def __post_init__(self) -> None:
        unknown = sorted({step.codec for step in self.encodes} - set(CODECS))
        if unknown or not self.encodes:
            raise LadderError(
                f"recipe {self.processing}: needs encodings by {', '.join(CODECS)}, "
                f"but names {', '.join(unknown) or 'none'}"
            )


def _x264(low: int, high: int, mode: str = "qp") -> Encode:
    return Encode("x264", mode, low, high)


# One version per rung; each shot draws one of its recipes. A reference and six versions, as in KVQ.
# On the demo these ranges give labels from 1.0 to 5.0, and the kinds overlap, so that the kind
# alone does not tell the label.
RUNGS: tuple[tuple[Recipe, ...], ...] = (
    (Recipe("transcode", (_x264(24, 31),)),),
    (Recipe("transcode", (_x264(32, 37),)),),
    (Recipe("transcode", (_x264(38, 45),)),),
    (
        Recipe(
            "rescale",
            (_x264(20, 30, "crf"),),
            "scale=trunc({width}/{factor}/2)*2:trunc({height}/{factor}/2)*2:flags={kernel}+accurate_rnd+bitexact,"
            "scale={width}:{height}:flags={kernel}+accurate_rnd+bitexact",
            {"factor": (2, 3), "kernel": ("bilinear", "bicubic")},
            "1/{factor} {kernel}",
        ),
    ),
    (
        Recipe("denoise", (_x264(18, 30),), "hqdn3d={strength}", {"strength": range(6, 31)}),
        Recipe(
            "blur",
            (_x264(18, 30),),
            "gblur=sigma={sigma}",
            {"sigma": [f"{step / 20:.2f}" for step in range(14, 71)]},
        ),
        Recipe(
            "noise", (_x264(18, 30),), "noise=alls={strength}:allf=t", {"strength": range(12, 61)}
        ),
    ),
    (
        Recipe("twice", (Encode("x265", "crf", 32, 46), _x264(26, 38))),
        Recipe("twice", (Encode("vp9", "crf", 40, 60), _x264(26, 38))),
    ),
)
