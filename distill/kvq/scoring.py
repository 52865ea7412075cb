"""The challenge's score of named predictions, as its own program computes it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distill.errors import ManifestError
from distill.kvq.files import Pair, RankedPairs, ScoreFile
from distill.metrics import KvqScore, kvq_score


def score_named(
    predicted: Mapping[str, float], truth: Mapping[str, float], pairs: RankedPairs
) -> KvqScore:
    """The official score; videos that are predicted and have no truth count nowhere.

    Args:
        predicted: name -> score.
        truth: name -> MOS.
        pairs: of videos of ``truth``.

    Raises:
        ManifestError: a video of ``truth`` has no prediction, or one of a pair has no truth.

    Differs: from the challenge's program only where that stops with a TypeError or takes what it
        should not: there videos are named.
    """
    check_pairs(pairs, truth)
    check_complete(predicted, truth)
    row = {name: at for at, name in enumerate(truth)}

    def numbered(named: Sequence[Pair]) -> list[tuple[int, int, int]]:
        return [(row[one], row[two], rank) for one, two, rank in named]

    return kvq_score(
        [predicted[name] for name in truth],
        list(truth.values()),
        pairs_source=numbered(pairs.source),
        pairs_nonsource=numbered(pairs.nonsource),
    )


def check_complete(predicted: Collection[str], truth: Collection[str]) -> None:
    """Raises ManifestError where a video of the truth has no prediction."""
    absent = [name for name in truth if name not in predicted]
    if absent:
        hint = _near(absent[0], predicted)
        raise ManifestError(f"no prediction for {_listed(absent)} of {len(truth)} videos{hint}")


def check_pairs(pairs: RankedPairs, truth: Collection[str]) -> None:
    """Raises ManifestError where a pair names a video that the truth does not have."""
    strange = [name for name in pairs.videos if name not in truth]
    if strange:
        raise ManifestError(
            f"{pairs.path}: no MOS for {_listed(strange)} of its {len(pairs.videos)} videos"
            f"{_near(strange[0], truth)}"
        )


def kvq_row(
    predicted: Mapping[str, float], truth: Mapping[str, float], pairs: RankedPairs
) -> dict[str, Any]:
    """The score and its parts, by name, for a table."""
    found = score_named(predicted, truth, pairs)
    counts = {"pairs_nonsource": len(pairs.nonsource), "pairs_source": len(pairs.source)}
    return {"score": found.score, **asdict(found), **counts}


def notes(predicted: ScoreFile, truth: ScoreFile) -> list[str]:
    """What the challenge's program does without a word."""
    said = [
        f"{file.path}: {_listed(file.repeated)} stand there more than once; the last counts"
        for file in (predicted, truth)
        if file.repeated
    ]
    extra = [name for name in predicted.scores if name not in truth.scores]
    if extra:
        said.append(f"{predicted.path}: {_listed(extra)} have no truth and count nowhere")
    return said


def _listed(names: Sequence[str]) -> str:
    """How many, and the first ones by name."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} ({', '.join(names[:5])}{more})"


def _near(name: str, known: Collection[str]) -> str:
    """A hint where the names differ by folder only."""
    tail = name.rsplit("/", 1)[-1]
    like = next((other for other in known if other.rsplit("/", 1)[-1] == tail), None)
    return f"; there is {like!r}: write names as the truth does" if like else ""
