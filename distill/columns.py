"""Columns of numbers and names that belong together, checked before anything is computed."""

from typing import Any

import numpy as np


def paired(pred: Any, mos: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (N,), N >= 1.

    Raises:
        ValueError: not numbers, not 1-d, of different lengths, empty, or not finite.
    """
    arrays = []
    for name, values in (("pred", pred), ("mos", mos)):
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1 or not len(array):
            raise ValueError(f"{name} must be 1-d and not empty, got shape {array.shape}")
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"{name} must be finite, got {array[row]} in row {row}")
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(f"pred has {len(arrays[0])} rows and mos has {len(arrays[1])}")
    return arrays[0], arrays[1]


def group_codes(groups: Any, n: int) -> np.ndarray:
    """Group names (N,) as whole numbers from 0, in the order of the sorted names.

    Raises:
        ValueError: not ``n`` names, or a name is missing (None, NaN or empty).
    """
    names = list(groups)
    if len(names) != n:
        raise ValueError(f"groups has {len(names)} rows and pred has {n}")
    for row, name in enumerate(names):
        if name is None or name != name or name == "":
            raise ValueError(f"groups must name every row, got {name!r} in row {row}")
    return np.unique(np.asarray(names), return_inverse=True)[1]
