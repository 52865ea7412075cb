"""The distortion ladder: pristine video in, processed versions with VMAF labels out.

Every shot becomes a reference (version 0) and one version per rung, transcoded, rescaled,
denoised, blurred, noised or encoded twice as a platform does with an upload. The label of a
version is its VMAF against version 0, on the MOS scale. Sharpening is left out: VMAF rewards it.
"""

import csv
import hashlib
import io
import json
import logging
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from distill.data.ffmpeg import CODECS, Ffmpeg, LadderError, Step
from distill.data.recipes import RUNGS, Recipe

_LOG = logging.getLogger(__name__)
_REFERENCE: Step = ("x264", "crf", 13)
COLUMNS = ("video", "mos", "mos_std", "split", "group", "shot", "processing", "detail")


@dataclass(frozen=True)
class Shot:
    """One pristine shot.

    Attributes:
        name: unique; letters, digits, ``_``, ``-`` and ``.``: it names the files.
        source: a video file, or a function that yields (H, W, 3) uint8 RGB frames of one size.
        group: the source content; versions and shots of one content share it.
        fps: frames per second; a function needs it, a file is resampled to it. None keeps
            the file's.
        start: seconds to skip in a file.
        duration: seconds to take from a file; None takes the rest.
        filters: FFmpeg filters that a file goes through first, such as ``scale=-2:320``.
        version: changes when the frames of a function do, so that they are made again.
        labelled: measure VMAF; False leaves the rows without a label.
    """

    name: str
    source: Path | Callable[[], Iterable[np.ndarray]]
    group: str
    fps: float | None = None
    start: float = 0.0
    duration: float | None = None
    filters: str = ""
    version: str = ""
    labelled: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", self.name):
            raise LadderError(
                f"shot {self.name!r}: the name becomes a file name; use only letters, digits, "
                "_, - and . (not in front)"
            )
        if isinstance(self.source, Path):
            if not self.source.is_file():
                raise LadderError(f"shot {self.name}: there is no file {self.source}")
        elif not callable(self.source) or not self.fps:
            raise LadderError(
                f"shot {self.name}: give a pathlib.Path, or a function that yields frames "
                f"together with fps; got {self.source!r} and fps={self.fps}"
            )


@dataclass(frozen=True)
class LadderRow:
    """One finished video.

    Attributes:
        video: path relative to the ladder's folder, with forward slashes.
        vmaf: mean over the frames against version 0, 0..100; None where not asked for.
        group, shot: of the shot it was made from.
        processing, detail: the kind, and its parameters in words.
    """

    video: str
    vmaf: float | None
    group: str
    shot: str
    processing: str
    detail: str

    @property
    def mos(self) -> float | None:
        """The label on the MOS scale: 1 + 4 * VMAF / 100."""
        return None if self.vmaf is None else 1 + 4 * self.vmaf / 100


def make_ladder(
    shots: Sequence[Shot],
    folder: Path,
    *,
    rungs: Sequence[Sequence[Recipe]] = RUNGS,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> list[LadderRow]:
    """Make and label every version of every shot below ``folder``.

    A run that was stopped goes on where it was; what shot, seed, recipe or FFmpeg no longer
    describe is made again. A second process on the same folder waits for the first. The same
    shots, seed and FFmpeg build give the same bytes, whatever the number of workers.

    Args:
        shots: at least one, with distinct names.
        folder: receives ``videos/<shot>_<version>.mp4`` and a hidden ``.ladder/``.
        rungs: one version is made per rung, after one of its recipes.
        seed: with the shot's name and the rung's place determines every drawn parameter.
        workers: FFmpeg processes at a time, >= 1; None takes one per core this process may use.
        progress: show a bar with the rate.

    Returns:
        One row per video: shots in their order, version 0 first.

    Raises:
        LadderError: FFmpeg lacks something, a shot is not usable, or an encoding failed.
    """
    if not shots:
        raise LadderError("the ladder got no shots: give at least one pristine video")
    if workers is not None and workers < 1:
        raise LadderError(f"workers={workers}, but at least 1 is needed")
    names = Counter(shot.name.lower() for shot in shots)  # some file systems ignore case
    if twice := [name for name, count in names.items() if count > 1]:
        raise LadderError(f"two shots are named {', '.join(twice)}: rename one of each")
    used = {step.codec for rung in rungs for recipe in rung for step in recipe.encodes}
    ffmpeg = Ffmpeg.find({"x264", *used}, labels=any(shot.labelled for shot in shots))
    folder = Path(folder)
    try:
        for name in ("videos", ".ladder"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LadderError(f"{folder}: cannot be made ({error}); choose another") from error
    with _alone(folder):
        for stale in (folder / "videos").glob(".tmp-*"):
            stale.unlink()  # a killed run's
        return _Build(ffmpeg, folder, rungs, seed).run(shots, workers or _cores(), progress)


def write_manifest(
    rows: Iterable[LadderRow], path: Path, splits: Mapping[str, str] | None = None
) -> None:
    """Write the rows as a manifest.

    Args:
        rows: what ``make_ladder`` returned.
        path: the CSV file, in the ladder's folder so that its relative paths hold.
        splits: split of every group, so that none is cut; None leaves the column out.
    """
    out = io.StringIO()
    names = [name for name in COLUMNS if splits is not None or name != "split"]
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        record = {name: getattr(row, name, "") for name in COLUMNS}
        record["mos"] = "" if row.mos is None else f"{row.mos:.4f}"
        record["split"] = "" if splits is None else splits[row.group]
        writer.writerow(record)
    replace_text(path, out.getvalue())


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where two processes write it at once."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.write_text(text, encoding="utf-8", newline="")
    os.replace(temporary, path)


class _Build:
    """One run over one folder: what its worker threads share."""

    def __init__(
        self, ffmpeg: Ffmpeg, folder: Path, rungs: Sequence[Sequence[Recipe]], seed: int
    ) -> None:
        self._ffmpeg, self._folder, self._rungs, self._seed = ffmpeg, folder, rungs, seed

    def run(self, shots: Sequence[Shot], workers: int, progress: bool) -> list[LadderRow]:
        total = len(shots) * (len(self._rungs) + 1)
        rows: dict[tuple[int, int], LadderRow] = {}
        keys: dict[int, str] = {}
        pool = ThreadPoolExecutor(workers)
        with tqdm(total=total, unit="video", desc="ladder", disable=not progress) as bar:
            try:
                # Every version is made from version 0, so the references come first.
                first = {pool.submit(self._reference, shot): i for i, shot in enumerate(shots)}
                for made in as_completed(first):
                    keys[first[made]], rows[first[made], 0] = made.result()
                    bar.update()
                rest = {
                    pool.submit(self._version, shot, v, keys[i]): (i, v)
                    for i, shot in enumerate(shots)
                    for v in range(1, len(self._rungs) + 1)
                }
                for done in as_completed(rest):
                    rows[rest[done]] = done.result()
                    bar.update()
            finally:
                pool.shutdown(cancel_futures=True)
        return [rows[place] for place in sorted(rows)]

    def _reference(self, shot: Shot) -> tuple[str, LadderRow]:
        """Encode version 0; return its key, which the keys of its versions hold, and its row."""
        source, content = shot.source, shot.version
        if isinstance(source, Path):
            with source.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        origin = (content, shot.fps, shot.start, shot.duration, shot.filters)
        key = self._key(origin, [_REFERENCE], shot.labelled)

        def make(out: Path) -> None:
            if isinstance(source, Path):
                cut = (shot.start, shot.duration, shot.fps, shot.filters)
                self._ffmpeg.encode_file(source, out, _REFERENCE, *cut)
            else:
                assert shot.fps is not None  # Shot has seen to it
                self._ffmpeg.encode_frames(source(), shot.fps, out, _REFERENCE, shot.name)

        return key, self._finish(shot, 0, key, "reference", _told([_REFERENCE]), make)

    def _version(self, shot: Shot, version: int, reference: str) -> LadderRow:
        """Draw one recipe of the rung with its parameters, and follow it."""
        draw = random.Random(f"{self._seed}/{shot.name}/{version}")
        recipe = draw.choice(self._rungs[version - 1])
        drawn = {name: draw.choice(values) for name, values in recipe.draws.items()}
        steps = [(e.codec, e.mode, draw.randint(e.low, e.high)) for e in recipe.encodes]
        words = (recipe.detail or recipe.filters).format(**drawn, width="width", height="height")
        key = self._key((reference, recipe.filters, drawn), steps, shot.labelled)

        def make(out: Path) -> None:
            source = self._video(shot, 0)
            width, height = self._ffmpeg.size(source)
            filters = recipe.filters.format(**drawn, width=width, height=height)
            self._ffmpeg.process(source, out, filters, steps)

        detail = f"{words} {_told(steps)}".strip()
        return self._finish(shot, version, key, recipe.processing, detail, make)

    def _finish(
        self,
        shot: Shot,
        version: int,
        key: str,
        processing: str,
        detail: str,
        make: Callable[[Path], None],
    ) -> LadderRow:
        """Make and label one video, unless its note says that just this is there already."""
        video = self._video(shot, version)
        path = self._folder / ".ladder" / f"{video.stem}.json"
        note = _read_note(path)
        size = video.stat().st_size if video.exists() else None
        if (note.get("key"), note.get("size")) != (key, size):
            temporary = video.with_name(f".tmp-{video.name}")
            make(temporary)
            path.unlink(missing_ok=True)
            os.replace(temporary, video)
            score = self._ffmpeg.vmaf(video, self._video(shot, 0)) if shot.labelled else None
            # Gone before the video changes and back last: a note never tells of another video.
            note = {"key": key, "size": video.stat().st_size, "vmaf": score}
            replace_text(path, json.dumps(note))
        name = video.relative_to(self._folder).as_posix()
        return LadderRow(name, note["vmaf"], shot.group, shot.name, processing, detail)

    def _video(self, shot: Shot, version: int) -> Path:
        return self._folder / "videos" / f"{shot.name}_{version}.mp4"

    def _key(self, source: object, steps: Sequence[Step], labelled: bool) -> str:
        """Hash of all that determines a video and its label."""
        codecs = [CODECS[step[0]] for step in steps]
        text = json.dumps([self._ffmpeg.version, source, steps, codecs, labelled], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _told(steps: Sequence[Step]) -> str:
    return " then ".join(f"{codec} {mode}={value}" for codec, mode, value in steps)


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) and "vmaf" in note else {}


def _cores() -> int:
    """Cores this process may use; a container often allows fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, saying so where that means to wait."""
    lock = FileLock(folder / ".ladder" / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("%s: another process is building here; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
