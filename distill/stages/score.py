"""Score any videos with a bundle: a table on the terminal, CSV or JSON on request.

python score.py FOLDER                                  newest student; with sub-folders
python score.py a.mp4 b.mp4 --bundle DIR
python score.py FOLDER --csv scores.csv                 - is standard output
python score.py FOLDER --json scores.json --frames     with the scores of frames
python score.py FOLDER --bundle EXPORT                  a folder made by export.py, without torch
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from distill.config import folder, place
from distill.data.manifest import VIDEO_SUFFIXES, Row
from distill.data.pool_sources import read_pool
from distill.errors import BundleError, ConfigError, Interrupted
from distill.options import decoding_workers, time_limit_option
from distill.scored import Scored
from distill.specification import find_bundle, uncalibrated

if TYPE_CHECKING:  # torch takes seconds, which --help and a mistyped option need not wait for
    from distill.deploy.scorer import Scorer

_COLUMNS = "video score raw width height fps duration model error".split()
_FRAMES = "frame_scores"  # a list in JSON, numbers with spaces between them in CSV
FAILED = 1  # exit code where some videos could not be scored


def run(words: Sequence[str]) -> int:
    """Score videos.

    Args:
        words: the command line, without the program's name.

    Returns:
        Exit code: 0, or 1 where some videos could not be scored.

    Raises:
        DistillError: no bundle, no video.
    """
    options = _parser().parse_args(words)
    if (options.workers is not None and options.workers < 0) or options.batch_size < 1:
        raise ConfigError("--workers must be at least 0 and --batch-size at least 1")
    for name in (options.csv, options.json):
        _check_target(name, options.videos)
    rows, left_out = _rows(options.videos)

    model = _model(options)
    workers = min(len(rows), decoding_workers(options.workers))
    results = model.score_rows(rows, batch_size=options.batch_size, num_workers=workers)
    records: list[dict[str, Any]] = []
    stopped: Interrupted | None = None
    try:
        for scored in tqdm(results, "scoring", len(rows), unit="video", dynamic_ncols=True):
            records.append(_record(scored, model, options.frames))
    except KeyboardInterrupt as stop:  # what is scored is kept
        stopped = Interrupted.by(stop, f"stopped; {len(records)} of {len(rows)} videos scored")
    for video, reason in left_out.items():
        scored = Scored(Row(video, Path(video)), error=reason)
        records.append(_record(scored, model, options.frames))
    if options.csv is None and options.json is None:
        _print_table(records, model)
    if options.csv is not None:
        _write(options.csv, lambda file: _csv(file, records, options.frames))
    if options.json is not None:
        _write(options.json, lambda file: json.dump(records, file, indent=2, allow_nan=False))
    failed = [record for record in records if record["error"]]
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(records)} videos could not be scored:\n")
        for record in failed:
            sys.stderr.write(f"  {record['video']}: {record['error']}\n")
    if stopped is not None:
        raise stopped
    return FAILED if failed else 0


def _check_target(name: str | None, videos: Sequence[str]) -> None:
    """Before hours of scoring, not after.

    Raises:
        ConfigError: the file cannot be written, or is one that is read.
    """
    if name in (None, "-"):
        return
    if os.path.realpath(folder(str(name))) in {os.path.realpath(folder(v)) for v in videos}:
        raise ConfigError(f"{name}: is a file to read; write the scores to another one")
    path = folder(str(name))
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{name}: cannot be written; give a file in a folder that exists")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python score.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit code: 0 all scored, 1 some failed, 2 nothing done, 128 + n signal n.",
    )
    add = parser.add_argument
    add("videos", nargs="+", metavar="VIDEO_OR_FOLDER", help="files, folders, lists (.txt, .csv)")
    add(
        "--bundle",
        metavar="DIR",
        help="bundle or export; default: newest student, else teacher",
    )
    add("--runtime", default="auto", help="auto, torch, onnx or int8; the last two run exports")
    add("--frames", action="store_true", help="scores of frames too, in CSV and JSON")
    outputs = os.environ.get("DISTILL_OUTPUTS", "outputs")
    add("--outputs", default=outputs, metavar="DIR", help="where runs are looked for")
    add("--csv", metavar="FILE", help="write CSV; - is standard output")
    add("--json", metavar="FILE", help="write JSON; - is standard output")
    add("--reader", default="auto", help="auto, pyav, decord or torchcodec")
    add("--time-limit", **time_limit_option())
    add("--device", default="auto", help="auto, cpu, cuda ...")
    add("--batch-size", type=int, default=4, help="videos per forward pass (default 4)")
    add("--workers", type=int, help="decoding processes; default: one per core, at most 8")
    return parser


def _model(options: argparse.Namespace) -> "Scorer":
    from distill.deploy.scorer import load

    model = load(
        _bundle(options.bundle, options.outputs),
        runtime=options.runtime,
        device=options.device,
        reader=options.reader,
        time_limit=options.time_limit,
    )
    if model.calibration is None:
        sys.stderr.write(f"{uncalibrated(model.fingerprint)}\n")
    return model


def _bundle(given: str | None, outputs: str) -> Path:
    if given:
        return folder(given)
    for role in ("student", "teacher"):
        found = find_bundle(Path(outputs), role)
        if found:
            sys.stderr.write(f"{role}: {found} (the newest; another: --bundle DIR)\n")
            return found
    raise BundleError(
        f"no bundle below {outputs}; train one with `python train_student.py +budget=120`,"
        " or name one: --bundle DIR"
    )


def _rows(videos: Sequence[str]) -> tuple[list[Row], dict[str, str]]:
    """Every video once, and name and reason of those that cannot be scored.

    A video is named as it was typed, one of a list as the list names it, one of a folder with the
    folder in front.
    """
    rows: dict[str, Row] = {}
    left_out: dict[str, str] = {}
    for name in videos:
        path = place(name)
        prefix = f"{name.rstrip('/')}/" if path.is_dir() else ""
        typed = not prefix and path.suffix.lower() in VIDEO_SUFFIXES
        pool = read_pool(path, remote=True)
        for row in pool.rows:
            video = name if typed else prefix + row.video
            rows.setdefault(str(row.path), Row(video, row.path))
        for problem in pool.problems:
            if problem.repeated:
                sys.stderr.write(f"{problem}\n")
            else:
                video = problem.video or f"{name}, line {problem.line}"
                left_out[prefix + video] = problem.reason
    return list(rows.values()), left_out


def _record(scored: Scored, model: "Scorer", frames: bool) -> dict[str, Any]:
    info = scored.info
    sound = not scored.error
    record: dict[str, Any] = {
        "video": scored.row.video,
        "score": model.calibrated(scored.raw) if sound else None,
        "raw": scored.raw if sound else None,
        "width": info.width if info else None,
        "height": info.height if info else None,
        "fps": info.fps if info else None,
        "duration": info.duration if info else None,
        "model": model.fingerprint,
        "error": scored.error,
    }
    if frames:
        record[_FRAMES] = [model.calibrated(raw) for raw in scored.frame_scores]
    return record


def _csv(file: Any, records: list[dict[str, Any]], frames: bool) -> None:
    writer = csv.DictWriter(file, [*_COLUMNS, *([_FRAMES] if frames else [])])
    writer.writeheader()
    for record in records:
        line = {_FRAMES: " ".join(map(str, record[_FRAMES]))} if frames else {}
        writer.writerow(record | line)


def _write(name: str, write: Any) -> None:
    if name == "-":
        write(sys.stdout)
        sys.stdout.write("\n")
        return
    # A folder's own name may hold bytes that are no UTF-8.
    with folder(name).open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        write(file)
    sys.stderr.write(f"wrote {name}\n")


def _print_table(records: list[dict[str, Any]], model: "Scorer") -> None:
    data = model.spec["provenance"].get("data") or ""  # a teacher that saw no labels has none
    width = max([5, *(len(r["video"]) for r in records)])
    print(f"{'video':{width}}  score  size        fps    seconds")
    for r in records:
        if r["error"]:
            print(f"{r['video']:{width}}  failed: {r['error']}")
            continue
        size = f"{r['width']}x{r['height']}"
        print(
            f"{r['video']:{width}}  {r['score']:5.2f}  {size:10}  {r['fps']:5.1f}"
            f"  {r['duration']:7.1f}"
        )
    if Path(data).parent.name.startswith("demo"):
        print("This model learned from the demo data only: its scores are no MOS.")
