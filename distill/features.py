"""Frozen networks run once per video: which features are missing, and making them."""

import hashlib
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from distill import data
from distill.data.dataset import Example
from distill.data.features import FeatureStore
from distill.data.identity import content_hash
from distill.data.loading import eval_loader
from distill.data.manifest import Row
from distill.data.reader import VideoReader
from distill.data.spool import local
from distill.data.views import View
from distill.errors import VideoError
from distill.model import FEATURES, QualityModel

log = logging.getLogger(__name__)


def feature_store(model: QualityModel, folder: Path, device: torch.device) -> FeatureStore | None:
    """The store of a model's frozen members; None where it has none.

    Args:
        model: with the weights that its frozen members keep.
        folder: of all cached features.
        device: that computes them; a GPU rounds differently from a CPU.
    """
    members = model.frozen_members()
    if not members:
        return None
    fingerprints = {
        FEATURES + name: fingerprint(network, model.views[view], device)
        for name, (view, network) in members.items()
    }
    return FeatureStore(folder, fingerprints)


def fingerprint(network: nn.Module, view: View, device: torch.device) -> str:
    """A hash of all that determines a network's features but the video.

    Weights and buffers, the printed structure, the view, the code that makes frames, views and
    features, the versions of the libraries under it, and the kind of device. An edit of that code
    empties the cache once too often rather than once too seldom.

    Args:
        network: its ``repr`` must tell every option that changes its features.
        view: what it looks at.
        device: that computes the features.
    """
    digest = hashlib.blake2b(digest_size=16)
    versions = [version(name) for name in ("torch", "timm", "numpy", "av")]
    for told in (versions, device.type, repr(view), network):
        digest.update(f"{told}\x1f".encode())
    for path in _code(network):
        digest.update(path.read_bytes())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\x1f".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def missing(store: FeatureStore, rows: Sequence[Row]) -> list[Row]:
    """Rows without sound features, each content once; unreadable files are nobody's."""
    found, seen = [], set[str]()
    for row in tqdm(rows, "cached features", unit="video", dynamic_ncols=True):
        try:
            with local(row.path) as file:
                content = content_hash(file)
        except (OSError, VideoError):
            continue
        if content not in seen and store.load(content) is None:
            found.append(row)
        seen.add(content)
    log.info("features: %d of %d videos to compute; %s", len(found), len(rows), store.folder)
    return found


@torch.no_grad()  # not inference_mode: the weights move, and a checkpoint is restored into them
def fill(
    store: FeatureStore,
    model: QualityModel,
    rows: Sequence[Row],
    reader: VideoReader,
    *,
    batch_size: int,
    num_workers: int,
    device: torch.device,
) -> None:
    """Compute and keep features; float32, no autocast.

    Killed, it goes on where it was: what is kept is not computed again. A video that cannot be
    decoded gets none; who reads it finds out why.

    Args:
        store: from :func:`feature_store` of the same model and device.
        model: its frozen members are moved to ``device``.
        rows: the videos, from :func:`missing`.
        reader: of the videos.
        batch_size: videos at a time.
        num_workers: decoding processes.
        device: where to compute.

    Raises:
        CacheError: the store's folder cannot be written to.
    """
    if not rows:
        return
    members = model.frozen_members()
    for _, network in members.values():
        network.to(device)
    views = {view: model.views[view] for view in model.frozen_views()}
    loader = eval_loader(
        [Example(row) for row in rows], views, reader,
        batch_size=batch_size, num_workers=num_workers,
    )  # fmt: skip
    with tqdm(total=len(rows), desc="features", unit="video", dynamic_ncols=True) as bar:
        for batch in loader:
            if len(batch):
                features = model.frozen_features(batch.to(device).views)
                for at, content in enumerate(batch.contents):
                    store.save(content, {key: value[at] for key, value in features.items()})
            bar.update(len(batch) + len(batch.failed))


def _code(network: nn.Module) -> list[Path]:
    """The files that make frames, views and this network's features."""
    room = Path(str(data.__file__)).parent
    files = [room / name for name in ("dataset.py", "identity.py", "looks.py", "sampling.py")]
    files += sorted([*room.glob("views/*.py"), *room.glob("readers/*.py")])
    classes = {cls for module in network.modules() for cls in type(module).__mro__}
    modules = {cls.__module__ for cls in classes} - {"builtins"}
    return files + [Path(str(sys.modules[name].__file__)) for name in sorted(modules)]
