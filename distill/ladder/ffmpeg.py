"""The FFmpeg of the ``imageio-ffmpeg`` wheel: encode, process, and measure VMAF, repeatably.

Everything runs on one thread per process and without version stamps in the file, so that the same
input and the same build give the same bytes. Parallelism is the caller's: many processes at once.
"""

import re
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from distill.errors import DistillError
from distill.ladder.codecs import CODECS, Step, encoder

_MODEL = "vmaf_v0.6.1"
_TRY = 30.0  # seconds for filters on a small picture; those of the default ladder take 0.03
# Even sides for 4:2:0, square pixels, and rounding that does not depend on the processor.
_NORMAL = (
    "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0,"
    "scale=out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int+bitexact,"
    "format=yuv420p,setsar=1"
)


class LadderError(DistillError):
    """The distortion ladder cannot be made; the text names the shot and what to do."""


def shrink(side: int) -> str:
    """FFmpeg filter: to this short side, never enlarged, both sides even."""
    return (
        f"scale=w='if(gt(iw,ih),-2,min(iw,{side}))':h='if(gt(iw,ih),min(ih,{side}),-2)'"
        ":flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
    )


class _Children:
    """The processes that run now, so that a build that is stopped leaves none behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    @contextmanager
    def start(self, command: Sequence[str], **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A process that has ended when the block is left."""
        with self._lock:
            if self._stopped:
                raise LadderError("the build was stopped")
            process = subprocess.Popen(command, **streams)
            self._alive.add(process)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            with self._lock:
                self._alive.discard(process)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._alive:
                process.kill()


@dataclass(frozen=True)
class Ffmpeg:
    """One FFmpeg executable.

    Attributes:
        exe: its path.
        version: as it names itself; part of the key of everything made with it.
        codecs: names of ``CODECS`` that it can encode.
    """

    exe: str
    version: str
    codecs: frozenset[str]
    _children: _Children = field(default_factory=_Children, repr=False, compare=False)

    @classmethod
    def find(cls, codecs: Iterable[str] = (), labels: bool = True) -> "Ffmpeg":
        """Find FFmpeg and check that it can do what is wanted.

        Args:
            codecs: names of ``CODECS`` that must be there.
            labels: VMAF will be measured.

        Raises:
            LadderError: there is no FFmpeg, it does not start, or it lacks a codec or VMAF.
        """
        mend = "install the wheel imageio-ffmpeg 0.8 or newer, or point IMAGEIO_FFMPEG_EXE at one"
        try:
            import imageio_ffmpeg

            exe = imageio_ffmpeg.get_ffmpeg_exe()
            listed = {
                what: subprocess.run(
                    [exe, "-hide_banner", f"-{what}"], capture_output=True, text=True, check=True
                ).stdout
                for what in ("version", "encoders", "filters")
            }
        except (ImportError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
            raise LadderError(f"no working FFmpeg was found ({error}): {mend}") from error

        def has(name: str, where: str) -> bool:
            return bool(re.search(rf"^\s*\S+\s+{name}\s", listed[where], re.MULTILINE))

        wanted = [(CODECS[codec][1], "encoders") for codec in sorted(set(codecs))]
        for name, where in wanted + ([("libvmaf", "filters")] if labels else []):
            if not has(name, where):
                raise LadderError(f"{exe}: this FFmpeg was built without {name}: {mend}")
        version = re.match(r"ffmpeg version (\S+)", listed["version"])
        able = frozenset(name for name in CODECS if has(CODECS[name][1], "encoders"))
        return cls(exe, version.group(1) if version else "unknown", able)

    def stop(self) -> None:
        """Kill what runs and start nothing more; from any thread."""
        self._children.stop()

    def encode_frames(
        self, frames: Iterable[np.ndarray], fps: float, out: Path, step: Step, name: str
    ) -> None:
        """Encode rendered frames.

        Args:
            frames: (H, W, 3) uint8 RGB, all of one size, at least one.
            fps: frames per second.
            out: the file to write.
            step: codec, rate mode and value.
            name: the shot's, for messages.
        """
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            raise LadderError(f"shot {name}: its function yields no frames")
        height, width = first.shape[:2]
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        source += ["-r", str(fps), "-i", "pipe:0"]

        def checked() -> Iterator[bytes]:
            for index, frame in enumerate(chain([first], frames)):
                yield self._bytes(frame, first.shape, name, index)

        self._run([*source, "-vf", _NORMAL, *encoder(step), str(out)], f"shot {name}", checked())

    def encode_file(
        self,
        source: Path,
        out: Path,
        step: Step,
        start: float = 0.0,
        duration: float | None = None,
        fps: float | None = None,
        filters: str = "",
    ) -> None:
        """Encode a stretch of a pristine file at a constant frame rate.

        Args:
            source: any video; it is turned upright and cut to even sides.
            out: the file to write.
            step: codec, rate mode and value.
            start, duration: seconds; None takes the rest.
            fps: frames per second; None keeps the file's.
            filters: what the frames go through first.
        """
        cut = ["-ss", str(start)] if start else []
        length = [] if duration is None else ["-t", str(duration)]
        rate = ["-r", str(fps)] if fps else []
        # A cut between two frames must not repeat the first one to fill the gap before it.
        graph = ",".join(part for part in ("setpts=PTS-STARTPTS", filters, _NORMAL) if part)
        arguments = [*cut, *length, "-threads", "1", "-i", str(source), "-map", "0:v:0"]
        arguments += ["-vf", graph, "-fps_mode", "cfr", *rate, *encoder(step), str(out)]
        self._run(arguments, str(source))

    def process(self, source: Path, out: Path, filters: str, steps: Sequence[Step]) -> None:
        """Filter, then encode once per step, each from the step before.

        Args:
            source: version 0; frames map one to one.
            out: the file to write; what comes before lies beside it until the end.
            filters: applied before the first encoding; may be empty.
            steps: at least one.
        """
        between = [out.with_name(f"{out.stem}.{n}.mp4") for n in range(1, len(steps))]
        try:
            for at, to, step in zip([source, *between], [*between, out], steps, strict=True):
                graph = ["-vf", filters] if filters and at == source else []
                arguments = ["-threads", "1", "-i", str(at), *graph, "-fps_mode", "passthrough"]
                self._run([*arguments, *encoder(step), str(to)], str(source))
        finally:
            for path in between:
                path.unlink(missing_ok=True)

    def try_filters(self, filters: str, width: int, height: int, frames: int) -> str:
        """What is wrong with filters that must keep size and number of frames; empty if nothing.

        Args:
            filters: as ``process`` takes them.
            width, height, frames: of the picture that they are tried on.
        """
        picture = f"testsrc2=size={width}x{height}:rate=25,trim=end_frame={frames},format=yuv420p"
        arguments = ["-f", "lavfi", "-i", picture, "-vf", filters, "-fps_mode", "passthrough"]
        with tempfile.TemporaryDirectory(prefix="distill-ladder-") as folder:
            out = Path(folder) / "frames"
            try:
                self._run([*arguments, "-f", "framecrc", str(out)], "try", limit=_TRY)
            except subprocess.TimeoutExpired:
                return f"it did not finish {frames} frames in {_TRY:g} s; does it ever end?"
            except LadderError as error:
                return f"FFmpeg refuses it ({str(error).partition(': FFmpeg ')[2]})"
            lines = out.read_text(encoding="utf-8").splitlines()
        size = next((line.split()[-1] for line in lines if line.startswith("#dimensions")), "")
        made = sum(not line.startswith("#") for line in lines)
        if made != frames:
            return (
                f"it makes {made} frames of {frames}; VMAF pairs frames by number, so repeat those "
                "that are dropped (shuffleframes=0 0 halves the rate)"
            )
        if size != f"{width}x{height}":
            return f"it makes {size} of {width}x{height}; scale back to {{width}}:{{height}}"
        return ""

    def vmaf(self, distorted: Path, reference: Path) -> float:
        """VMAF (vmaf_v0.6.1), the mean over the frames, 0..100.

        Args:
            distorted, reference: of one size and with as many frames: they are paired by number,
                so that time stamps need not agree.
        """
        paired = "settb=1/25,setpts=N"
        graph = f"[0:v]{paired}[a];[1:v]{paired}[b];[a][b]libvmaf=model=version={_MODEL}"
        inputs = [["-threads", "1", "-i", str(path)] for path in (distorted, reference)]
        arguments = [*inputs[0], *inputs[1], "-lavfi", f"{graph}:n_threads=1", "-f", "null", "-"]
        told = self._run(arguments, str(distorted), level="info")
        found = re.search(r"VMAF score: ([\d.]+)", told)
        if not found:
            raise LadderError(f"{distorted}: FFmpeg printed no VMAF: {told.strip()[-300:]}")
        return float(found.group(1))

    @staticmethod
    def _bytes(frame: np.ndarray, shape: tuple[int, ...], name: str, index: int) -> bytes:
        if frame.dtype != np.uint8 or frame.shape != shape or shape[2:] != (3,):
            raise LadderError(
                f"shot {name}: frame {index} is {frame.dtype} {frame.shape}, "
                f"but (H, W, 3) uint8 of one size is needed (frame 0 is {shape})"
            )
        return frame.tobytes()

    def _run(
        self,
        arguments: Sequence[str],
        what: str,
        data: Iterator[bytes] | None = None,
        level: str = "error",
        limit: float | None = None,
    ) -> str:
        """Run FFmpeg, feed it ``data``, and return what it said.

        Raises:
            LadderError: it failed.
            TimeoutExpired: it was not done in ``limit`` seconds.
        """
        command = [self.exe, "-hide_banner", "-nostats", "-v", level, "-y", "-filter_threads", "1"]
        # A file, not a pipe: a full pipe would stop FFmpeg while we still write to it.
        with tempfile.TemporaryFile() as said:
            streams = {
                "stdin": subprocess.DEVNULL if data is None else subprocess.PIPE,
                "stdout": subprocess.DEVNULL,
                "stderr": said,
            }
            with self._children.start([*command, *arguments], **streams) as process:
                if data is not None and process.stdin is not None:
                    try:
                        for piece in data:
                            process.stdin.write(piece)
                        process.stdin.close()
                    except BrokenPipeError:
                        pass  # FFmpeg has given up; its own words say why.
                status = process.wait(limit)
            said.seek(0)
            told = said.read().decode(errors="replace")
        if status:
            last = " ".join(told.split())[-300:]
            raise LadderError(f"{what}: FFmpeg failed (exit {status}): {last}")
        return told
