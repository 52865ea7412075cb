"""How sure the challenge's score is, and which of two predictions is better by it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distill.datasets.kvq import content_of
from distill.errors import ManifestError
from distill.evaluation.comparisons import compare
from distill.evaluation.telling import aligned, by_chance, kvq_cells
from distill.kvq.files import Pair, RankedPairs, ScoreFile
from distill.kvq.scoring import kvq_row
from distill.metrics import kvq_weighted
from distill.resampling import interval_over_contents
from distill.weighted_statistics import OfGroups, plcc_rows, srcc_rows


def kvq_rows(names: Sequence[str], pairs: RankedPairs) -> OfGroups:
    """The score as ``distill.resampling`` takes a statistic of its own.

    A content that is left out takes the ranked pairs of its videos with it; one that is drawn
    twice counts twice in a pair, with one that is drawn thrice six times.

    Args:
        names: (N,) of the videos, in the order of the predictions.
        pairs: of these videos.

    Returns:
        (predictions (N,), MOS (N,), codes of contents (N,), multiplicity (D, G)) -> scores (D,);
        nan where a correlation is undefined or no pair of a kind is left.
    """
    at = {name: row for row, name in enumerate(names)}

    def numbered(rows: Sequence[Pair]) -> np.ndarray:
        return np.array([(at[one], at[two], rank) for one, two, rank in rows], dtype=np.int64).T

    source, nonsource = numbered(pairs.source), numbered(pairs.nonsource)

    def rows(
        x: np.ndarray, mos: np.ndarray, codes: np.ndarray, multiplicity: np.ndarray
    ) -> np.ndarray:
        weights = multiplicity[:, codes]
        accuracies = []
        for first, second, rank in (nonsource, source):
            right = np.where(x[first] >= x[second], 1, 2) == rank
            # Both videos of one content come with it together.
            other = np.where(codes[first] == codes[second], 1, weights[:, second])
            counted = weights[:, first] * other
            with np.errstate(invalid="ignore"):
                accuracies.append((counted * right).sum(1) / counted.sum(1))
        return np.asarray(
            kvq_weighted(srcc_rows(x, mos, weights), plcc_rows(x, mos, weights), *accuracies)
        )

    return rows


def score_files(
    predicted: Mapping[str, ScoreFile], truth: Mapping[str, float], pairs: RankedPairs
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """Score several predictions and compare them over KVQ's source contents.

    Args:
        predicted: name -> prediction.
        truth: video -> MOS.
        pairs: of videos of ``truth``.

    Returns:
        A row for each prediction: ``name``, what ``kvq_row`` has, ``low`` and ``high`` of the
        score, ``contents``; the paired comparisons, see ``distill.evaluation.comparisons``; and
        why there are no intervals and comparisons, empty where there are.

    Raises:
        ManifestError: a video of the truth or of a pair is missing; the text names the file.
    """
    rows = []
    for name, file in predicted.items():
        try:
            rows.append({"name": name, **kvq_row(file.scores, truth, pairs)})
        except ManifestError as error:
            raise ManifestError(f"{file.path}: {error}") from error
    contents = {video: content_of(video) for video in truth}
    strange = next((video for video, content in contents.items() if content is None), None)
    if strange is not None:
        nothing = {"low": np.nan, "high": np.nan, "contents": None}
        why = f"{strange!r} is no name of KVQ's, so nobody knows which videos share a source"
        return [row | nothing for row in rows], [], why
    columns = {name: [file.scores[video] for video in truth] for name, file in predicted.items()}
    mos, groups = list(truth.values()), list(contents.values())
    score = kvq_rows(list(truth), pairs)
    for row in rows:
        found = interval_over_contents(columns[row["name"]], mos, groups, score)
        row |= {"low": found.low, "high": found.high, "contents": found.n_groups}
    return rows, compare(columns, mos, [str(group) for group in groups], "KVQ", kvq=score), ""


def told(
    rows: Sequence[dict[str, Any]], compared: Sequence[dict[str, Any]], videos: int
) -> list[str]:
    """What ``score_files`` found, in lines."""
    first = rows[0]
    if len(rows) == 1:
        total, *parts = kvq_cells(first)
        names = ("0.45 x SRCC", "0.45 x PLCC", "0.05 x nonsource", "0.05 x source")
        summed = " + ".join(f"{name} {part}" for name, part in zip(names, parts, strict=True))
        lines = [f"score {total} = {summed}"]
    else:
        header = "prediction|score [95% over contents]|SRCC|PLCC|nonsource|source".split("|")
        lines = [aligned(header, [[row["name"], *kvq_cells(row)] for row in rows]), ""]
        if compared:
            chance = by_chance(compared)
            lines += [*(pair["verdict"] for pair in compared), *([chance] if chance else []), ""]
    contents = f" of {first['contents']} contents" if first["contents"] else ""
    return [
        *lines,
        f"{videos} videos{contents}, {first['pairs_nonsource']} pairs of different contents,"
        f" {first['pairs_source']} of the same",
    ]
