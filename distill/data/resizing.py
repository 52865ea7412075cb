"""torch's antialiased bilinear resize of uint8 pictures in numpy, bit for bit."""

from functools import lru_cache

import numpy as np

# Rows resized at once: their sums stay in a core's cache.
_ROWS = 32


def antialiased(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture: each axis by a triangle as wide as the step between the new pixels.

    Args:
        picture: (H, W, C) uint8.
        height, width: of the result in pixels, >= 1.

    Returns:
        (height, width, C) uint8.

    Source: ``interpolate(..., mode="bilinear", antialias=True)`` of torch 2.6 to 2.14 on uint8
        (ATen/native/cpu/UpSampleKernel.cpp), which is Pillow's way: across, then down, each with
        whole-number weights and rounding to whole levels.
    Differs: Pillow's weights have 22 bits behind the point; torch's have as many as leave the
        largest below 2**15, so that the two are up to one level apart. These are torch's.
    """
    if width != picture.shape[1]:
        index, weights, bits = taps(picture.shape[1], width)
        out = np.empty((len(picture), width, picture.shape[2]), dtype=np.uint8)
        for top in range(0, len(picture), _ROWS):
            rows = picture[top : top + _ROWS]
            total = np.full((len(rows), *out.shape[1:]), 1 << bits - 1, dtype=np.int32)
            for at, weight in zip(index, weights, strict=True):
                total += rows.take(at, axis=1) * weight[:, None]
            out[top : top + _ROWS] = total >> bits  # weights of >= 0 and sum 1: within 0..255
        picture = out
    if height != len(picture):
        index, weights, bits = taps(len(picture), height)
        out = np.empty((height, *picture.shape[1:]), dtype=np.uint8)
        for row in range(height):
            total = np.tensordot(weights[:, row], picture[index[:, row]].astype(np.int32), 1)
            out[row] = total + (1 << bits - 1) >> bits
        picture = out
    return picture


@lru_cache(maxsize=64)
def taps(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Which pixels of an axis make each new one, and with what weights.

    Args:
        size, new_size: of the axis in pixels, >= 1.

    Returns:
        (K, new_size) int64 indices and (K, new_size) int32 weights of 2**-bits, 0 where a new
        pixel has fewer than K; the number of bits.
    """
    scale = size / new_size
    reach = max(scale, 1.0)
    centre = scale * (np.arange(new_size) + 0.5)
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + reach + 0.5).astype(np.int64), size) - first
    steps = np.arange(count.max())[:, None]
    # Multiplied by the inverse, and summed in order, as torch does: another way of rounding would
    # now and then be another weight.
    distance = np.abs((steps + first - centre + 0.5) * (1.0 / reach))
    shares = np.where((steps < count) & (distance < 1.0), 1.0 - distance, 0.0)
    total = np.zeros(new_size)
    for share in shares:
        total += share
    shares /= total
    bits = 0
    while bits < 22 and int(0.5 + shares.max() * 2 ** (bits + 1)) < 1 << 15:
        bits += 1
    weights = (shares * 2**bits + 0.5).astype(np.int32)
    return np.minimum(steps + first, size - 1), weights, bits
