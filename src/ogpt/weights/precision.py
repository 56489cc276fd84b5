"""Weights from one precision to another; numpy has no bfloat16, whose bits stand in uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import WeightsError
from ogpt.weights.arrays import Array

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""What weights may be."""


def cast(name: str, array: Array, dtype: str | None) -> Array:
    """The array in another precision, rounded to the nearest value, halves to even.

    Args:
        name: Of the array, for the message.
        array: Finite numbers of one of DTYPES.
        dtype: One of DTYPES; None: as it is.

    Raises:
        WeightsError: a number too large for `dtype`.
    """
    if dtype is None or dtype == array.dtype:
        return array
    values = as_floats(array)
    if dtype == "bfloat16":
        with np.errstate(over="ignore"):
            bits = values.astype(np.float32).view(np.uint32)
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
            hint="bfloat16 and float32 reach to 3.4e38, float16 to 65504",
        )
    return changed


def as_floats(array: Array) -> NDArray[Any]:
    """The numbers themselves: bfloat16 as float32, every other dtype as it is."""
    if array.dtype != "bfloat16":
        return array.data
    return (array.data.astype(np.uint32) << 16).view(np.float32)


def is_finite(array: Array) -> bool:
    """Whether no number is NaN or infinite."""
    return bool(np.isfinite(as_floats(array)).all())
