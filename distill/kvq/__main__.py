"""The KVQ challenge: its score from files, and what one sends to it.

python -m distill.kvq score prediction.csv --truth truth.csv --pairs rank-pair-val.xlsx
python -m distill.kvq score A.csv B.csv --truth truth.csv --pairs PAIRS        which is better
python -m distill.kvq submit scores.csv --out submission.zip        what score.py --csv wrote
python -m distill.kvq submit BUNDLE --root /data/KVQ --out submission.zip
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distill.config import folder
from distill.data.rows import Row
from distill.data.tables import read_records, write_table
from distill.errors import ConfigError, ManifestError
from distill.evaluation.names import short_names
from distill.flags import Parser
from distill.kvq.files import read_pairs, read_scores
from distill.kvq.intervals import score_files, told
from distill.kvq.scoring import notes
from distill.kvq.submission import expected_names, for_submission, off_scale, write_submission
from distill.leaving import plain_door
from distill.options import decoding_workers, time_limit_option
from distill.runs import plain


def run(words: Sequence[str]) -> int:
    """Score predictions or write a submission.

    Args:
        words: the command line, without the program's name.

    Returns:
        Exit code 0.

    Raises:
        DistillError: a file, a bundle or a video cannot be used.
    """
    options = _parser().parse_args(words)
    return _score(options) if options.command == "score" else _submit(options)


def _score(options: argparse.Namespace) -> int:
    paths = [folder(path) for path in options.prediction]
    names = short_names(paths, "predictions")
    predicted = {name: read_scores(path) for name, path in zip(names, paths, strict=True)}
    truth = read_scores(folder(options.truth))
    pairs = read_pairs([folder(path) for path in options.pairs])
    for file in predicted.values():
        for note in notes(file, truth):
            _say(f"note: {note}")
    rows, compared, unknown = score_files(predicted, truth.scores, pairs)
    if unknown:
        _say(f"note: no intervals: {unknown}")
    for row in rows:
        if row["score"] != row["score"]:
            _say(
                f"warning: no score of {row['name']}: the predictions or the MOS are constant, so"
                " SRCC is undefined"
            )
    if options.json:
        found: Any = rows[0] if len(rows) == 1 else {"rows": rows, "pairs": compared}
        print(json.dumps(plain(found), indent=2))
        return 0
    for line in told(rows, compared, len(truth.scores)):
        print(line)
    return 0


def _submit(options: argparse.Namespace) -> int:
    names = expected_names(options.split)
    if options.names:
        records = read_records(folder(options.names), (), ("filename",))
        listed = [cells["filename"].strip() for _, cells in records]
        if sorted(listed) != sorted(names):
            odd = sorted(set(listed) ^ set(names))
            raise ManifestError(
                f"{options.names}: {len(listed)} names, where KVQ's {options.split} split has"
                f" {len(names)}; they differ in {', '.join(odd[:5])}"
            )
        names = listed
    source, out = folder(options.source), folder(options.out)
    if out.suffix.lower() != ".zip":
        raise ConfigError(f"--out {options.out}: the challenge takes a .zip")
    if source.is_dir():
        scores, failed = _by_bundle(source, names, options)
    else:
        if options.root:
            raise ConfigError("--root is for a bundle that scores videos; a CSV has scores")
        scores, failed = _by_table(source)
    try:
        found, others = for_submission(scores, failed, names, options.split)
    except ManifestError:
        if source.is_dir() and scores:  # hours of scoring
            kept = out.with_suffix(".scores.csv")
            write_table(kept, ["filename", "score"], list(scores.items()))
            _say(f"the {len(scores)} scores that there are: {kept}")
        raise
    if others:
        _say(f"note: left out, {len(others)} videos that are not of the {options.split} split")
    if warning := off_scale(list(found.values())):
        _say(f"warning: {warning}")
    write_submission(out, found)
    print(f"{out}: prediction.csv with {len(found)} scores, {names[0]} to {names[-1]}")
    return 0


def _by_table(path: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Scores, and reasons of the rows without any, as score.py writes them."""
    known = ("filename", "video", "score", "error")
    failed = {
        (cells.get("filename") or cells.get("video") or "").strip(): cells["error"].strip()
        for _, cells in read_records(path, known, ("score",))
        if not cells["score"].strip() and cells.get("error", "").strip()
    }
    read = read_scores(path, skip=failed)
    if read.repeated:
        raise ManifestError(
            f"{path}: {len(read.repeated)} videos stand there more than once, the first is"
            f" {read.repeated[0]}: leave the score that you mean"
        )
    return read.scores, failed


def _by_bundle(
    bundle: Path, names: Sequence[str], options: argparse.Namespace
) -> tuple[dict[str, float], dict[str, str]]:
    """Scores of the challenge's videos, and reasons of those that have none."""
    if not options.root:
        raise ConfigError("a bundle scores videos: --root FOLDER, which has test/0001.mp4 ...")
    root = folder(options.root)
    rows = [Row(name, root / name) for name in names]
    absent = [row.video for row in rows if not row.path.is_file()]
    if absent:
        raise ManifestError(
            f"{root}: {len(absent)} of {len(rows)} videos are not there, the first is {absent[0]}"
        )
    from distill.deploy.scorer import load
    from distill.specification import uncalibrated

    model = load(
        bundle, device=options.device, reader=options.reader, time_limit=options.time_limit
    )
    if model.calibration is None:
        _say(uncalibrated(model.fingerprint))
    workers = decoding_workers(options.workers)
    results = model.score_rows(rows, batch_size=options.batch_size, num_workers=workers)
    scores, failed = {}, {}
    for scored in tqdm(results, "scoring", len(rows), unit="video", dynamic_ncols=True):
        if scored.error:
            failed[scored.row.video] = scored.error
        else:
            scores[scored.row.video] = model.calibrated(scored.raw)
    return scores, failed


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m distill.kvq",
        description=__doc__,
        epilog="Exit code: 0 done; 2 a file, a video or a score is missing or wrong.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    score = commands.add_parser("score", help="the official score of predictions")
    score.add_argument(
        "prediction", metavar="PRED", nargs="+",
        help="CSV with the columns filename, score; several are compared",
    )  # fmt: skip
    score.add_argument("--truth", required=True, metavar="T", help="CSV: filename, score (MOS)")
    score.add_argument(
        "--pairs", required=True, nargs="+", metavar="P",
        help="ranked pairs: an .xlsx with the sheets source and nonsource, or a folder with"
        " source.csv and nonsource.csv, or these two files",
    )  # fmt: skip
    score.add_argument("--json", action="store_true", help="print JSON")
    submit = commands.add_parser("submit", help="a zip as the challenge takes it")
    add = submit.add_argument
    add("source", metavar="SCORES_OR_BUNDLE", help="CSV of score.py, or a bundle or export")
    add("--out", required=True, metavar="ZIP", help="for example submission.zip")
    add("--split", default="test", choices=("test", "val"), help="of the names (default test)")
    add("--names", metavar="CSV", help="the challenge's test_data.csv, to check names and order")
    add("--root", metavar="DIR", help="of a bundle: folder with test/0001.mp4 ...")
    add("--reader", default="auto", help="auto, pyav, decord or torchcodec")
    add("--time-limit", **time_limit_option())
    add("--device", default="auto", help="auto, cpu, cuda ...")
    add("--batch-size", type=int, default=4, help="videos per forward pass (default 4)")
    add("--workers", type=int, help="decoding processes; default: one per core, at most 8")
    return parser


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    plain_door(run)
