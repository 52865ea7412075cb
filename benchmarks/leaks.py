"""The tables of docs/doubt.md: how well versions of a content are told from other contents.

    python benchmarks/leaks.py                  ../shared/realladder beside the checkout
    python benchmarks/leaks.py FOLDER --contents 84

FOLDER holds a manifest.csv with the column group. Every version is compared with every other; then
the first version of each content is changed in ways that no ladder has, and held against all
versions of the data set, as a pool video is against the held-out ones.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from distill.data.manifest import Row, read_manifest
from distill.data.perceptual import THRESHOLD, distances, nearest
from distill.data.reader import VideoReader
from distill.data.readers import make_reader
from distill.data.signatures import SignatureStore, sign

_EVEN = "crop=trunc(iw/2)*2:trunc(ih/2)*2"
_CHANGES: dict[str, tuple[list[str], str]] = {
    "encoded again, x264 CRF 28": ([], _EVEN),
    "half size": ([], f"scale=iw/2:ih/2,{_EVEN}"),
    "squeezed to a square": ([], "scale=320:320"),
    "12 frames a second": ([], f"fps=12,{_EVEN}"),
    "1.25 times as fast": ([], f"setpts=PTS/1.25,{_EVEN}"),
    "gamma 1.5, contrast 1.2": ([], f"eq=gamma=1.5:contrast=1.2,{_EVEN}"),
    "first 4% cut off": (["-ss", "0.1"], _EVEN),
    "first 10% cut off": (["-ss", "0.25"], _EVEN),
    "first 20% cut off": (["-ss", "0.5"], _EVEN),
    "last 20% cut off": (["-t", "2.0"], _EVEN),
    "2% of each edge cut off": ([], f"crop=iw*0.96:ih*0.96,{_EVEN}"),
    "5% of each edge cut off": ([], f"crop=iw*0.9:ih*0.9,{_EVEN}"),
    "10% of each edge cut off": ([], f"crop=iw*0.8:ih*0.8,{_EVEN}"),
    "black bar over 60% x 10%": ([], f"drawbox=iw*0.2:ih*0.85:iw*0.6:ih*0.1:black:fill,{_EVEN}"),
    "white box over 20% x 10%": ([], f"drawbox=iw*0.75:ih*0.05:iw*0.2:ih*0.1:white:fill,{_EVEN}"),
    "black bars above and below, 8% each": ([], f"pad=iw:ih*1.2:0:oh*0.083,{_EVEN}"),
    "mirrored": ([], f"hflip,{_EVEN}"),
}


def main() -> int:
    """Print both tables; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "realladder"
    parser.add_argument("folder", nargs="?", type=Path, default=beside)
    parser.add_argument("--contents", type=int, default=84, help="that are changed (default all)")
    options = parser.parse_args()
    rows = read_manifest(options.folder / "manifest.csv").rows
    reader = make_reader()
    with tempfile.TemporaryDirectory(prefix="distill-leaks-") as name:
        folder = Path(name)
        start = time.process_time()
        found, _ = sign(dict.fromkeys((r.path for r in rows), ""), reader, _store(folder), 0)
        seconds = time.process_time() - start
        table = np.stack([found[row.path] for row in rows])
        each = 1000 * seconds / len(rows)
        print(f"{len(rows)} videos, {each:.0f} ms of one core each to decode and sign\n")
        _versions(rows, table)
        _changed(rows, table, found, folder, reader, options.contents)
    start = time.perf_counter()
    nearest(np.resize(table, (100_000, table.shape[1])), np.resize(table, (1000, table.shape[1])))
    print(f"\n100,000 x 1,000 videos compared in {time.perf_counter() - start:.1f} s")
    return 0


def _store(folder: Path) -> SignatureStore:
    return SignatureStore(folder / "signatures")


def _versions(rows: list[Row], table: np.ndarray) -> None:
    """Every ordered pair of different videos: kept apart or found, at each threshold."""
    group = np.array([row.group for row in rows])
    far = distances(table, table)
    same = group[:, None] == group
    np.fill_diagonal(same, False)
    other = group[:, None] != group
    names = np.unique(group)
    first = [int(np.flatnonzero(group == name)[0]) for name in names]
    between = far[np.ix_(first, first)][~np.eye(len(names), dtype=bool)]
    print(
        f"{same.sum()} pairs of versions, {other.sum()} of other contents ({len(names)} contents)"
    )
    print(f"versions: largest {far[same].max():.2f}, 99% below {np.quantile(far[same], 0.99):.2f}")
    print(
        f"others: smallest {far[other].min():.2f}, mean {far[other].mean():.2f};"
        f" one version per content: mean {between.mean():.2f}, deviation {between.std():.2f}\n"
    )
    print(
        "| threshold | versions found | videos with a version found | other pairs taken for one |"
    )
    print("|---|---|---|---|")
    for limit in (4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24):
        near = far <= limit
        any_ = (near & same).any(1).mean()
        mark = "**" if limit == THRESHOLD else ""
        recall, false = near[same].mean(), int(near[other].sum())
        print(f"| {mark}{limit}{mark} | {recall:.4f} | {any_:.4f} | {false} |")


def _changed(
    rows: list[Row], table: np.ndarray, found: Mapping[Path, np.ndarray], folder: Path,
    reader: VideoReader, contents: int,
) -> None:  # fmt: skip
    """The nearest distance of a changed video to the versions of its content, by change."""
    group = np.array([row.group for row in rows])
    names = sorted(set(group))[:: max(1, len(set(group)) // contents)][:contents]
    first = {name: rows[int(np.flatnonzero(group == name)[0])].path for name in names}
    print(f"\n{len(names)} contents changed, then encoded with x264 CRF 28\n")
    print("| change | found | median | 90% below | largest | nearest other content |")
    print("|---|---|---|---|---|---|")
    for at, (change, (before, filters)) in enumerate(_CHANGES.items()):
        paths = []
        for name in names:
            paths.append(folder / f"{at}_{name}.mp4")
            command = [
                imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *before, "-i",
                str(first[name]), "-vf", filters, "-an", "-c:v", "libx264", "-preset", "ultrafast",
                "-crf", "28", "-threads", "1", str(paths[-1]),
            ]  # fmt: skip
            subprocess.run(command, check=True)
        mine, _ = sign(dict.fromkeys(paths, ""), reader, _store(folder), 0)
        far = distances(np.stack([mine[path] for path in paths]), table)
        own = np.array(names)[:, None] == group
        near = np.where(own, far, np.inf).min(1)
        others = np.where(own, np.inf, far).min()
        print(
            f"| {change} | {(near <= THRESHOLD).mean():.3f} | {np.median(near):.1f} |"
            f" {np.quantile(near, 0.9):.1f} | {near.max():.1f} | {others:.1f} |", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
