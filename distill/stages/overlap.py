"""Which videos of a table a model has learned from, as far as its run says."""

import csv
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from distill.bundle import Bundle
from distill.data.identity import content_hash
from distill.data.reader import VideoReader
from distill.data.rows import Row
from distill.errors import BundleError, DistillError
from distill.evaluation.given_scores import ROLE
from distill.labels import META
from distill.options import DataConfig
from distill.specification import teacher_of
from distill.stages.alike import find_alike
from distill.stages.inputs import read_data
from distill.stages.label_report import TABLE as PSEUDO_LABELS


@dataclass(frozen=True)
class Learned:
    """What a model was made of.

    Attributes:
        videos: path of a file -> train (MOS and pseudo-labels), val (which chose and calibrated) or
            before (an earlier model learned from it: the one it began with, or its teacher).
        unknown: why that is not all; empty where it is.
    """

    videos: Mapping[Path, str]
    unknown: str = ""


def learned_from(bundle: Bundle) -> Learned:
    """Read the run that a bundle lies in, and the runs of the models that it was made from."""
    if bundle.role == ROLE:
        return Learned({})  # the evaluation's note on such scores says what is not known
    return _with_earlier(bundle.folder, bundle.folder.parent, bundle.spec["provenance"])


def _with_earlier(bundle: Path, run: Path, provenance: Mapping[str, Any]) -> Learned:
    own = _of_run(bundle, run, provenance)
    videos, unknown = dict(own.videos), [own.unknown]
    for earlier in (_began_with(provenance), _taught_by(run)):
        unknown.append(earlier.unknown)
        for path, split in earlier.videos.items():
            if split != "val":
                videos.setdefault(path, "before")
    return Learned(videos, next(filter(None, unknown), ""))


def _began_with(provenance: Mapping[str, Any]) -> Learned:
    """What the bundle of ``init`` was made of."""
    if not (init := provenance.get("init")):
        return Learned({})
    run = Path(init["provenance"]["run"])
    return _with_earlier(run / "bundle", run, init["provenance"])


def _taught_by(run: Path) -> Learned:
    """What the teacher was made of whose labels a run learned from; scores of a CSV have none."""
    if not (run / "inputs.json").is_file():
        return Learned({})
    try:
        inputs = json.loads((run / "inputs.json").read_text(encoding="utf-8"))
        store = Path(inputs.get("labels", "none"))
        if store.name == "none" or store.is_file():
            return Learned({})
        teacher, spec = teacher_of(json.loads((store / META).read_text(encoding="utf-8")))
    except (BundleError, OSError, AttributeError, TypeError, ValueError) as error:
        return Learned({}, f"{run}: what its teacher learned from cannot be read any more: {error}")
    return _with_earlier(teacher, teacher.parent, spec["provenance"])


def _of_run(bundle: Path, run: Path, provenance: Mapping[str, Any]) -> Learned:
    """The videos of a run alone."""
    if not (run / "config.yaml").is_file():
        return Learned({}, f"{bundle} lies in no run folder that says what it learned from")
    videos: dict[Path, str] = {}
    try:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        known = {field.name for field in fields(DataConfig)}
        data = DataConfig(**{k: v for k, v in config["data"].items() if k in known})
        if data.manifest:  # as the user typed it, perhaps from another folder
            data.manifest = provenance.get("data") or data.manifest
        also = [DataConfig(manifest=path) for path in data.also]
        for table in [data, *also]:
            for row in read_data(table).rows:
                if row.split in ("train", "val") and (row.split == "train" or table is data):
                    videos[row.path] = row.split
        if (run / PSEUDO_LABELS).is_file():
            with (run / PSEUDO_LABELS).open(newline="", encoding="utf-8") as file:
                kept = [row["path"] for row in csv.DictReader(file) if float(row["weight"]) > 0]
            videos |= dict.fromkeys(map(Path, kept), "train")
    except (
        DistillError,
        OSError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        yaml.YAMLError,
    ) as error:
        return Learned(videos, f"{run}: what it learned from cannot be read any more: {error}")
    gone = [path for path in videos if not path.is_file()]
    if gone:
        return Learned(
            videos,
            f"{len(gone)} of {len(videos)} videos that {bundle} learned from are no longer"
            f" there, the first is {gone[0]}: copies of them cannot be found",
        )
    return Learned(videos)


def find_overlap(
    rows: Sequence[Row], learned: Learned, check: str, reader: VideoReader, workers: int
) -> dict[int, str]:
    """Videos of a table that a model knows.

    Args:
        rows: of the table.
        learned: see there.
        check: hash (same path, or same bytes), or perceptual (those, and the same looks).
        reader: of the videos; looks at 8 frames of each, once.
        workers: decoding processes.

    Returns:
        Position in ``rows`` -> ``train``, ``val`` or ``before``.
    """
    videos = learned.videos
    if not videos:
        return {}
    found = {at: videos[row.path] for at, row in enumerate(rows) if row.path in videos}
    sizes: dict[int, list[Path]] = {}
    for path in videos:
        if os.path.isfile(path):
            sizes.setdefault(path.stat().st_size, []).append(path)
    for at, row in enumerate(rows):
        alike = sizes.get(row.path.stat().st_size, []) if at not in found else []
        if alike:
            content = content_hash(row.path)
            same = next((path for path in alike if content_hash(path) == content), None)
            if same is not None:
                found[at] = videos[same]
    if check == "perceptual":
        theirs = [path for path in videos if os.path.isfile(path)]
        asked = [at for at in range(len(rows)) if at not in found]
        versions = find_alike([rows[at].path for at in asked], theirs, reader, workers)
        found |= {asked[at]: videos[theirs[like]] for at, (like, _) in versions.items()}
    return found


def told(
    name: str, table_name: str, found: Mapping[int, str], total: int, unknown: str = ""
) -> str:
    """A line for the table's row; empty where nothing overlaps and all is known.

    Args:
        name: of the model.
        table_name: of the table.
        found: see ``find_overlap``.
        total: videos of the table.
        unknown: see ``Learned``.
    """
    did = {
        "train": "learned from",
        "val": "was chosen and calibrated on",
        "before": "comes from a model that learned from",
    }
    counts = Counter(found.values())
    parts = [f"{did[kind]} {counts[kind]} of these {total} videos" for kind in did if counts[kind]]
    if parts:
        return f"{name} {' and '.join(parts)}: {table_name} does not test it"
    return f"it is not known whether {name} has learned from {table_name}" if unknown else ""
