"""What commands tell the tracker of what they take in, and of how it agrees with MOS."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill.config import folder
from distill.data.dataset import Example
from distill.data.manifest import Manifest
from distill.data.reader import VideoReader
from distill.labels import LabelStore
from distill.options import DataConfig
from distill.scored import Scored
from distill.specification import read_spec
from distill.tracking import Tracker
from distill.tracking.cards import dataset_card, labels_card, model_card
from distill.tracking.lineage import group_of_bundle, group_of_store
from distill.tracking.tables import thumbnail

SHOWN = 12  # rows of the tables of best and worst
_LINES = 3  # of each, whose scores over time are drawn


def origins(store: LabelStore | None, bundles: Iterable[str | None]) -> list[str | None]:
    """Groups of what a training takes in, see ``Tracker``.

    Args:
        store: of its pseudo-labels.
        bundles: folders of a guide, of what it starts from; None where there is none.
    """
    specs = [read_spec(folder(path)) for path in bundles if path]
    return [group_of_store(store.meta) if store else None, *map(group_of_bundle, specs)]


def tell_inputs(
    tracker: Tracker,
    data: DataConfig,
    manifest: Manifest | None,
    examples: Sequence[Example],
    store: LabelStore | None,
    bundles: Iterable[str | None],
) -> None:
    """The arrows that lead to a training.

    Args:
        tracker: of the run.
        data: of the main table.
        manifest: the main table; None without labels.
        examples: what is learned from, those of further tables among them.
        store, bundles: see ``origins``.
    """
    if not tracker.active:
        return
    if manifest is not None:
        tracker.uses(dataset_card(manifest.rows, data.name))
    for number, _ in enumerate(data.also, 1):
        rows = [example.row for example in examples if example.dataset == number]
        tracker.uses(dataset_card(rows, f"{data.name} also {number}"))
    if store is not None:
        tracker.uses(labels_card(store))
    for path in bundles:
        if path:
            tracker.uses(model_card(read_spec(folder(path))))


def tell_agreement(
    tracker: Tracker,
    part: str,
    sound: Sequence[Scored],
    predicted: Sequence[float],
    reader: VideoReader,
) -> None:
    """Tables and charts of calibrated scores beside the MOS, the largest errors first.

    Args:
        tracker: of the run.
        part: val, test or eval: what stands before W&B's keys.
        sound: videos with a score, with their MOS.
        predicted: (N,) calibrated scores.
        reader: of the videos.
    """
    if not tracker.active:
        return
    errors = [p - s.row.mos for s, p in zip(sound, predicted, strict=True)]
    order = sorted(range(len(sound)), key=lambda at: -abs(errors[at]))
    best = order[::-1][:SHOWN]

    def tell(name: str, shown: Sequence[int]) -> None:
        rows = [_row(sound[at], predicted[at], errors[at]) for at in shown]
        tracker.table(
            f"{part}/{name}", rows, lambda at: thumbnail(sound[shown[at]].row.path, reader)
        )

    tell("table", order)
    tell("worst", order[:SHOWN])
    tell("best", best)
    tracker.agreement(part, [s.row.mos for s in sound], predicted)
    series = {
        f"{name} {place}": sound[at].frame_scores
        for name, shown in (("worst", order), ("best", best))
        for place, at in enumerate(shown[:_LINES], 1)
        if len(sound[at].frame_scores) > 1
    }
    tracker.lines(f"{part}/frame_scores", series, "frame")


def _row(scored: Scored, predicted: float, error: float) -> Mapping[str, Any]:
    row = scored.row
    found = {
        "video": row.video,
        "group": row.group,
        "mos": row.mos,
        "predicted": predicted,
        "residual": error,
    }
    for name, score in scored.members.items():
        found[f"member {name}"] = score
    # A text: a table of lists cannot be sorted or exported, and one without them has none.
    frames = " ".join(f"{score:.3f}" for score in scored.frame_scores)
    return {**found, "frame_scores": frames}
