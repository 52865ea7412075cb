"""Which videos can be pristine sources of a ladder, which cannot, and what is cut from them."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from tqdm import tqdm

from distill.data.identity import content_hash, seed_of
from distill.data.manifest import COLUMNS, SPLITS, Problem, Row
from distill.data.pool_sources import read_pool
from distill.data.reader import VideoInfo, VideoReader
from distill.data.tables import TABLE_SUFFIXES, read_table
from distill.errors import ManifestError, VideoError
from distill.ladder.ffmpeg import shrink
from distill.ladder.shots import Shot

MIN_SIDE = 128  # pixels; VMAF and a third of the size need some picture to look at
# Bits per second over those of the source's own reference, below which a source is doubted. With
# 286 encodings of 11 contents of realladder as sources, this found all 49 by x264 below VMAF 90 and
# 109 of 110 by the newer codecs, and doubted 13 of the 80 from VMAF 94 on. The contents themselves
# (x264 crf 13) have 0.98 and more.
_LEAST_NEWER = {"hevc": 0.25, "vp9": 0.25, "av1": 0.25}
_LEAST = 0.4


@dataclass(frozen=True)
class Source:
    """One sound source.

    Attributes:
        video: as the user's folder or table names it.
        path: where it is.
        line: of the table or list, 0 where there is none.
        group, split: of the table; empty where it says nothing.
        content: hash of the content, see ``content_hash``.
        info: its metadata.
    """

    video: str
    path: Path
    line: int
    group: str
    split: str
    content: str
    info: VideoInfo

    @property
    def name(self) -> str:
        """Unique by content and safe as a file name; readable where the file's own name is."""
        return (
            f"{re.sub(r'[^A-Za-z0-9]+', '-', self.path.stem).strip('-')[:40]}-{self.content[:10]}"
        )


@dataclass(frozen=True)
class Cut:
    """What is taken from each source.

    Attributes:
        seconds: length of a shot, above 0.
        shots: per source, at most, >= 1; spread over it and without overlap.
        short_side: pixels; larger sources are made smaller.
        fps: frames per second at most; None keeps each source's.
    """

    seconds: float
    shots: int
    short_side: int
    fps: float | None


def find_sources(
    source: Path, out: Path, reader: VideoReader, seconds: float, workers: int, progress: bool
) -> tuple[list[Source], list[Problem], list[str]]:
    """Look for videos and check each: metadata, length, size, and whether it came before.

    Args:
        source: a folder, a list, a table or a video, as ``read_pool`` takes them. A table's
            columns ``group`` and ``split`` hold.
        out: the ladder's folder; what lies in it or in another ladder is no source.
        reader: what the videos are read with later.
        seconds: least length.
        workers: videos checked at a time.
        progress: show a bar.

    Returns:
        Sound sources in the order they were found in, the others with the reason, and the videos
        of a folder that are passed over because a ladder made them.

    Raises:
        ManifestError: nothing there, or a table that contradicts itself.
    """
    pool = read_pool(source)
    problems = list(pool.problems)
    made = _in_ladders([row.path for row in pool.rows], out)
    rows = [row for row in pool.rows if row.path not in made]
    passed = [row for row in pool.rows if row.path in made]
    if not source.is_dir():  # who names a video wants to hear of it
        reason = "lies in a ladder's folder; its versions are no pristine videos"
        problems += [Problem(str(source), row.line, row.video, reason) for row in passed]
        passed = []
    splits, groups = _columns(source) if source.suffix.lower() in TABLE_SUFFIXES else ({}, {})
    check = partial(_check, reader=reader, seconds=seconds)
    with ThreadPoolExecutor(workers) as threads:
        found = list(
            tqdm(
                threads.map(check, rows),
                "checking",
                len(rows),
                unit="video",
                disable=not progress,
                dynamic_ncols=True,
            )
        )
    sources: list[Source] = []
    first: dict[str, str] = {}
    for row, result in zip(rows, found, strict=True):
        if isinstance(result, Source):
            same = first.setdefault(result.content, row.video)
            if same == row.video:
                group, split = groups.get(row.line, ""), splits.get(row.line, "")
                sources.append(replace(result, group=group, split=split))
                continue
            result = f"the same content as {same!r}, which is used"
        problems.append(Problem(str(source), row.line, row.video, result))
    return sources, problems, [row.video for row in passed]


def split_groups(sources: Sequence[Source], shares: Sequence[int]) -> dict[str, str]:
    """Split of every group: as the table says, else by a hash of the contents.

    Args:
        sources: all that are used.
        shares: of train, val and test, in percent.

    Returns:
        group -> ``train``, ``val``, ``test`` or ``pool``. From three open groups on, each share
        above 0 gets one at least.
    """
    held = {group_of(source): source.split for source in sources if source.split}
    keys: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        if group_of(source) not in held:
            keys[group_of(source)].append(source.content)
    order = sorted(keys, key=lambda group: seed_of(*sorted(keys[group])))
    count = len(order)
    if count < 3 and shares[0]:
        sizes = [count, 0, 0]
    else:
        sizes = [max(1, round(share / 100 * count)) if share else 0 for share in shares]
        sizes[sizes.index(max(sizes))] += count - sum(sizes)
    names = ["val"] * sizes[1] + ["test"] * sizes[2]
    return held | {
        group: names[place] if place < len(names) else "train" for place, group in enumerate(order)
    }


def group_of(source: Source) -> str:
    """The content that a source belongs to: the table's word, else it is its own."""
    return source.group or source.name


def cut_shots(source: Source, cut: Cut, reader: VideoReader, labelled: bool) -> list[Shot]:
    """The shots of one source, each in the middle of its share of the duration."""
    info = source.info
    count = max(1, min(cut.shots, int(info.duration / cut.seconds + 1e-6)))
    # Square pixels first: a picture that players stretch is stretched in the file.
    filters = ["scale='if(eq(sar,1),iw,round(iw*sar/2)*2)':ih"]
    if min(info.width, info.height) > cut.short_side:
        filters.append(shrink(cut.short_side))
    shots = []
    for number in range(count):
        middle = (number + 0.5) * info.duration / count
        start = round(min(max(0.0, middle - cut.seconds / 2), info.duration - cut.seconds), 3)
        start = max(0.0, start)
        shots.append(
            Shot(
                f"{source.name}-{number + 1}",
                source.path,
                group_of(source),
                fps=min(info.fps, cut.fps or math.inf),
                start=start,
                duration=cut.seconds,
                filters=",".join(filters),
                version=source.content,
                labelled=labelled,
                check=partial(_decode, source, reader, start, cut.seconds),
            )
        )
    return shots


def pixels(source: Source, cut: Cut) -> float:
    """Pixels over all frames of one shot, which the time it takes goes with."""
    width, height = source.info.width, source.info.height
    scale = min(1.0, cut.short_side / min(width, height))
    return width * height * scale**2 * cut.seconds * min(source.info.fps, cut.fps or math.inf)


def not_pristine(source: Source, shots: Iterable[Shot], references: Sequence[Path]) -> str:
    """Why a source looks compressed already, or an empty text.

    Bits per pixel alone do not tell: a still picture needs a tenth of what confetti needs. So the
    source's bits are held against those of its references, the same seconds encoded well at the
    size that is used. The source's sound counts as well, so that this errs towards silence.
    """
    spent = source.path.stat().st_size * 8 / source.info.duration
    seconds = sum(shot.duration or 0.0 for shot in shots)
    needed = sum(path.stat().st_size for path in references) * 8 / seconds
    least = _LEAST_NEWER.get(source.info.codec, _LEAST)
    if spent >= least * needed:
        return ""
    size = source.info.width * source.info.height * source.info.fps
    return (
        f"{source.info.codec} at {spent / 1000:.0f} kbit/s ({spent / size:.3f} bits per pixel) "
        f"spends {spent / needed:.2f} of what its reference at x264 crf 13 needs "
        f"(below {least}: compressed already)"
    )


def _in_ladders(paths: Iterable[Path], out: Path) -> set[Path]:
    """Those that lie in this ladder or in another, through links too."""
    here = {out, out.resolve()}
    is_ladder = cache(lambda folder: folder in here or (folder / ".ladder").is_dir())
    return {path for path in paths if any(map(is_ladder, {*path.parents, *path.resolve().parents}))}


def _check(row: Row, reader: VideoReader, seconds: float) -> Source | str:
    """A source, or why it is none."""
    try:
        info = reader.probe(row.path)
        content = content_hash(row.path)
    except (VideoError, OSError) as error:
        return getattr(error, "reason", str(error))
    if info.hdr:
        return (
            f"is HDR (transfer {info.transfer}); a ladder is 8-bit SDR, and VMAF's model knows no "
            "other; convert it first"
        )
    if not info.fps or not info.duration:
        return "the file does not say how long it is or how many frames a second it has"
    if info.duration < seconds - 1e-3:
        return f"lasts {info.duration:.2f} s, less than a shot (--seconds {seconds:g})"
    if min(info.width, info.height) < MIN_SIDE:
        return f"is {info.width}x{info.height}; the short side must be at least {MIN_SIDE}"
    return Source(row.video, row.path, row.line, "", "", content, info)


def _decode(source: Source, reader: VideoReader, start: float, seconds: float) -> None:
    """Decode a shot: FFmpeg would repair a damaged picture and go on.

    Raises:
        VideoError: a frame is damaged or missing.
    """
    info = source.info
    first = max(0, math.floor(start * info.fps))
    end = min(info.num_frames, math.ceil((start + seconds) * info.fps))
    for _ in reader.read(source.path, range(first, end)):
        pass


def _columns(table: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Split and group by line of a table, where its cells say them.

    Raises:
        ManifestError: an unknown split, or a group in two.
    """
    splits, groups = {}, {}
    where: dict[str, tuple[str, int]] = {}
    for line, cells in read_table(table, COLUMNS):
        group, split = (cells.get(name, "").strip() for name in ("group", "split"))
        split = split.lower()
        if split and split not in SPLITS:
            choices = ", ".join(SPLITS)
            raise ManifestError(f"{table}, line {line}: split {split!r} is none of {choices}")
        splits[line], groups[line] = split, group
        if group:
            other, at = where.setdefault(group, (split, line))
            if other != split:
                raise ManifestError(
                    f"{table}: group {group!r} is in split {other!r} (line {at}) and in {split!r} "
                    f"(line {line}); all videos of one content belong in one"
                )
    return splits, groups
