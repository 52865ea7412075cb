"""Make a labelled training set from good videos: real processing, labelled by VMAF.

python make_ladder.py FOLDER --out ladder               every video in it, sub-folders too
python make_ladder.py TABLE.csv --out ladder            columns video, group, split
python make_ladder.py FOLDER --out ladder --dry-run     how much, how long; writes nothing
python train_teacher.py data=manifest data.manifest=ladder/manifest.csv

After a stop, the same command continues where it was.
"""

import argparse
import csv
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from distill.config import folder
from distill.data.manifest import Problem
from distill.data.readers import make_reader
from distill.errors import ConfigError, DistillError, Interrupted
from distill.ladder.build import alone, cores, make_ladder
from distill.ladder.ffmpeg import Ffmpeg, LadderError
from distill.ladder.file import Ladder, ladder_text, read_ladder, that_can_be_made
from distill.ladder.pairs import COLUMNS, make_pairs
from distill.ladder.readme import label_lines, readme
from distill.ladder.recipes import LADDER, POOL_ONLY
from distill.ladder.shots import LadderRow, Shot, replace_text, write_manifest, write_table
from distill.ladder.sources import (
    Source,
    cut_shots,
    find_sources,
    group_of,
    not_pristine,
    pixels,
    split_groups,
)
from distill.stages.ladder_options import check, command, cut_of, parser

LEFT_OUT = 1  # exit code where some sources were left out
_FILES = ("manifest.csv", "README.md", "pairs.csv", "ladder.yaml")
_SHOWN = 10  # problems on the terminal; all are in problems.csv


@dataclass
class _Plan:
    """What will be made.

    Attributes:
        sources: in their order.
        shots: of each source.
        shares: of train, val and test, in percent.
        ladder: rungs by name.
        problems: what was left out so far.
    """

    sources: list[Source]
    shots: list[list[Shot]]
    shares: Sequence[int]
    ladder: Ladder
    problems: list[Problem]

    @property
    def all_shots(self) -> list[Shot]:
        return [shot for shots in self.shots for shot in shots]

    @property
    def videos(self) -> int:
        return len(self.all_shots) * (len(self.ladder) + 1)


def run(words: Sequence[str]) -> int:
    """Make a ladder.

    Args:
        words: the command line, without the program's name.

    Returns:
        Exit code: 0, or 1 where some sources were left out.

    Raises:
        DistillError: wrong options, nothing made, or a signal.
    """
    # A terminal that closes, like SIGTERM; unless nohup has it that this is to go on.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    options = parser(__doc__ or "").parse_args(words)
    rungs: Ladder = LADDER | POOL_ONLY if options.unlabelled else LADDER
    if options.print_ladder:
        print(ladder_text(rungs), end="")
        return 0
    if not (options.source and options.out):
        raise ConfigError("name the videos and a folder: python make_ladder.py SOURCE --out FOLDER")
    shares, pairs = check(options)
    out = folder(options.out)
    taken = [name for name in _FILES if (out / name).exists()]
    if taken and not (out / ".ladder").exists():
        raise ConfigError(
            f"--out {out}: has a {taken[0]} that make_ladder.py did not write; give a new folder"
        )
    try:
        plan = _plan(options, rungs, shares, out)
        if options.dry_run:
            return _estimate(plan, options)
        return _make(plan, options, pairs, out)
    except KeyboardInterrupt as stop:
        text = "stopped; what is finished is kept, and the same command continues from there"
        raise Interrupted.by(stop, text) from stop
    except BrokenPipeError:  # who reads has heard enough; the door knows what to do
        raise
    except OSError as error:
        raise LadderError(f"{error}; once that is fixed, the same command continues") from error


def _plan(options: argparse.Namespace, rungs: Ladder, shares: Sequence[int], out: Path) -> _Plan:
    ffmpeg = Ffmpeg.find({"x264"}, labels=not options.unlabelled)
    if options.ladder:
        ladder: Ladder = read_ladder(folder(options.ladder), ffmpeg)
        kinds = {recipe.processing for recipes in ladder.values() for recipe in recipes}
        if not options.unlabelled and (doubtful := sorted(kinds & set(POOL_ONLY))):
            _tell(
                f"warning: {options.ladder}: VMAF misjudges {' and '.join(doubtful)}; "
                "its labels would mislead (docs/ladder.md)"
            )
    else:
        ladder, lines = that_can_be_made(rungs, ffmpeg)
        for line in lines:
            _tell(line)
    reader = make_reader(options.reader, time_limit=options.time_limit)
    workers = options.workers or cores()
    where = folder(options.source)
    sources, problems, passed = find_sources(where, out, reader, options.seconds, workers, True)
    if passed:
        _tell(
            f"{len(passed)} videos are passed over, because a ladder made them (first: {passed[0]})"
        )
    if options.unlabelled:
        for source in [source for source in sources if source.split in ("val", "test")]:
            reason = f"its split is {source.split}; a pool made of it would tell a student of it"
            problems.append(Problem(str(where), source.line, source.video, reason))
            sources.remove(source)
        sources = [replace(source, split="pool") for source in sources]
    cut = cut_of(options)
    shots = [cut_shots(source, cut, reader, source.split != "pool") for source in sources]
    if short := sum(len(found) < options.shots for found in shots):
        _tell(f"{short} sources are too short for {options.shots} shots; they give as many as fit")
    return _Plan(sources, shots, shares, ladder, problems)


def _make(plan: _Plan, options: argparse.Namespace, counts: tuple[int, int], out: Path) -> int:
    _tell_problems(plan.problems, out)
    _tell(f"{len(plan.sources)} sources, {len(plan.all_shots)} shots, {plan.videos} videos")
    with alone(out):  # around the manifest too: what another one makes here belongs to another
        return _make_alone(plan, options, counts, out)


def _make_alone(
    plan: _Plan, options: argparse.Namespace, counts: tuple[int, int], out: Path
) -> int:
    _write_problems(plan.problems, options, out)
    rows: list[LadderRow] = []
    failed: list[tuple[str, str]] = []
    if plan.sources:
        _tell_moved(out / "manifest.csv", split_groups(plan.sources, plan.shares))
        # From now on it may tell of videos that are made anew; at the end it is back.
        (out / "manifest.csv").unlink(missing_ok=True)
        rows = make_ladder(
            plan.all_shots,
            out,
            rungs=list(plan.ladder.values()),
            seed=options.seed,
            workers=options.workers,
            on_problem=lambda shot, error: failed.append((shot.name, _reason(error))),
        )
    owner = {s.name: source for source, x in zip(plan.sources, plan.shots, strict=True) for s in x}
    where = str(folder(options.source))
    order = list(owner)
    late = [
        Problem(where, owner[name].line, owner[name].video, reason)
        for name, reason in sorted(failed, key=lambda item: (order.index(item[0]), item[1]))
    ]
    problems = plan.problems + late
    _write_problems(problems, options, out)
    _tell_problems(late, out)
    if not rows:
        raise LadderError(f"nothing made: none of the videos in {where} can be used")

    # Over what was made: a source that proved damaged must not be all there is of a split.
    groups = {row.group for row in rows}
    splits = split_groups([s for s in plan.sources if group_of(s) in groups], plan.shares)
    doubts = _doubts(plan, {row.shot for row in rows}, out)
    for doubt in doubts[:_SHOWN]:
        _tell(f"warning: {doubt}")
    pairs = make_pairs(rows, splits, counts, options.margin, options.seed)
    table = [tuple(getattr(pair, name) for name in COLUMNS) for pair in pairs]
    write_table(out / "pairs.csv", COLUMNS, table)
    replace_text(out / "ladder.yaml", ladder_text(plan.ladder))
    ffmpeg = Ffmpeg.find().version
    text = readme(rows, splits, pairs, doubts, command(options), ffmpeg, options.margin)
    replace_text(out / "README.md", text)
    write_manifest(rows, out / "manifest.csv", splits)  # last: it says that all is there
    print("\n".join(label_lines(rows)))
    print(f"{len(rows)} videos: {out / 'manifest.csv'}")
    return LEFT_OUT if problems else 0


def _doubts(plan: _Plan, made: set[str], out: Path) -> list[str]:
    """What speaks against sources as pristine ones."""
    doubts = []
    for source, shots in zip(plan.sources, plan.shots, strict=True):
        used = [shot for shot in shots if shot.name in made]
        if used:
            files = [out / "videos" / f"{shot.name}_0.mp4" for shot in used]
            if doubt := not_pristine(source, used, files):
                doubts.append(f"{source.video}: {doubt}")
    return doubts


def _estimate(plan: _Plan, options: argparse.Namespace) -> int:
    """Make one shot of middling size elsewhere, and say what all would take."""
    _tell_problems(plan.problems, None)
    if not plan.sources:
        raise LadderError(f"none of the videos in {folder(options.source)} can be used")
    costs = [pixels(source, cut_of(options)) for source in plan.sources]
    order = sorted(range(len(costs)), key=costs.__getitem__)
    broken: list[DistillError] = []
    for taken in order[len(order) // 2 :] + order[: len(order) // 2]:
        with tempfile.TemporaryDirectory(prefix="distill-ladder-") as name:
            start = time.monotonic()
            rows = make_ladder(
                plan.shots[taken][:1],
                Path(name),
                rungs=list(plan.ladder.values()),
                seed=options.seed,
                workers=1,
                on_problem=lambda _, error: broken.append(error),
            )
            seconds = time.monotonic() - start
            size = sum(path.stat().st_size for path in Path(name, "videos").iterdir())
        if rows:  # else it is damaged, and the next one is measured
            break
    else:
        raise broken[-1]
    share = sum(c * len(s) for c, s in zip(costs, plan.shots, strict=True)) / costs[taken]
    workers = options.workers or cores()
    counts = Counter(split_groups(plan.sources, plan.shares).values())
    told = ", ".join(f"{split} {counts[split]}" for split in ("train", "val", "test", "pool"))
    print(f"sources    {len(plan.sources)} ({len(plan.problems)} left out)")
    print(f"contents   {told}")
    print(f"videos     {plan.videos}: {len(plan.all_shots)} shots, {len(plan.ladder) + 1} each")
    print(f"time       about {_duration(share * seconds / workers)} with {workers} workers")
    print(f"space      about {share * size / 1e6:.0f} MB")
    measured = f"{seconds:.1f} s, {size / 1e6:.1f} MB"
    print(f"measured on one shot of {plan.sources[taken].video}: {measured}")
    return LEFT_OUT if plan.problems else 0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _tell_moved(manifest: Path, splits: dict[str, str]) -> None:
    """Warn where another set of sources moves contents between the splits of a finished ladder."""
    if not manifest.exists():
        return
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            before = {row.get("group", ""): row.get("split", "") for row in csv.DictReader(file)}
    except (UnicodeDecodeError, csv.Error) as error:
        _tell(f"warning: {manifest}: {error}; whether contents change their split is unknown")
        return
    moved = [group for group, split in splits.items() if before.get(group, split) != split]
    if moved:
        _tell(
            f"warning: {len(moved)} contents change their split (first: {moved[0]}, "
            f"{before[moved[0]]} to {splits[moved[0]]}): a model of the old manifest may know the "
            "new test; a table with the column split keeps them where they are"
        )


def _write_problems(problems: Sequence[Problem], options: argparse.Namespace, out: Path) -> None:
    left_out = [(options.source, p.line, p.video, p.reason) for p in problems]
    write_table(out / "problems.csv", ("file", "line", "video", "reason"), left_out)


def _tell_problems(problems: Sequence[Problem], out: Path | None) -> None:
    if problems:
        _tell(f"{len(problems)} left out" + (f", see {out / 'problems.csv'}:" if out else ":"))
        for problem in problems[:_SHOWN]:
            _tell(f"  {problem.video}: {problem.reason}")


def _reason(error: DistillError) -> str:
    return str(getattr(error, "reason", error))


_tell = partial(print, file=sys.stderr)
