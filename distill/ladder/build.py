"""The distortion ladder: pristine video in, processed versions with VMAF labels out.

Every shot becomes a reference (version 0) and one version per rung, transcoded, rescaled,
denoised, blurred, noised or encoded twice as a platform does with an upload. The label of a
version is its VMAF against version 0, on the MOS scale. Sharpening is left out: VMAF rewards it.
"""

import hashlib
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from filelock import FileLock, Timeout
from tqdm import tqdm

from distill.errors import DistillError, VideoError
from distill.ladder.codecs import CODECS, Step
from distill.ladder.ffmpeg import Ffmpeg, LadderError
from distill.ladder.recipes import RUNGS, Recipe, codecs_of
from distill.ladder.shots import LadderRow, Shot, replace_text

_LOG = logging.getLogger(__name__)
_REFERENCE: Step = ("x264", "crf", 13)
_FULL = ("No space left", "quota exceeded")  # what FFmpeg says of a full disk, in any codec

OnProblem = Callable[[Shot, DistillError], None]


def make_ladder(
    shots: Sequence[Shot],
    folder: Path,
    *,
    rungs: Sequence[Sequence[Recipe]] = RUNGS,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    on_problem: OnProblem | None = None,
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
        on_problem: told of each shot and version that cannot be made, which is then left out;
            a shot without version 0 is left out whole. None raises at the first.

    Returns:
        One row per video: shots in their order, version 0 first.

    Raises:
        LadderError: FFmpeg lacks something, the disk is full, or without ``on_problem`` a shot is
            not usable or an encoding failed.
        VideoError: without ``on_problem``, what a shot's check found.
    """
    if not shots:
        raise LadderError("the ladder got no shots: give at least one pristine video")
    if workers is not None and workers < 1:
        raise LadderError(f"workers={workers}, but at least 1 is needed")
    names = Counter(shot.name.lower() for shot in shots)  # some file systems ignore case
    if twice := [name for name, count in names.items() if count > 1]:
        raise LadderError(f"two shots are named {', '.join(twice)}: rename one of each")
    used = {_REFERENCE[0], *codecs_of(rungs)}
    ffmpeg = Ffmpeg.find(used, labels=any(shot.labelled for shot in shots))
    folder = Path(folder)
    with alone(folder):
        for stale in (folder / "videos").glob(".tmp-*"):
            stale.unlink()  # a killed run's
        build = _Build(ffmpeg, folder, rungs, seed, on_problem)
        try:
            return build.run(shots, workers or cores(), progress)
        except OSError as error:
            raise LadderError(f"{folder}: {error}; the same command continues from here") from error


class _Build:
    """One run over one folder: what its worker threads share."""

    def __init__(
        self,
        ffmpeg: Ffmpeg,
        folder: Path,
        rungs: Sequence[Sequence[Recipe]],
        seed: int,
        on_problem: OnProblem | None,
    ) -> None:
        self._ffmpeg, self._folder, self._rungs, self._seed = ffmpeg, folder, rungs, seed
        self._on_problem = on_problem

    def run(self, shots: Sequence[Shot], workers: int, progress: bool) -> list[LadderRow]:
        total = len(shots) * (len(self._rungs) + 1)
        rows: dict[tuple[int, int], LadderRow] = {}
        keys: dict[int, str] = {}
        pool = ThreadPoolExecutor(workers)
        with tqdm(
            total=total, unit="video", desc="ladder", disable=not progress, dynamic_ncols=True
        ) as bar:
            try:
                # Every version is made from version 0, so the references come first.
                first = {pool.submit(self._reference, shot): i for i, shot in enumerate(shots)}
                for made in as_completed(first):
                    i = first[made]
                    try:
                        keys[i], rows[i, 0] = made.result()
                    except (LadderError, VideoError) as error:
                        self._problem(shots[i], error)
                        bar.update(len(self._rungs))
                    bar.update()
                rest = {
                    pool.submit(self._version, shot, v, keys[i]): (i, v)
                    for i, shot in enumerate(shots)
                    for v in range(1, len(self._rungs) + 1)
                    if i in keys
                }
                for done in as_completed(rest):
                    try:
                        rows[rest[done]] = done.result()
                    except LadderError as error:
                        self._problem(shots[rest[done][0]], error)
                    bar.update()
            except BaseException:
                self._ffmpeg.stop()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
        return [rows[place] for place in sorted(rows)]

    def _problem(self, shot: Shot, error: DistillError) -> None:
        """Leave out what failed, unless nobody listens or everything will fail."""
        if self._on_problem is None:
            raise error
        if any(text in str(error) for text in _FULL):
            raise LadderError(
                f"{self._folder}: the disk is full; free some space, and the same command continues"
            ) from error
        self._on_problem(shot, error)

    def _reference(self, shot: Shot) -> tuple[str, LadderRow]:
        """Encode version 0; return its key, which the keys of its versions hold, and its row."""
        source, content = shot.source, shot.version
        if isinstance(source, Path) and not content:
            with source.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        origin = (content, shot.fps, shot.start, shot.duration, shot.filters)
        key = self._key(origin, [_REFERENCE], shot.labelled)

        def make(out: Path) -> None:
            if shot.check is not None:
                shot.check()
            if isinstance(source, Path):
                cut = (shot.start, shot.duration, shot.fps, shot.filters)
                self._ffmpeg.encode_file(source, out, _REFERENCE, *cut)
                if not _shape(out)[2]:
                    raise LadderError(f"{source}: no frame lies in the shot; take longer shots")
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
        words = recipe.words(drawn)
        key = self._key((reference, recipe.filters, drawn), steps, shot.labelled)

        def make(out: Path) -> None:
            source = self._video(shot, 0)
            width, height, frames = _shape(source)
            filters = recipe.filters_for(drawn, width, height, frames)
            self._ffmpeg.process(source, out, filters, steps)
            if shot.labelled and (made := _shape(out)[2]) != frames:
                raise LadderError(
                    f"{shot.name}, version {version} ({words}): {made} frames of {frames}; VMAF "
                    "pairs frames by number, so filters must not change how many there are"
                )

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
            # The process is named, because FFmpeg outlives one that is killed, and writes on.
            temporary = video.with_name(f".tmp-{os.getpid()}-{video.name}")
            try:
                make(temporary)
                reference = self._video(shot, 0) if version else temporary
                score = self._ffmpeg.vmaf(temporary, reference) if shot.labelled else None
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            path.unlink(missing_ok=True)
            os.replace(temporary, video)
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


def _shape(path: Path) -> tuple[int, int, int]:
    """Width, height and number of frames of one of our own files, from its header."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:  # so FFmpeg writes what has no frame
                return 0, 0, 0
            stream = container.streams.video[0]
            return stream.width, stream.height, stream.frames
    except av.FFmpegError as error:
        raise LadderError(f"{path}: holds no video; remove it and start again") from error


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) and "vmaf" in note else {}


def cores() -> int:
    """Cores this process may use; a container often allows fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make a ladder's folder and hold its lock, saying so where that means to wait.

    Who writes more than the videos (a manifest) holds it around all of that; ``make_ladder``
    takes it once more within.

    Raises:
        LadderError: the folder cannot be made.
    """
    try:
        for name in ("videos", ".ladder"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LadderError(f"{folder}: cannot be made ({error}); choose another") from error
    # A singleton, so that a thread that holds it can take it again.
    lock = FileLock(folder / ".ladder" / "lock", is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("%s: another process is building here; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
