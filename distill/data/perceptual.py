"""What a video looks like, in 64 bits a frame: versions of one content have nearly the same.

A signature survives what makes a version, and little of what makes another picture. Measured in
``benchmarks/leaks.py``; the table is in docs/doubt.md.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.fft import dctn

from distill.data.reader import VideoInfo
from distill.data.views.base import Collector, FrameCollector, resize

FRAMES = 8
BITS = 64
THRESHOLD = 16.0  # of 64 bits, mean over frames; docs/doubt.md tells how it was chosen
_SIDE = 32
_FLAT = 3  # levels: with less contrast the signs of the coefficients are noise
_COMPARABLE = 4  # frames of both that must not be flat
_DIGEST = 16
_BYTES = FRAMES * BITS // 8
LENGTH = _BYTES + FRAMES + _DIGEST
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_CHUNK = 1 << 22  # pairs of videos compared at once: 32 MiB of float64
# The 64 lowest frequencies but the mean, along the diagonals as in JPEG.
_LOW = np.array(
    sorted(
        ((y, x) for y in range(_SIDE) for x in range(_SIDE)), key=lambda at: (sum(at), at)
    )[1 : BITS + 1]
)  # fmt: skip


@dataclass(frozen=True)
class Signature:
    """A view: eight frames at fixed shares of the duration, as hashes.

    Yields (LENGTH,) uint8: 8 bytes of perceptual hash per frame, one byte of contrast per frame
    (standard deviation of the 32x32 luma, in levels), and 16 bytes of hash of the decoded frames.
    The hash of a frame is the signs of the 64 lowest frequencies, without the mean, of the cosine
    transform of its luma at 32x32.

    Source: the idea of the perceptual hash is pHash's (Zauner 2010, Implementation and
        Benchmarking of Perceptual Image Hash Functions).
    Differs: frequencies along diagonals, where pHash takes a block of 8x8; signs, where it
        compares with the median. On our clips both move contents further apart.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(LENGTH,)."""
        return (LENGTH,)

    def begin(self, info: VideoInfo, seed: int, train: bool) -> Collector:
        """Start collecting; see :class:`~distill.data.views.base.View`. Nothing is random."""
        return _SignatureCollector(info.num_frames)


class _SignatureCollector(FrameCollector):
    def __init__(self, num_frames: int) -> None:
        slots = ((2 * np.arange(FRAMES) + 1) * num_frames) // (2 * FRAMES)
        super().__init__(slots, (BITS // 8 + 1 + _DIGEST,))

    def _fill(self, slots: list[int], image: np.ndarray) -> None:
        found = _frame_bytes(image)
        for slot in slots:
            self._out[slot] = found

    def result(self) -> np.ndarray:
        """(LENGTH,), once every wanted frame has come."""
        frames = super().result()
        bits, contrast = frames[:, : BITS // 8], frames[:, BITS // 8]
        digest = hashlib.blake2b(frames[:, BITS // 8 + 1 :].tobytes(), digest_size=_DIGEST)
        return np.concatenate([bits.ravel(), contrast, np.frombuffer(digest.digest(), np.uint8)])


def _frame_bytes(image: np.ndarray) -> np.ndarray:
    """Hash, contrast and exact hash of a frame (3, H, W) uint8, as (25,) uint8."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    exact = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=_DIGEST)
    exact.update(pixels.data)
    small = resize(image, _SIDE, _SIDE).transpose(1, 2, 0).astype(np.float64) @ _LUMA
    waves = dctn(small, norm="ortho")[_LOW[:, 0], _LOW[:, 1]]
    contrast = np.uint8(min(255, int(small.std())))
    digest = np.frombuffer(exact.digest(), np.uint8)
    return np.concatenate([np.packbits(waves > 0), [contrast], digest]).astype(np.uint8)


def exact_hash(signature: np.ndarray) -> str:
    """The hash of the decoded frames of a signature: equal for equal pictures in any container."""
    return signature[-_DIGEST:].tobytes().hex()


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far the looks of videos are from each other.

    Each frame of a video of ``one`` takes the nearest of the frame at the same share of the
    duration in ``other`` and its two neighbours, so that a start cut off does not matter; the
    distance is the mean over frames. Flat frames (black, fades) are left out.

    Args:
        one: (P, LENGTH) uint8 signatures.
        other: (Q, LENGTH) uint8 signatures.

    Returns:
        (P, Q) float32 bits of 64; infinite where fewer than 4 frames can be compared. Unrelated
        pictures are near 31.
    """
    ours, theirs = (_words(signatures) for signatures in (one, other))
    rich, theirs_rich = (_rich(signatures) for signatures in (one, other))
    total = np.zeros((len(one), len(other)), np.uint16)
    count = np.zeros((len(one), len(other)), np.uint8)
    for frame in range(FRAMES):
        best = np.full(total.shape, BITS + 1, np.uint8)
        for near in range(max(0, frame - 1), min(FRAMES, frame + 2)):
            bits = np.bitwise_count(ours[:, frame, None] ^ theirs[None, :, near])
            bits[:, ~theirs_rich[:, near]] = BITS + 1
            np.minimum(best, bits, out=best)
        best[~rich[:, frame]] = BITS + 1
        sound = best <= BITS
        total += np.where(sound, best, 0)
        count += sound
    mean = total / np.maximum(count, 1).astype(np.float32)
    return np.where(count >= _COMPARABLE, mean, np.inf).astype(np.float32)


def nearest(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each video of ``one`` the nearest of ``other``; see :func:`distances`.

    Args:
        one: (P, LENGTH) uint8 signatures, P of any size: compared in chunks.
        other: (Q, LENGTH) uint8 signatures.

    Returns:
        (P,) int64 positions in ``other``, the first of several; (P,) float32 bits, infinite where
        there is none to compare with.
    """
    where, how_far = np.zeros(len(one), np.int64), np.full(len(one), np.inf, np.float32)
    if not len(other):
        return where, how_far
    step = max(1, _CHUNK // len(other))
    for start in range(0, len(one), step):
        found = distances(one[start : start + step], other)
        where[start : start + step] = found.argmin(1)
        how_far[start : start + step] = found.min(1)
    return where, how_far


def versions(
    asked: Sequence[Path],
    known: Sequence[Path],
    signatures: Mapping[Path, np.ndarray],
    threshold: float = THRESHOLD,
) -> dict[int, tuple[int, float]]:
    """Videos that are versions of others, by their looks.

    Args:
        asked, known: videos; those without a signature are like no other.
        signatures: (LENGTH,) uint8 of each.
        threshold: largest distance of versions of one content, in bits of 64.

    Returns:
        Position in ``asked`` -> position in ``known`` of the nearest, and how far it is.
    """
    ours = [at for at, path in enumerate(asked) if path in signatures]
    theirs = [at for at, path in enumerate(known) if path in signatures]
    if not ours or not theirs:
        return {}
    which, bits = nearest(
        np.stack([signatures[asked[at]] for at in ours]),
        np.stack([signatures[known[at]] for at in theirs]),
    )
    return {
        at: (theirs[w], float(d))
        for at, w, d in zip(ours, which.tolist(), bits.tolist(), strict=True)
        if d <= threshold
    }


def comparable(signatures: np.ndarray) -> np.ndarray:
    """(P,) bool: whether enough frames of each of (P, LENGTH) signatures are not flat."""
    return _rich(signatures).sum(1) >= _COMPARABLE


def _words(signatures: np.ndarray) -> np.ndarray:
    """(P, FRAMES) uint64."""
    return np.ascontiguousarray(signatures[:, :_BYTES]).view(np.uint64)


def _rich(signatures: np.ndarray) -> np.ndarray:
    """(P, FRAMES) bool: frames that are not flat."""
    return signatures[:, _BYTES : _BYTES + FRAMES] >= _FLAT
