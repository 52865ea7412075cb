"""What LIQE asks of an image: its prompts, and the numbers that CLIP knows their words by."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

QUALITIES = ("bad", "poor", "fair", "good", "perfect")  # scored 1 to 5
SCENES = (
    "animal", "cityscape", "human", "indoor", "landscape", "night", "plant", "still_life",
    "others",
)  # fmt: skip
DISTORTIONS = (
    "jpeg2000 compression", "jpeg compression", "noise", "blur", "color", "contrast",
    "overexposure", "underexposure", "spatial", "quantization", "other",
)  # fmt: skip
# By what a network was trained on: several data sets with all three labels, or KonIQ-10k.
PROMPTS: dict[str, tuple[str, ...]] = {
    "mix": tuple(
        f"a photo of a {scene} with {distortion} artifacts, which is of {quality} quality"
        for quality, scene, distortion in product(QUALITIES, SCENES, DISTORTIONS)
    ),
    "koniq": tuple(f"a photo with {quality} quality" for quality in QUALITIES),
}

# CLIP's byte-pair encoding joins no letters across words, so that these words are all it takes.
_IDS: dict[str, tuple[int, ...]] = {
    ",": (267,), "a": (320,), "animal": (4668,), "artifacts": (30249,), "bad": (2103,),
    "blur": (27976,), "cityscape": (40808,), "color": (3140,), "compression": (25638,),
    "contrast": (18501,), "fair": (2849,), "good": (886,), "human": (2751,), "indoor": (9546,),
    "is": (533,), "jpeg": (73, 11207), "jpeg2000": (73, 11207, 273, 271, 271, 271),
    "landscape": (5727,), "night": (930,), "noise": (9307,), "of": (539,), "other": (1010,),
    "others": (3326,), "overexposure": (8649, 13002, 35539), "perfect": (1878,),
    "photo": (1125,), "plant": (3912,), "poor": (3665,), "quality": (3027,),
    "quantization": (31540, 3683), "spatial": (22022,), "still_life": (1170, 318, 970),
    "underexposure": (21675, 87, 35539), "which": (1448,), "with": (593,),
}  # fmt: skip
_START, _END = 49406, 49407


def tokens(prompts: Sequence[str], context: int = 77) -> Tensor:
    """Prompts as CLIP's text tower takes them.

    Args:
        prompts: of ``PROMPTS``; other words than theirs are not known here.
        context: the tower's length; what a prompt leaves of it is 0.

    Returns:
        (K, context) int64.
    """
    rows = torch.zeros(len(prompts), context, dtype=torch.int64)
    for row, prompt in zip(rows, prompts, strict=True):
        words = prompt.replace(",", " ,").split()
        ids = [_START, *(number for word in words for number in _IDS[word]), _END]
        row[: len(ids)] = torch.tensor(ids)
    return rows
