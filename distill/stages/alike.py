"""Videos that look like others: versions of one content, whatever their files are called."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.cache import cache_folder
from distill.data.perceptual import THRESHOLD, nearest
from distill.data.reader import VideoReader
from distill.data.signatures import SignatureStore, sign
from distill.errors import Interrupted

log = logging.getLogger(__name__)


def find_alike(
    asked: Sequence[Path], known: Sequence[Path], reader: VideoReader, num_workers: int
) -> dict[int, tuple[int, float]]:
    """Compare videos by 8 frames of each, which are decoded once and kept in the cache.

    Args:
        asked, known: local files. Those that cannot be decoded are like no other, and are told.
        reader: of the videos.
        num_workers: decoding processes.

    Returns:
        Position in ``asked`` -> position in ``known`` of what it is a version of, and how far their
        looks are apart, in bits of 64.

    Raises:
        Interrupted: a signal; the signatures made so far are kept.
    """
    store = SignatureStore(cache_folder() / "signatures")
    try:
        found, failed = sign(dict.fromkeys([*asked, *known], ""), reader, store, num_workers)
    except KeyboardInterrupt as stop:
        text = "stopped; the signatures made so far are kept for the next start"
        raise Interrupted.by(stop, text) from stop
    if failed:
        log.warning("%d videos cannot be compared by their looks", len(failed))
    ours = [at for at, path in enumerate(asked) if path in found]
    theirs = [at for at, path in enumerate(known) if path in found]
    if not ours or not theirs:
        return {}
    which, bits = nearest(
        np.stack([found[asked[at]] for at in ours]), np.stack([found[known[at]] for at in theirs])
    )
    return {
        at: (theirs[w], float(d))
        for at, w, d in zip(ours, which.tolist(), bits.tolist(), strict=True)
        if d <= THRESHOLD
    }
