"""Videos that look like others: versions of one content, whatever their files are called."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from distill.cache import cache_folder
from distill.data.perceptual import versions
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
    found, failed = signatures_of(dict.fromkeys([*asked, *known], ""), reader, num_workers)
    if failed:
        log.warning("%d videos cannot be compared by their looks", len(failed))
    return versions(asked, known, found)


def signatures_of(
    videos: Mapping[Path, str], reader: VideoReader, num_workers: int
) -> tuple[dict[Path, np.ndarray], dict[Path, str]]:
    """``sign`` with the store in the cache; a signal keeps what was made so far.

    Raises:
        Interrupted: a signal.
    """
    store = SignatureStore(cache_folder() / "signatures")
    try:
        return sign(videos, reader, store, num_workers)
    except KeyboardInterrupt as stop:
        text = "stopped; the signatures made so far are kept for the next start"
        raise Interrupted.by(stop, text) from stop
