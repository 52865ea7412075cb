"""Export a student: ONNX and torch.export graphs that take a video's views, checked on videos.

python export.py --bundle DIR --out DIR                 model.onnx, model.pt2, spec.json, README.md
python export.py --bundle DIR --out DIR --int8          and model_int8.onnx
python export.py --out DIR --clips FOLDER --int8 --manifest videos.csv
python score.py FOLDER --bundle EXPORT                  runs it, without torch
"""

import argparse
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import folder
from distill.data.manifest import Row, read_manifest
from distill.data.pool_sources import read_pool
from distill.errors import BundleError, ConfigError, ExportError
from distill.flags import Parser
from distill.options import time_limit_option
from distill.specification import find_bundle, is_export, read_spec

if TYPE_CHECKING:
    from distill.bundle import Bundle

_CLIPS = 8  # of the data set, where --clips names none


def run(words: Sequence[str]) -> int:
    """Export a student.

    Args:
        words: the command line, without the program's name.

    Returns:
        Exit code: 0.

    Raises:
        DistillError: no such bundle, no clip, or a graph that does not say what the network says.
    """
    options = _parser().parse_args(words)
    out = folder(options.out)
    _check_target(out)
    labelled = _labelled(options)
    from distill.deploy.graphs import check_installed

    check_installed()
    bundle = _bundle(options)
    rows, whose = _clips(options, bundle)

    from distill.data.readers import make_reader
    from distill.deploy.exports import read_export
    from distill.deploy.writing import summary, write_export, write_int8

    print(f"checking with {len(rows)} clips: {whose}", file=sys.stderr)
    reader = make_reader(options.reader, time_limit=options.time_limit)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        _, seen = write_export(bundle, Path(place) / "export", rows, reader)
        if out.is_dir():
            shutil.rmtree(out)
        os.rename(Path(place) / "export", out)
    export = read_export(out)
    if options.int8:
        try:
            write_int8(export, seen, labelled, reader, options.keep_slower)
        except ExportError:
            print(summary(export.spec))
            raise
    print(summary(export.spec))
    print(f"wrote {out}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python export.py",
        description=__doc__,
        epilog="Exit code: 0 done, 1 a graph was refused, 2 nothing done.",
    )
    add = parser.add_argument
    add("--bundle", metavar="DIR", help="bundle of a student; default: the newest")
    add("--out", required=True, metavar="DIR", help="folder to write; replaces an export")
    outputs = os.environ.get("DISTILL_OUTPUTS", "outputs")
    add("--outputs", default=outputs, metavar="DIR", help="folder to look for runs in")
    add("--clips", nargs="+", metavar="VIDEO_OR_FOLDER",
        help=f"videos to check and calibrate with; default: {_CLIPS} train contents of the bundle's"
        " data, or of the demo data if those are not on this machine")  # fmt: skip
    add("--int8", action="store_true", help="an int8 graph too; refused if it is slower")
    add("--keep-slower", action="store_true", help="keep an int8 graph even if it is slower")
    add("--manifest", metavar="TABLE",
        help="labelled videos; the val split shows what int8 costs in SRCC")  # fmt: skip
    add("--reader", default="auto", help="auto, pyav, decord or torchcodec")
    add("--time-limit", **time_limit_option())
    return parser


def _check_target(out: Path) -> None:
    """Replace nothing but an export.

    Raises:
        ConfigError: the folder holds something else, or cannot be made.
    """
    if out.exists() and not (out.is_dir() and (_is_export(out) or not any(out.iterdir()))):
        raise ConfigError(f"--out {out}: exists and is no export; give a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise ConfigError(
            f"--out {out}: cannot be written ({error.strerror}); give another folder"
        ) from error


def _is_export(path: Path) -> bool:
    try:
        return is_export(read_spec(path))
    except BundleError:
        return False


def _labelled(options: argparse.Namespace) -> list[Row]:
    """Labelled val rows of ``--manifest``, read before any work."""
    if options.manifest is None:
        return []
    if not options.int8:
        raise ConfigError("--manifest tells what int8 costs; give --int8 too")
    val = read_manifest(folder(options.manifest)).split("val")
    rows = [row for row in val if math.isfinite(row.mos)]
    if len(rows) < 3:
        raise ConfigError(
            f"--manifest {options.manifest}: has {len(rows)} labelled val videos; an SRCC needs 3"
        )
    return rows


def _bundle(options: argparse.Namespace) -> "Bundle":
    from distill.bundle import load_bundle

    path = (
        folder(options.bundle) if options.bundle else find_bundle(Path(options.outputs), "student")
    )
    if path is None:
        raise BundleError(
            f"no student bundle below {options.outputs}; train one with `python train_student.py"
            " +budget=120`, or name one: --bundle DIR"
        )
    if _is_export(path):
        raise BundleError(f"{path}: is an export already; give the bundle that it was made of")
    bundle = load_bundle(path)
    if bundle.role != "student":
        raise BundleError(
            f"{path}: is the bundle of a {bundle.role}; students are exported, a teacher teaches"
            " one: python pseudo_label.py, then python train_student.py +budget=120"
        )
    print(f"student: {path}", file=sys.stderr)
    return bundle


def _clips(options: argparse.Namespace, bundle: "Bundle") -> tuple[list[Row], str]:
    """Videos to check with, and whose they are."""
    if options.clips:
        rows: dict[str, Row] = {}
        for name in options.clips:
            for row in read_pool(folder(name)).rows:
                rows.setdefault(str(row.path), row)
        return list(rows.values()), ", ".join(options.clips)
    data: Any = bundle.spec["provenance"].get("data")
    if data and Path(data).is_file():
        table = Path(data)
    else:
        from distill.ladder.demo import make_demo

        table = make_demo()
    manifest = read_manifest(table)
    rows = {row.group: row for row in reversed(manifest.split("train") or manifest.rows)}
    return list(rows.values())[:_CLIPS], str(table)
