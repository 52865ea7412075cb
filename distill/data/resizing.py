"""torch's antialiased bilinear resize of uint8 pictures in numpy, bit for bit."""

from functools import lru_cache
from typing import Any

import numpy as np

_TOGETHER = 16  # new pixels of an axis made at once, from the pixels that these need


def antialiased(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture: each axis by a triangle as wide as the step between the new pixels.

    Args:
        picture: (H, W, C) uint8.
        height, width: of the result in pixels, >= 1.

    Returns:
        (height, width, C) uint8.

    Source: ``interpolate(..., mode="bilinear", antialias=True)`` of torch on uint8
        (ATen/native/cpu/UpSampleKernel.cpp), which is Pillow's way: across, then down, each with
        whole-number weights and rounding to whole levels.
    Differs: Pillow's weights have 22 bits behind the point; torch's have as many as leave the
        largest below 2**15, so that the two are up to one level apart. These are torch's.
    """
    rows, columns, channels = picture.shape
    if width != columns:
        lines = np.ascontiguousarray(picture.transpose(1, 0, 2)).reshape(columns, -1)
        turned = _first_axis(lines, width).reshape(width, rows, channels)
        picture = np.ascontiguousarray(turned.transpose(1, 0, 2))
    if height != rows:
        picture = _first_axis(picture.reshape(rows, -1), height).reshape(height, width, channels)
    return picture


def _first_axis(levels: np.ndarray, new_size: int) -> np.ndarray:
    """(N, M) uint8 -> (new_size, M): products with bands of weights, the fastest sums in numpy."""
    out = np.empty((new_size, levels.shape[1]), dtype=np.uint8)
    bands, bits = _bands(len(levels), new_size)
    for number, (start, band) in enumerate(bands):
        total = band @ levels[start : start + band.shape[1]].astype(band.dtype)
        total += 1 << bits - 1
        total *= 2.0**-bits
        # Weights are >= 0 with sum 1: within 0..255, where a cast cuts down to whole levels.
        out[number * _TOGETHER : (number + 1) * _TOGETHER] = total
    return out


@lru_cache(maxsize=64)
def _bands(size: int, new_size: int) -> tuple[list[tuple[int, np.ndarray]], int]:
    """The weights as matrices for ``_TOGETHER`` new pixels each, where each starts, and the bits.

    Floats hold these sums of whole numbers exactly, whatever their order: up to 2**15 * 256 in
    float32 (24 bits), more in float64.
    """
    index, weights, bits = taps(size, new_size)
    kind: Any = np.float32 if bits <= 15 else np.float64
    bands = []
    for first in range(0, new_size, _TOGETHER):
        where = index[:, first : first + _TOGETHER]
        start = int(where.min())
        band = np.zeros((where.shape[1], int(where.max()) + 1 - start), dtype=kind)
        # Taps that a new pixel has not are repeats of the last pixel, with weight 0.
        np.add.at(band, (np.arange(len(band)), where - start), weights[:, first:][:, :_TOGETHER])
        bands.append((start, band))
    return bands, bits


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
