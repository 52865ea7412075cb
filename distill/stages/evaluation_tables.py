"""The tables of an evaluation, and what every bundle says of their videos."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from distill.bundle import Bundle
from distill.config import EvaluateConfig
from distill.data.manifest import Manifest, Problem, Row
from distill.data.public_sets import public_sets
from distill.data.reader import VideoReader
from distill.errors import Interrupted, ManifestError
from distill.evaluation.kept import KeptScores
from distill.evaluation.names import short_names
from distill.inference import score_rows
from distill.options import DataConfig, decoding_workers
from distill.scored import Scored
from distill.specification import is_demo
from distill.stages.inputs import load_manifest, require_labels

log = logging.getLogger(__name__)
MIN_VIDEOS = 3  # of a table


@dataclass
class Table:
    """One table, and what every bundle says of the videos that all could score.

    Attributes:
        name: short and unique.
        data_name: of the data set, see ``DataConfig``.
        manifest: the whole table.
        rows: of the split.
        notes: what to know of the table before any number of it is believed.
        scored: name of a bundle -> results of the sound videos, in the table's order.
        scores: name of a bundle -> (N,) calibrated scores.
        problems: what was left out.
    """

    name: str
    data_name: str
    manifest: Manifest
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    scored: dict[str, list[Scored]] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Of the table."""
        return self.manifest.path

    @property
    def mos(self) -> list[float]:
        """(N,) of the sound videos."""
        return [scored.row.mos for scored in next(iter(self.scored.values()))]

    @property
    def groups(self) -> list[str]:
        """(N,) of the sound videos."""
        return [scored.row.group for scored in next(iter(self.scored.values()))]


def take_tables(config: EvaluateConfig) -> list[Table]:
    """The tables that ``manifests`` names, or the one of ``data``.

    Raises:
        ManifestError: one cannot be read, or has too few videos in the split.
        ConfigError: one is given twice.
    """
    chosen = [_data(config.data, text) for text in config.manifests] or [config.data]
    manifests = [load_manifest(data) for data in chosen]
    places = [
        manifest.path / data.name if data.adapter else manifest.path.with_suffix("")
        for data, manifest in zip(chosen, manifests, strict=True)
    ]
    names = short_names(places, "manifests")
    tables = []
    for name, data, manifest in zip(names, chosen, manifests, strict=True):
        require_labels(manifest)
        rows = manifest.split(config.split)
        if len(rows) < MIN_VIDEOS:
            raise ManifestError(
                f"{manifest.path}: {len(rows)} videos in split {config.split!r}, but it takes"
                f" {MIN_VIDEOS}; choose another with split=train|val|test, or take the whole table:"
                " data.as_split=test"
            )
        notes = _notes(data, manifest, config.split, len(rows))
        tables.append(Table(name, data.name, manifest, rows, notes, problems=manifest.problems))
    return tables


def _notes(data: DataConfig, manifest: Manifest, split: str, count: int) -> list[str]:
    """What nobody said of a table's splits and contents, and what that did; the former in the log.

    A split that was made up stays the default: it is the one that a model of the same table was
    trained by, and so the only honest test of that model.
    """
    notes = []
    if manifest.split_made_up:
        labelled = sum(row.split != "pool" for row in manifest.rows)
        kind = "published" if data.adapter else "column"
        made_up = (
            f"no {kind} split: {count} of {labelled} labelled videos are its made-up {split}"
            " split; data.as_split=test scores all"
        )
        log.warning("data: %s was split by the program: %s", manifest.path, made_up)
        notes.append(made_up)
    if manifest.labels == "vmaf" and not is_demo(manifest.path):
        notes.append("its labels are VMAF of processed copies, not people's opinions")
    if not manifest.contents_known:  # told in full where the table was read
        notes.append("no column group: contents are not known")
    return notes


def _data(common: DataConfig, text: str) -> DataConfig:
    """Options of a table, or of a public data set that is given as NAME:FOLDER."""
    name, colon, root = text.partition(":")
    node = public_sets().get(name) if colon else None
    if node is None:
        return replace(common, manifest=text)
    return replace(
        common, name=name, adapter=node["adapter"], options=node.get("options") or {}, root=root,
        manifest=None, columns={}, group_regex=None, labels=None,
    )  # fmt: skip


def score_table(
    table: Table,
    models: dict[str, Bundle],
    reader: VideoReader,
    config: EvaluateConfig,
    kept: dict[str, KeptScores],
) -> None:
    """Fill in what every bundle says of the videos that all of them can score.

    Args:
        table: its ``scored``, ``scores`` and ``problems`` are filled in.
        models: name -> bundle.
        reader: of the videos.
        config: of the command.
        kept: name -> where its scores of this table are kept as they come.

    Raises:
        ManifestError: too few videos can be decoded.
        Interrupted: a signal came; what was scored is kept.
    """
    found = {
        name: _score(table, name, bundle, reader, config, kept[name])
        for name, bundle in models.items()
    }
    sound = []
    for at, row in enumerate(table.rows):
        error = next((results[at].error for results in found.values() if results[at].error), "")
        if error:
            table.problems.append(Problem(str(table.path), row.line, row.video, error))
        else:
            sound.append(at)
    if left := len(table.rows) - len(sound):
        who = [name for name, results in found.items() if any(one.error for one in results)]
        table.notes.append(
            f"{left} of {len(table.rows)} videos are left out: no score by {', '.join(who)}"
        )
    if len(sound) < MIN_VIDEOS:
        raise ManifestError(
            f"{table.path}: only {len(sound)} of {len(table.rows)} videos have a score of every"
            f" bundle; the first that has none: {table.problems[0]}"
        )
    for name, bundle in models.items():
        table.scored[name] = [found[name][at] for at in sound]
        table.scores[name] = [bundle.calibrated(s.raw) for s in table.scored[name]]


def _score(
    table: Table, name: str, bundle: Bundle, reader: VideoReader, config: EvaluateConfig,
    kept: KeptScores,
) -> list[Scored]:  # fmt: skip
    def score(rows: Sequence[Row]) -> Iterator[Scored]:
        return score_rows(
            bundle.model, rows, reader, batch_size=config.batch_size, device=config.device,
            num_workers=decoding_workers(config.data.num_workers), test_views=bundle.test_views,
        )  # fmt: skip

    results: list[Scored] = []
    shown = tqdm(
        kept.complete(table.rows, score), f"scoring {table.name} ({name})", len(table.rows),
        unit="video", dynamic_ncols=True,
    )  # fmt: skip
    try:
        results.extend(shown)
    except KeyboardInterrupt as stop:
        raise Interrupted.by(
            stop, f"stopped; what was scored is kept in {kept.path.parent}; continue with the same"
            " command and resume=true",
        ) from stop  # fmt: skip
    return results
