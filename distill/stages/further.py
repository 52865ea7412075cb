"""What a training takes besides its own table: further data sets, and a bundle to start from."""

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.bundle import load_bundle
from distill.config import TrainStudentConfig, TrainTeacherConfig, folder
from distill.data.batches import batch_plan
from distill.data.dataset import Example
from distill.data.identity import content_hash
from distill.data.manifest import Manifest, Problem, Row, read_manifest
from distill.data.misnamed import no_mos
from distill.data.reader import VideoReader
from distill.data_sets import on_scale
from distill.errors import BundleError, ManifestError
from distill.label_noise import weigh_by_noise
from distill.model import QualityModel
from distill.options import TrainingConfig, decoding_workers
from distill.stages.alike import find_alike
from distill.stages.inputs import score_scale, tell_problems, without_weights
from distill.weights import WeightsInfo

log = logging.getLogger(__name__)
_FEW = 4  # videos of a set in a batch: fewer have no correlation to speak of


def further_examples(
    config: TrainTeacherConfig | TrainStudentConfig,
    main: Sequence[Example],
    held_out: Sequence[Row],
    manifest: Manifest,
    reader: VideoReader,
) -> list[Example]:
    """Labelled train rows of the tables of ``data.also``, on the scale of the main labels.

    Args:
        config: of the training.
        main: examples of the main table.
        held_out: its validation and test videos; they are kept out, by path and by content, and
            with ``leak_check=perceptual`` every version of them.
        manifest: of the main table; gets the problems of the others.
        reader: of the videos. A dry run decodes none.

    Raises:
        ManifestError: a table cannot be used, or nothing in it can be learned from.
    """
    sets: list[list[Example]] = []
    seen = {os.path.realpath(manifest.path)}
    for number, name in enumerate(config.data.also, 1):
        if (real := os.path.realpath(folder(name))) in seen:
            raise ManifestError(f"data.also: {name} is named twice, or is the main table")
        seen.add(real)
        table = read_manifest(folder(name))
        rows, problems = without(table.split("train"), held_out, table.path)
        if config.leak_check == "perceptual":
            rows, versions = _without_versions(rows, held_out, table.path, config, reader)
            problems += versions
        problems = [*table.problems, *problems]
        tell_problems(problems, len(rows))
        manifest.problems += problems
        examples = [Example(row, target=row.mos) for row in rows]
        if not examples and (why := no_mos(table, option=False)):
            raise ManifestError(f"data.also: {why}")
        if len({example.target for example in examples}) < 2:
            raise ManifestError(
                f"data.also: {table.path}: {len(rows)} labelled train videos, all with the same"
                " mos or none; give a table that something can be learned from"
            )
        examples = weigh_by_noise(examples, config.training.label_noise, table.path)
        own, here = score_scale(examples), score_scale(main)
        sets.append(
            on_scale(examples, (own["score_mean"], own["score_std"]),
                     (here["score_mean"], here["score_std"]), number)
        )  # fmt: skip
    return [example for examples in sets for example in examples]


def without(
    train: Sequence[Row], held_out: Sequence[Row], table: Path | str
) -> tuple[list[Row], list[Problem]]:
    """Rows that are no held-out video, and the problems of the others.

    Not by group: names of contents mean nothing beyond their own table.

    Args:
        train: rows of another table.
        held_out: what must not be learned from.
        table: of ``train``, for messages.
    """
    problems: list[Problem] = []
    # Files of other sizes have other contents: only the others are read.
    sizes = {_size(row) for row in train} & {_size(row) for row in held_out} - {-1}
    contents = {_content(row) for row in held_out if _size(row) in sizes} - {""}
    paths = {os.path.realpath(row.path) for row in held_out}
    kept = []
    for row in train:
        same = _size(row) in sizes and _content(row) in contents
        if same or os.path.realpath(row.path) in paths:
            reason = "it is in val or test of the main table; left out"
            problems.append(Problem(str(table), row.line, row.video, reason))
        else:
            kept.append(row)
    return kept, problems


def _without_versions(
    train: Sequence[Row], held_out: Sequence[Row], table: Path,
    config: TrainTeacherConfig | TrainStudentConfig, reader: VideoReader,
) -> tuple[list[Row], list[Problem]]:  # fmt: skip
    """Rows whose content does not look held out, and the problems of the others.

    Of a ladder, every rung of the content goes with the one that was found.
    """
    if config.dry_run:
        log.info("dry run: the videos of %s are not compared by their looks", table)
        return list(train), []
    ours, theirs = [row.path for row in train], [row.path for row in held_out]
    alike = find_alike(ours, theirs, reader, decoding_workers(config.data.num_workers))
    found: dict[str, str] = {}
    for at, (like, bits) in alike.items():
        held = held_out[like]
        found[train[at].group] = f"looks like {held.video} of the main table's {held.split}"
        found[train[at].group] += f" ({bits:.1f} of 64 bits apart); left out with its versions"
    problems = [
        Problem(str(table), row.line, row.video, f"its content {row.group!r} {found[row.group]}")
        for row in train
        if row.group in found
    ]
    return [row for row in train if row.group not in found], problems


def _size(row: Row) -> int:
    try:
        return row.path.stat().st_size
    except OSError:
        return -1


def _content(row: Row) -> str:
    try:
        return content_hash(row.path)
    except OSError:  # who decodes it will say why
        return ""


def tell_shares(
    examples: Sequence[Example], training: TrainingConfig, tables: Sequence[Path | str]
) -> None:
    """How many videos of each set a batch has: terms compare within a set only.

    Args:
        examples: all that a training, or a stage of it, learns from. Pseudo-labels lie on the
            scale of the main table, and count as its.
        training: how batches are made of them.
        tables: the main one, and those of ``data.also``, by ``Example.dataset``.
    """
    if not any(example.dataset for example in examples):
        return
    plan = batch_plan([e.pseudo for e in examples], training.batch_size, training.pseudo_share)
    each: dict[int, float] = defaultdict(float)
    for stream in plan:
        for at in stream.rows:
            each[examples[at].dataset] += stream.count / len(stream.rows)
    for number, count in sorted(each.items()):
        pseudo = sum(e.pseudo for e in examples) if number == 0 else 0
        name = f"{tables[number]}{' and pseudo-labels' if pseudo else ''}"
        videos = sum(e.dataset == number for e in examples)
        log.info("%s: %d videos, %.1f of a batch of %d", name, videos, count, training.batch_size)
        if count < _FEW:
            log.warning(
                "%s: %.1f videos per batch are too few to be compared with each other; raise"
                " training.batch_size, or train on one set after the other with init=BUNDLE",
                name, count,
            )  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What a bundle that a training started from hands on.

    Attributes:
        fingerprint: of the bundle; ``none`` where there is none.
        licenses: of what it learned from.
        provenance: for the new bundle's; empty where there is none.
    """

    fingerprint: str = "none"
    licenses: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)


def build(
    target: type[QualityModel], kwargs: dict[str, Any], init: str | None
) -> tuple[QualityModel, Start]:
    """The network of a training, with the weights of a bundle where ``init`` names one.

    Args:
        target, kwargs: class and arguments. With a bundle no pretrained weights are looked for.
        init: the bundle's folder; None takes the weights that the arguments say.

    Returns:
        The network, and what the new bundle must tell of the old one.

    Raises:
        BundleError: no such bundle, or one of another architecture.
    """
    if init is None:
        return target(**kwargs), Start()
    bundle = load_bundle(folder(init))
    spec = bundle.spec
    here = {"_target_": f"{target.__module__}.{target.__qualname__}", **without_weights(kwargs)}
    differ = _differences(spec["architecture"], here)
    if "_target_" in differ:
        raise BundleError(f"init={init}: another architecture: {differ['_target_']}")
    model = target(**without_weights(kwargs))
    mine, theirs = _shapes(model), _shapes(bundle.model)
    odd = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
    if odd:
        options = f"; these options differ: {'; '.join(differ.values())}" if differ else ""
        raise BundleError(
            f"init={init}: another architecture: {len(odd)} tensors differ, the first is"
            f" {odd[0]} ({theirs.get(odd[0], 'missing')} there, {mine.get(odd[0], 'missing')}"
            f" here){options}"
        )
    if differ:
        log.warning("init=%s: its weights fit, but it was made with %s", init,
                    "; ".join(differ.values()))  # fmt: skip
    model.load_state_dict(bundle.model.state_dict(), strict=True)
    origin = f"bundle {bundle.fingerprint}"
    for module in model.modules():
        if isinstance(getattr(module, "info", None), WeightsInfo):
            # Pretrained now, so that training.backbone_lr is for them.
            module.info = WeightsInfo("bundle", origin, "as its own README says")  # type: ignore[assignment]
    log.info("weights: start from %s, %s", init, origin)
    provenance = {"init": {"fingerprint": bundle.fingerprint, "provenance": spec["provenance"]}}
    return model, Start(bundle.fingerprint, list(spec["licenses"]), provenance)


def _shapes(model: QualityModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Options of two networks that are not the same, as text by name.

    Where scores start and where weights come from is no difference.
    """
    found: dict[str, str] = {}
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if key == "weights" or (not prefix and key in ("score_mean", "score_std")):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found |= _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found[f"{prefix}{key}"] = f"{prefix}{key} was {old!r}, is {new!r}"
    return found
