"""The rungs of the distortion ladder, as data: add a rung or a recipe here, and nothing else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.ladder.codecs import CODECS
from distill.ladder.ffmpeg import LadderError

GIVEN = ("width", "height", "frames")  # what filters may name without drawing it


class _Name(str):
    """Stands in a text where a number would stand, whatever the number's format is."""

    def __format__(self, spec: str) -> str:
        return str(self)


@dataclass(frozen=True)
class Encode:
    """One encoding: ``codec`` of ``CODECS`` at a rate drawn from low..high, both included.

    Attributes:
        codec: ``x264``, ``x265``, ``vp9`` or ``av1``.
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
        filters: FFmpeg filters with the names of ``draws``, ``width``, ``height`` and ``frames``
            (how many there are) in braces. They must keep size and number of frames.
        draws: name -> equally likely values.
        detail: how the manifest tells the filters, a template as well; empty repeats them.
    """

    processing: str
    encodes: tuple[Encode, ...]
    filters: str = ""
    draws: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    detail: str = ""

    def filters_for(self, drawn: Mapping[str, Any], width: int, height: int, frames: int) -> str:
        """The filters with drawn values, for a picture."""
        return self.filters.format(**drawn, width=width, height=height, frames=frames)

    def words(self, drawn: Mapping[str, Any]) -> str:
        """How the manifest tells the filters: drawn values, but no picture's size."""
        asked = {name: _Name(name) for name in GIVEN}
        return (self.detail or self.filters).format(**drawn, **asked)

    def __post_init__(self) -> None:
        unknown = sorted({step.codec for step in self.encodes} - set(CODECS))
        if unknown or not self.encodes:
            raise LadderError(
                f"recipe {self.processing}: needs encodings by {', '.join(CODECS)}, "
                f"but names {', '.join(unknown) or 'none'}"
            )


def codecs_of(rungs: Iterable[Iterable[Recipe]]) -> set[str]:
    """Names of ``CODECS`` that rungs encode with."""
    return {step.codec for rung in rungs for recipe in rung for step in recipe.encodes}


def _x264(low: int, high: int, mode: str = "qp") -> Encode:
    return Encode("x264", mode, low, high)


# The ladder of data=demo: a change here changes that data for everybody.
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


def _filtered(processing: str, filters: str, values: Sequence[Any], detail: str = "") -> Recipe:
    return Recipe(processing, (_x264(18, 30),), filters, {"strength": list(values)}, detail)


# What `make_ladder.py` follows unless told otherwise, by the rungs' names. Again a reference and
# six versions, but by today's four codecs, in bands of like VMAF (docs/ladder.md).
LADDER: dict[str, tuple[Recipe, ...]] = {
    "light": (
        Recipe("transcode", (_x264(24, 31),)),
        Recipe("transcode", (Encode("x265", "crf", 22, 28),)),
        Recipe("transcode", (Encode("vp9", "crf", 28, 41),)),
        Recipe("transcode", (Encode("av1", "crf", 33, 48),)),
    ),
    "middle": (
        Recipe("transcode", (_x264(32, 37),)),
        Recipe("transcode", (Encode("x265", "crf", 29, 34),)),
        Recipe("transcode", (Encode("vp9", "crf", 42, 53),)),
        Recipe("transcode", (Encode("av1", "crf", 49, 58),)),
    ),
    "heavy": (
        Recipe("transcode", (_x264(38, 45),)),
        Recipe("transcode", (Encode("x265", "crf", 35, 41),)),
        Recipe("transcode", (Encode("vp9", "crf", 54, 63),)),
        Recipe("transcode", (Encode("av1", "crf", 59, 63),)),
    ),
    "rescale": (
        Recipe(
            "rescale",
            (_x264(20, 30, "crf"),),
            "scale=trunc({width}/{factor}/2)*2:trunc({height}/{factor}/2)*2:flags={kernel}+accurate_rnd+bitexact,"
            "scale={width}:{height}:flags={kernel}+accurate_rnd+bitexact",
            {"factor": [1.5, 2, 3], "kernel": ["bilinear", "bicubic", "lanczos"]},
            "1/{factor} {kernel}",
        ),
    ),
    "filter": (
        _filtered("denoise", "hqdn3d={strength}", range(6, 31, 4)),
        _filtered("blur", "gblur=sigma={strength}", [0.7, 1, 1.4, 1.8, 2.2, 2.6, 3, 3.5]),
    ),
    "twice": (
        Recipe("twice", (Encode("x265", "crf", 32, 46), _x264(26, 38))),
        Recipe("twice", (Encode("vp9", "crf", 40, 60), _x264(26, 38))),
        Recipe("twice", (Encode("av1", "crf", 45, 60), _x264(26, 38))),
        Recipe("twice", (_x264(28, 40), Encode("av1", "crf", 38, 56))),
    ),
}

# What VMAF misjudges (docs/ladder.md), so that only versions without a label have it besides. Of
# dropped frames the one before is shown again: every second, two of three, three of four, one of
# five, and a halt of 10 frames in 25.
POOL_ONLY: dict[str, tuple[Recipe, ...]] = {
    "noise": (_filtered("noise", "noise=alls={strength}:allf=t", range(6, 31, 4)),),
    "drops": (
        Recipe(
            "drops",
            (_x264(20, 32),),
            # A group of frames that is not whole would be lost, so it is filled up first.
            "tpad=stop=24:stop_mode=clone,shuffleframes={shown},trim=end_frame={frames}",
            {
                "shown": [
                    "0 0",
                    "0 0 0",
                    "0 0 0 0",
                    "0 1 2 3 3",
                    " ".join(str(n if n < 10 or n > 19 else 9) for n in range(25)),
                ]
            },
            "frames {shown}",
        ),
    ),
}
