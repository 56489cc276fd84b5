"""Convert weights between precisions. numpy has no bfloat16: its bits are kept in uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import WeightsError
from ogpt.weights.arrays import Array

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Data types that weights may have."""


def cast(name: str, array: Array, dtype: str | None) -> Array:
    """Convert an array to another precision, rounding to nearest, ties to even.

    Args:
        name: Name of the array, for the message.
        array: Finite numbers in one of DTYPES.
        dtype: One of DTYPES; None returns the array unchanged.

    Raises:
        WeightsError: a number is too large for `dtype`.
    """
    if dtype is None or dtype == array.dtype:
        return array
    values = as_floats(array)
    if dtype == "bfloat16":
        with np.errstate(over="ignore"):
            bits = values.astype(np.float32).view(np.uint32)
        # bfloat16 is the upper half of float32. Adding 0x7FFF, plus 1 where that half is odd,
        # carries into it exactly when rounding to nearest, ties to even, rounds up.
        odd = (bits >> 16) & 1
        bits += 0x7FFF
        bits += odd
        bits >>= 16
        data: NDArray[Any] = bits.astype(np.uint16)
    else:
        with np.errstate(over="ignore"):
            data = values.astype(dtype)
    changed = Array(dtype, data)
    if not is_finite(changed):
        raise WeightsError(
            f"{name} holds {np.abs(values).max():g}, which is too large for {dtype}",
            hint="use bfloat16 or float32 (up to 3.4e38); float16 holds up to 65504",
        )
    return changed


def as_floats(array: Array) -> NDArray[Any]:
    """Return numbers to compute with: bfloat16 as float32, every other dtype unchanged."""
    if array.dtype != "bfloat16":
        return array.data
    return (array.data.astype(np.uint32) << 16).view(np.float32)


def is_finite(array: Array) -> bool:
    """Return whether no number is NaN or infinite."""
    return bool(np.isfinite(as_floats(array)).all())
