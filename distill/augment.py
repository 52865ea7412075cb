"""Changes of a training video that leave its quality as it is."""

from dataclasses import dataclass

import numpy as np

from distill.checks import between
from distill.data.identity import seed_of


@dataclass
class AugmentConfig:
    """What training does to a video that does not change its quality; never more than this.

    Drawn per video and epoch, the same for all views and frames of it. Views of frozen members,
    validation and scoring are untouched, and nothing is resized or encoded anew.

    Attributes:
        flip: share of the videos that is mirrored, left to right.
        reverse: share of the videos that is shown backwards. Visible faults have a direction in
            time (a torn picture mends itself, a stall ends), so the default is 0.
    """

    flip: float = 0.5
    reverse: float = 0.0

    def __post_init__(self) -> None:
        between("augment.flip", self.flip, 0, 1)
        between("augment.reverse", self.reverse, 0, 1)

    def draw(self, seed: int) -> tuple[bool, bool]:
        """Whether a video is mirrored, and whether it runs backwards.

        Args:
            seed: of the look at the video.
        """
        flip, reverse = np.random.default_rng(seed_of(seed, "augment")).random(2)
        return bool(flip < self.flip), bool(reverse < self.reverse)


MIRRORED = AugmentConfig(flip=0.5)  # the further looks of test_views, whatever training does
