"""A submission: a zip with ``prediction.csv``, every video of a split named and scored."""

import csv
import io
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from distill.datasets.kvq import PUBLISHED
from distill.errors import ManifestError

INNER = "prediction.csv"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest of a zip: equal scores make equal files
_TAIL = re.compile(r"(?:^|/)(?:(train|val|test)(?:_?videos?)?/)?(\d{4})(?:\.mp4)?$", re.I)


def expected_names(split: str) -> list[str]:
    """``test/0001.mp4`` and so on, as many as the challenge's split has."""
    return [f"{split}/{number:04d}.mp4" for number in range(1, PUBLISHED.sizes[split][1] + 1)]


def official_name(video: str, split: str) -> str | None:
    """The challenge's name of a video, whatever folders it was scored in; None: of no such split.

    ``/data/KVQ/test_video/0001.mp4`` and ``0001.mp4`` are ``test/0001.mp4`` of the test split.
    """
    match = _TAIL.search(video.replace("\\", "/"))
    if match is None or (match[1] or split).lower() != split:
        return None
    return f"{split}/{match[2]}.mp4"


def for_submission(
    scores: Mapping[str, float], failed: Mapping[str, str], names: Sequence[str], split: str
) -> tuple[dict[str, float], list[str]]:
    """Scores in the order and under the names of the challenge.

    Args:
        scores: name, in any folder -> score.
        failed: name -> why it has no score.
        names: of the challenge, see ``expected_names``.
        split: of the names.

    Returns:
        Name -> score, all of ``names``; and the videos that are none of the challenge's.

    Raises:
        ManifestError: a video has no score, one that is not finite, or two different ones.
    """
    found: dict[str, float] = {}
    others = []
    wanted = set(names)
    for video, score in scores.items():
        name = official_name(video, split)
        if name not in wanted or name is None:
            others.append(video)
        elif not math.isfinite(score):
            raise ManifestError(f"{video}: the score is {score}, no number; score it again")
        elif found.get(name, score) != score:
            raise ManifestError(f"{name} has two scores, {found[name]:g} and {score:g} ({video})")
        else:
            found[name] = score
    reasons = {official_name(video, split) or video: why for video, why in failed.items()}
    absent = [name for name in names if name not in found]
    if absent:
        told = "".join(f"\n  {name}: {reasons.get(name, 'no score')}" for name in absent[:10])
        more = f"\n  and {len(absent) - 10} more" if len(absent) > 10 else ""
        raise ManifestError(
            f"{len(absent)} of {len(names)} videos have no score, and the challenge takes no"
            f" submission without them:{told}{more}"
        )
    return {name: found[name] for name in names}, others


def write_submission(path: Path, scores: Mapping[str, float]) -> None:
    """Write the zip; equal scores make equal bytes.

    Raises:
        ManifestError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filename", "score"])
    writer.writerows((name, repr(float(score))) for name, score in scores.items())
    entry = zipfile.ZipInfo(INNER, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    try:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(entry, text.getvalue())
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written ({error.strerror})") from error


def off_scale(scores: Sequence[float]) -> str:
    """A warning where scores cannot be on KVQ's MOS scale; empty where they can."""
    low, high = PUBLISHED.scores
    if low <= min(scores) and max(scores) <= high:
        return ""
    return (
        f"the scores lie between {min(scores):.3g} and {max(scores):.3g}, the MOS between {low:g}"
        f" and {high:g}: they are not calibrated to it, and PLCC is taken without a fit. A scale"
        " and a shift cost nothing there, a bend does: calibrate on KVQ's train labels"
        " (docs/evaluation.md)"
    )
