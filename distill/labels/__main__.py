"""Print what a label store holds, and write its scores as a table.

python -m distill.labels STORE
python -m distill.labels STORE --csv FILE      columns filename,score, as E-VQA and KVQ share theirs
python -m distill.labels STORE --sources FILE  the best video of each content, for make_ladder.py
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.flags import Parser
from distill.labels.scores_csv import write_scores
from distill.labels.sources import write_sources
from distill.labels.store import LabelStore
from distill.labels.summary import summarise
from distill.leaving import plain_door


def run(words: Sequence[str]) -> int:
    """Print a summary; write the table where one is asked for."""
    parser = Parser(
        prog="python -m distill.labels", description=__doc__,
    )  # fmt: skip
    parser.add_argument("store", type=Path, help="folder of a label store")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the scores to it")
    parser.add_argument("--sources", type=Path, metavar="FILE", help="write the best videos to it")
    parser.add_argument(
        "--least", type=float, default=float("-inf"), metavar="SCORE",
        help="with --sources: leave out contents whose best video scores lower",
    )  # fmt: skip
    options = parser.parse_args(words)
    store = LabelStore(options.store)
    print(told(store))
    if options.csv:
        count, words = write_scores(store, options.csv)
        print(f"{count} scores -> {options.csv}")
        if words:
            print(f"to learn from them: {' '.join(words)}")
    if options.sources:
        count = write_sources(store, options.sources, options.least)
        print(f"{count} sources -> {options.sources}")
    return 0


def told(store: LabelStore) -> str:
    """A few lines on a store."""
    found, meta = summarise(store), store.meta
    count = len(found.scores) + found.failed
    left = f", {max(0, meta['videos'] - count)} to do" if "videos" in meta else ""
    lines = [
        f"store     {store.folder}",
        f"teacher   {meta.get('teacher')}, {meta.get('precision', 'float32')}",
        f"videos    {len(found.scores)} labelled, {found.failed} failed{left}",
    ]
    if len(found.scores):
        low, middle, high = np.quantile(found.scores, [0, 0.5, 1])
        lines.append(f"scores    {low:.3f} to {high:.3f}, median {middle:.3f}")
        lines.append(f"members   differ by {found.spread:.3f} on average")
    if count:
        lines.append(f"time      {found.seconds:.0f} s, {found.seconds / count:.3f} s a video")
    lines += [f"failed    {reason} (x{n})" for reason, n in found.reasons.most_common(5)]
    lines += [f"licence   {text}" for text in meta.get("licenses", [])]
    return "\n".join(lines)


if __name__ == "__main__":
    plain_door(run)
