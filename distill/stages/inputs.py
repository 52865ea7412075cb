"""What the commands take in: the labelled table, the pool, and what earlier commands left."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.bundle import Bundle, load_bundle
from distill.config import folder, split_target
from distill.data.adapters import read_published
from distill.data.dataset import Example
from distill.data.identity import seed_of
from distill.data.manifest import Manifest, Problem, Row, read_manifest
from distill.data.misnamed import no_mos
from distill.errors import BundleError, ConfigError, LabelStoreError, ManifestError
from distill.labels import LabelStore, find_store
from distill.labels.scores_csv import ScoresCsv
from distill.ladder.demo import make_demo
from distill.model import QualityModel, network_class
from distill.options import DataConfig
from distill.specification import find_bundle, uncalibrated

log = logging.getLogger(__name__)
MIN_TRAIN, MIN_VAL = 4, 3  # labelled videos; fewer have no correlation to speak of


def load_manifest(data: DataConfig) -> Manifest:
    """The videos of ``data``, their problems told; the embedded data set is made at first use.

    Raises: see ``read_data``.
    """
    if data.name == "demo" and data.manifest is None and data.adapter is None:
        log.info(
            "data: the embedded demo set; your own: data=manifest data.manifest=TABLE.csv"
            " (columns video, mos, split, group)"
        )
    manifest = read_data(data)
    tell_problems(manifest.problems, len(manifest.rows))
    if not manifest.contents_known:
        log.warning(
            "data: %s has no column group: every video counts as a content of its own. If"
            " several show the same content, they may be split between train and test, and the"
            " intervals are too narrow; name the contents in that column or with data.group_regex",
            manifest.path,
        )
    counts = {name: len(manifest.split(name)) for name in ("train", "val", "test", "pool")}
    log.info("data: %s: %s", manifest.path, ", ".join(f"{n} {k}" for k, n in counts.items()))
    return manifest


def read_data(data: DataConfig) -> Manifest:
    """The videos of ``data``, without a word.

    Raises:
        ManifestError: see ``read_manifest`` and ``read_published``; ``data.labelled_groups`` is
            too large; or labels are asked for that no column has.
        ConfigError: ``data=manifest`` without a table, a public set without its folder, or an
            option that would change nothing.
    """
    root = folder(data.root) if data.root else None
    columns = {name: str(value) for name, value in data.columns.items() if value is not None}
    if not data.manifest and (columns or data.group_regex):
        raise ConfigError(f"data.columns and data.group_regex do not apply to data={data.name}")
    if not data.adapter and (data.labels or data.options):
        raise ConfigError(
            f"data.labels and data.options are for public data sets, not for data={data.name}"
        )
    if data.manifest is not None:
        manifest = read_manifest(folder(data.manifest), root, columns, data.group_regex)
    elif data.adapter is not None:
        if root is None:
            raise ConfigError(f"data={data.name} needs the folder of its videos: data.root=FOLDER")
        labels = folder(data.labels) if data.labels else None
        manifest = read_published(data.adapter, root, labels, data.options)
    elif data.name == "demo":
        manifest = read_manifest(make_demo())
    else:
        raise ConfigError("data=manifest needs the table: data.manifest=TABLE.csv")
    if data.as_split is not None or data.labelled_groups is not None:
        require_labels(manifest)
    if data.as_split is not None:
        manifest = manifest.as_split(data.as_split)
    if data.labelled_groups is not None:
        manifest = manifest.hide_labels(data.labelled_groups)
    return manifest


def tell_problems(problems: list[Problem], used: int) -> None:
    """Name the rows that are left out."""
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:10])
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        log.warning("%d rows left out, %d used:%s%s", len(problems), used, shown, more)


def network(node: Mapping[str, Any], option: str) -> tuple[type[QualityModel], dict[str, Any]]:
    """Class and arguments of the network that an option names.

    Raises:
        ConfigError: no such class or argument, or a class whose bundle could not be loaded.
    """
    cls, kwargs = split_target(node, option)
    try:
        network_class(node)
    except ConfigError as error:
        raise ConfigError(
            f"{option}._target_={node['_target_']}: must be a QualityModel in a file of teachers/"
            " or students/, or its bundle could not be loaded"
        ) from error
    return cls, kwargs


def require_labels(manifest: Manifest) -> None:
    """Refuse a table none of whose videos has a label because no column is named ``mos``.

    Raises:
        ManifestError: it is such a table.
    """
    unlabelled = all(row.split == "pool" for row in manifest.rows)
    if unlabelled and (why := no_mos(manifest)):
        raise ManifestError(why)


def training_rows(manifest: Manifest, val_share: float) -> tuple[list[Row], list[Row]]:
    """Labelled training and validation rows; without a val split, whole train contents are taken.

    Raises:
        ManifestError: too few labelled videos to train and validate.
    """
    require_labels(manifest)
    train, val = manifest.split("train"), manifest.split("val")
    taken: set[str] = set()
    if not val:
        groups = sorted({row.group for row in train}, key=seed_of)
        taken = set(groups[: max(1, math.ceil(val_share * len(groups)))])
        val = [row for row in train if row.group in taken]
        train = [row for row in train if row.group not in taken]
    if len(train) < MIN_TRAIN or len(val) < MIN_VAL:
        raise ManifestError(_too_few(manifest, len(train), len(val)))
    if taken:
        log.warning("no val split: %d train contents are used for it (data.val_share)", len(taken))
    return train, val


def _too_few(manifest: Manifest, train: int, val: int) -> str:
    contents = len({row.group for row in manifest.rows if row.split != "pool"})
    told = (
        f"{manifest.path}: {train} labelled train and {val} val videos; training needs at least"
        f" {MIN_TRAIN} and {MIN_VAL}. The labelled videos, including those of test, show"
        f" {contents} contents, and a content is never cut: all its videos are in one split. Add"
        " labelled videos of other contents"
    )
    if contents < 2:
        return told
    if "split" in manifest.columns:
        return f"{told}, or move whole contents between the splits in the column `split`"
    return f"{told}, or say in a column `split` which contents are train and which are val"


def score_scale(examples: Sequence[Example]) -> dict[str, float]:
    """Mean and standard deviation of the targets: where a network's scores start."""
    targets = [example.target for example in examples]
    mean = sum(targets) / len(targets)
    std = (sum((t - mean) ** 2 for t in targets) / len(targets)) ** 0.5
    return {"score_mean": round(mean, 6), "score_std": round(max(std, 1e-3), 6)}


def label_range(manifest: Manifest | None) -> tuple[float, float] | None:
    """Lowest and highest MOS of training and validation; None without labels."""
    rows = [*manifest.split("train"), *manifest.split("val")] if manifest else []
    labels = [row.mos for row in rows]
    return (min(labels), max(labels)) if labels else None


def digest(examples: Sequence[Example], val: Sequence[Row]) -> str:
    """A hash of what a run learns from and is chosen on: a resumed run must have the same."""
    learned = [f"{e.row.path}|{e.target!r}|{e.weight!r}|{e.error!r}|{e.dataset}" for e in examples]
    chosen = [f"{row.path}|{row.mos!r}" for row in val]
    return f"{seed_of(*learned, 'val', *chosen):016x}"


def take_bundle(given: str | None, outputs: Path, role: str, option: str) -> Bundle:
    """The bundle that an option names, or the newest of a role.

    Raises:
        BundleError: none there, or it cannot be read.
    """
    path = folder(given) if given else find_bundle(outputs, role)
    if path is None:
        raise BundleError(
            f"no {role} bundle below {outputs}; run `python train_{role}.py` first,"
            f" or name one: {option}=FOLDER"
        )
    bundle = load_bundle(path)
    if role and bundle.role != role:
        raise BundleError(f"{option}={path}: is the bundle of a {bundle.role}, not of a {role}")
    how = "" if given else f" (the newest; another: {option}=FOLDER)"
    log.info("%s: %s%s", bundle.role, path, how)
    if bundle.calibration is None:
        log.warning(uncalibrated(bundle.fingerprint))
    return bundle


def take_labels(given: str | None, outputs: Path, root: str | None = None) -> LabelStore | None:
    """The label store that an option names, the newest, or None for ``labels=none``.

    Args:
        given: a folder, a ``filename,score`` CSV, ``none``, or None for the newest store.
        outputs: folder of runs.
        root: folder that the names of a CSV start from; None is its own.

    Raises:
        LabelStoreError: none there, or it cannot be read.
        ConfigError: a root without a CSV.
    """
    if given and given.lower().endswith(".csv") and not folder(given).is_dir():
        log.info("pseudo-labels: %s; their teacher and licence are unknown", given)
        return ScoresCsv(folder(given), folder(root) if root else None)
    if root:
        raise ConfigError(f"labels_root={root} applies to a CSV, and labels={given} is none")
    if given == "none":
        log.info("pseudo-labels: none (labels=none)")
        return None
    path = folder(given) if given else find_store(outputs)
    if path is None:
        raise LabelStoreError(
            f"no pseudo-labels below {outputs}; run `python pseudo_label.py` first, name a store"
            " with labels=FOLDER, or go without: labels=none"
        )
    store = LabelStore(path)
    how = "" if given else " (the newest; another: labels=FOLDER, without: labels=none)"
    log.info("pseudo-labels: %s%s", path, how)
    return store


def without_weights(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments that build the same network and load no pretrained weights."""
    return {**_nested_without_weights(kwargs), "weights": "none"}


def _nested_without_weights(kwargs: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in kwargs.items():
        if isinstance(value, dict):
            value = _nested_without_weights(value)
        elif key == "weights":
            value = "none"
        elif key == "table" and isinstance(value, str):  # a bundle is read from other folders
            value = str(folder(value))
        changed[key] = value
    return changed
