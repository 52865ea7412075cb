"""Score any videos with a bundle or an export: what `python score.py` does; see docs/scoring.md."""

import argparse
import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from distill.config import folder
from distill.data.rows import Row
from distill.errors import BundleError, Interrupted
from distill.options import decoding_workers
from distill.scored import VideoScore
from distill.scoring.inputs import Item, gather
from distill.scoring.options import check_apart, check_targets, parse
from distill.scoring.records import Record, read_earlier, record
from distill.scoring.writers import open_writers
from distill.specification import find_bundle
from distill.terminal import for_terminal

if TYPE_CHECKING:  # torch takes seconds, which --help and a mistyped option need not wait for
    from distill.deploy.scorer import Scorer

FAILED = 1  # exit code where some videos could not be scored
_SHOWN = 20  # failures that are told at the end; the outputs have all


def run(words: Sequence[str]) -> int:
    """Score videos.

    Args:
        words: the command line, without the program's name.

    Returns:
        Exit code: 0, or 1 where some videos could not be scored.

    Raises:
        DistillError: no bundle, no video, wrong options, or a signal.
    """
    options = parse(words)
    check_targets(options)
    items, notes = gather(options.videos, options.null)
    check_apart(options, [item.path for item in items if item.path])
    sys.stderr.writelines(f"{note}\n" for note in notes)
    model = _model(options)
    sys.stderr.write(f"{model.banner}\n" if model.banner else "")
    earlier: list[Record] = []
    if options.resume:
        earlier = read_earlier(options.jsonl, model.fingerprint, options.frames)
    failed, stopped = _score(items, earlier, model, options)
    if not options.quiet:
        files = (options.csv, options.json, options.jsonl, options.plots)
        sys.stderr.writelines(f"wrote {name}\n" for name in files if name not in (None, "-"))
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(items)} videos could not be scored:\n")
        shown = (f"{row['video']}: {row['error']}" for row in failed[:_SHOWN])
        sys.stderr.writelines(f"  {for_terminal(text)}\n" for text in shown)
        more = len(failed) - _SHOWN
        sys.stderr.write(f"  and {more} more\n" if more > 0 else "")
    if stopped is not None:
        raise stopped
    return FAILED if failed else 0


def _score(
    items: Sequence[Item],
    earlier: Sequence[Record],
    model: "Scorer",
    options: argparse.Namespace,
) -> tuple[list[Record], Interrupted | None]:
    """Score and write; those that failed, and what stopped it before the end."""
    failed: list[Record] = []
    # A bar would run through the lines of a terminal that shows both.
    shared = "-" in (options.csv, options.jsonl) and sys.stdout.isatty()
    with ExitStack() as stack:
        writers = open_writers(options)
        for writer in writers:
            stack.callback(writer.close)
        records = _records(items, earlier, model, options)
        done = 0
        try:
            for row, fresh in tqdm(
                records, "scoring", len(items), unit="video", dynamic_ncols=True,
                disable=options.quiet or shared,
            ):  # fmt: skip
                for writer in writers:
                    writer.add(row, fresh)
                done += 1
                if row["error"]:
                    failed.append(row)
        except KeyboardInterrupt as stop:  # what is scored is kept
            how = "; --resume continues" if options.jsonl not in (None, "-") else ""
            text = f"stopped; {done} of {len(items)} videos scored{how}"
            return failed, Interrupted.by(stop, text)
    return failed, None


def _records(
    items: Sequence[Item],
    earlier: Sequence[Record],
    model: "Scorer",
    options: argparse.Namespace,
) -> Iterator[tuple[Record, bool]]:
    """A record for each video in turn, and whether it is new."""
    known: defaultdict[str, deque[Record]] = defaultdict(deque)
    for row in earlier:
        known[row["video"]].append(row)
    # By name and in order: two lists in different folders may both say a.mp4.
    plan = [(item, known[item.video].popleft() if known[item.video] else None) for item in items]
    rows = [Row(item.video, item.path) for item, old in plan if item.path and old is None]
    workers = min(len(rows), decoding_workers(options.workers))
    results = model.score_rows(rows, batch_size=options.batch_size, num_workers=workers)
    frames = options.frames or options.sparkline or options.plots is not None
    for item, old in plan:
        if old is not None:
            yield old, False
        elif item.path is None:
            yield record(VideoScore(item.video, None, item.reason), model, frames), True
        else:
            yield record(model.judge(next(results), frames), model, frames), True


def _model(options: argparse.Namespace) -> "Scorer":
    from distill.deploy.scorer import load

    return load(
        _bundle(options),
        runtime=options.runtime,
        device=options.device,
        reader=options.reader,
        time_limit=options.time_limit,
    )


def _bundle(options: argparse.Namespace) -> Path:
    if options.bundle:
        return folder(options.bundle)
    for role in ("student", "teacher"):
        found = find_bundle(Path(options.outputs), role)
        if found:
            if not options.quiet:
                sys.stderr.write(f"{role}: {found} (the newest; another: --bundle DIR)\n")
            return found
    raise BundleError(
        f"no bundle below {options.outputs}; train one with `python train_student.py +budget=120`,"
        " or name one: --bundle DIR"
    )
