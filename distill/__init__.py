"""Distill-VQA: teacher-student distillation for no-reference video quality assessment.

Scores of videos in three lines::

    import distill
    model = distill.load("outputs/train_student/.../bundle")  # or an export
    model.score("video.mp4")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from distill.deploy.scorer import Scorer

__version__ = "0.1.0"


def load(folder: "str | os.PathLike[str]", **options: Any) -> "Scorer":
    """Load a bundle or an export to score videos; see :func:`distill.deploy.scorer.load`.

    Logs a warning where its scores are no MOS; ``Scorer.warning`` says why.
    """
    import logging

    from distill.deploy.scorer import load  # and with it, perhaps, torch

    model = load(folder, **options)
    if model.banner:
        logging.getLogger(__name__).warning(model.banner)
    return model
