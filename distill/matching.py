"""Which views of a teacher are a student's too, and which of their feature maps fit each other."""

from collections.abc import Mapping
from typing import Any

from distill.data.views import View
from distill.model import QualityModel


def moving_views(model: QualityModel) -> dict[str, View]:
    """Views that the batch has in training; cached features stand for the others."""
    frozen = model.frozen_views()
    return {name: view for name, view in model.views.items() if name not in frozen}


def matching_views(theirs: Mapping[str, View], own: Mapping[str, View]) -> dict[str, str]:
    """Teacher's view -> student's view that is the same but for the number of frames."""
    return {
        name: next(key for key, other in own.items() if _alike(view, other))
        for name, view in theirs.items()
        if any(_alike(view, other) for other in own.values())
    }


def _alike(view: View, other: View) -> bool:
    return type(view) is type(other) and view.shape[1:] == other.shape[1:]


def _grids(model: QualityModel) -> dict[str, tuple[str, list[tuple[int, int]]]]:
    """Name of a network -> its view, and channels and side of each of its maps."""
    return {
        name: (view, [(c, model.views[view].shape[-1] // r) for c, r in _stages(network)])
        for name, (view, network) in model.viewers().items()
    }


def _stages(network: Any) -> list[tuple[int, int]]:
    if not hasattr(network, "taps"):
        return []
    return list(zip(network.channels, network.reductions, strict=True))


def matching_maps(
    model: QualityModel, teacher: QualityModel, matches: Mapping[str, str]
) -> dict[tuple[str, str, int, int], tuple[int, int]]:
    """(Member, student's view, stage of each) -> channels of the student's and its map."""
    mine = dict(_grids(model).values())
    found = {}
    for member, (view, grids) in _grids(teacher).items():
        own = mine.get(matches.get(view, ""), [])
        for stage, (channels, side) in enumerate(grids):
            alike = [at for at, (_, other) in enumerate(own) if other == side]
            if alike:
                key = (member, matches[view], stage, alike[-1])
                found[key] = (own[alike[-1]][0], channels)
    return found


def told_differences(theirs: View, own: View) -> str:
    """What else than numbers of frames differs between two views that match; empty: nothing."""
    given = vars(own)
    each = [
        f"{name}={value} (the student's: {given[name]})"
        for name, value in vars(theirs).items()
        if value != given[name] and not name.startswith(("num_", "train_"))
    ]
    return ", ".join(each)


def told_views(views: Mapping[str, View]) -> str:
    """Names, kinds and shapes, for a message."""
    each = [f"{name}: {type(view).__name__} {view.shape}" for name, view in views.items()]
    return ", ".join(each) or "none"


def told_grids(model: QualityModel) -> str:
    """Names of networks and sizes of their feature maps, for a message."""
    each = [
        f"{name}: {', '.join(f'{side}x{side}' for _, side in grids) or 'none'}"
        for name, (_, grids) in _grids(model).items()
    ]
    return "; ".join(each) or "none"
