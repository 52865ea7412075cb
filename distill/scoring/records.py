"""What the outputs hold of one video, and what an earlier run wrote of it."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from distill.config import folder
from distill.errors import ConfigError
from distill.scored import VideoScore

if TYPE_CHECKING:
    from distill.deploy.scorer import Scorer

FRAME_SCORES, FRAME_TIMES = "frame_scores", "frame_times"
COLUMNS = (
    "video score raw scale_low scale_high calibrated demo warning width height fps duration note"
    " model error"
).split()
_DECIMALS = 6  # a float32 network's scores are the same to 1e-5 in any batch, and no further
_BEGIN = b'{"video": '  # of every JSON line
Record = dict[str, Any]


def record(said: VideoScore, model: "Scorer", frames: bool) -> Record:
    """One video's row; docs/scoring.md has what each column means.

    Args:
        said: what the model says of it.
        model: which says it.
        frames: whether scores of frames belong to it.
    """
    info = said.info
    low, high = model.score_range or (None, None)
    row: Record = {
        "video": said.video,
        "score": _stable(said.score),
        "raw": _stable(said.raw),
        "scale_low": low,
        "scale_high": high,
        "calibrated": model.calibration is not None,
        "demo": model.demo,
        "warning": model.warning,
        "width": info.width if info else None,
        "height": info.height if info else None,
        "fps": info.fps if info else None,
        "duration": info.duration if info else None,
        "note": said.note,
        "model": model.fingerprint,
        "error": said.error,
    }
    if frames:
        row |= {FRAME_SCORES: list(map(_stable, said.frame_scores)), FRAME_TIMES: said.frame_times}
    return row


def _stable(score: float | None) -> float | None:
    return None if score is None else round(score, _DECIMALS)


def read_earlier(name: str, model: str, frames: bool) -> list[Record]:
    """What a file of JSON lines holds; a last line that a kill cut off is taken out of it.

    Args:
        name: of the file; there need be none.
        model: fingerprint that every line has to have.
        frames: whether the lines have to have scores of frames.

    Raises:
        ConfigError: a line is none of score.py's, or of another model or other options.
    """
    path = folder(name)
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    cut = text[len(whole) :]
    if cut[: len(_BEGIN)] != _BEGIN[: len(cut)]:
        raise ConfigError(
            f"{name}: does not end in a line of score.py; --resume needs a file of --jsonl"
        )
    found = []
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
            was, has_frames = row["model"], FRAME_SCORES in row
            if not row.keys() >= set(COLUMNS):
                raise ValueError("columns are missing")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{where}: no line of this score.py ({error}); --resume continues a file of"
                " --jsonl: give another one, or correct the line"
            ) from error
        if was != model:
            raise ConfigError(
                f"{where}: was scored by model {was}, and this is {model}; give the bundle that"
                " the file began with, or another file"
            )
        if has_frames != frames:
            switch = "with" if has_frames else "without"
            raise ConfigError(f"{where}: was written {switch} --frames; continue {switch} it")
        found.append(row)
    if cut:  # not before all lines have shown whose file it is
        sys.stderr.write(f"{name}: its last line was cut off; that video is scored again\n")
        os.truncate(path, len(whole))
    return found
