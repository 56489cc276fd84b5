"""Channels made equally large before their weights are rounded.

A value channel of attention may be scaled by any factor where the row of c_proj that reads it is
scaled by its inverse: the model is the same. Rounded in groups it is not, as the largest channel of
a group decides on the step of all. Here each channel is as large going in as coming out, which
undoes outliers (compare Xiao et al. 2022, "SmoothQuant", arXiv 2211.10438). Factors are powers of
two, so that no bit of the weights is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.precision import DTYPES, as_floats

_INTO = ("attn.c_attn.weight", "attn.c_attn.bias")
_OUT_OF = "attn.c_proj.weight"


def balanced(weights: Mapping[str, Array]) -> LazyArrays[str]:
    """The same model with balanced value channels; each weight is read when asked for.

    Args:
        weights: Under the names of `weight_shapes`; what does not fit stays as it is.
    """
    found: dict[str, NDArray[np.int32] | None] = {}

    def read(name: str) -> Array:
        array = weights[name]
        if not name.endswith((*_INTO, _OUT_OF)):
            return array
        block = name.partition("attn.")[0]
        if block not in found:
            found[block] = _exponents(weights[block + _INTO[0]], weights[block + _OUT_OF])
        exponents = found[block]
        if exponents is None:
            return array
        numbers = _numbers(array)
        if name.endswith(_OUT_OF):
            numbers = np.ldexp(numbers, exponents[:, None])
        else:
            whole = np.zeros(numbers.shape[-1], np.int32)
            whole[-len(exponents) :] = -exponents  # behind queries and keys
            numbers = np.ldexp(numbers, whole)
        return Array(numbers.dtype.name, numbers)

    return LazyArrays({name: name for name in weights}, read)


def _exponents(into: Array, out_of: Array) -> NDArray[np.int32] | None:
    """By how many powers of two each channel (C,) goes down, and its row up."""
    if {into.dtype, out_of.dtype} - set(DTYPES):
        return None
    if into.data.ndim != 2 or into.data.shape[1] != 3 * len(out_of.data):
        return None
    channels = len(out_of.data)
    going_in = np.linalg.norm(_numbers(into)[:, 2 * channels :], axis=0)
    coming_out = np.linalg.norm(_numbers(out_of), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # channels of zeros stay
        factors = np.log2(going_in / coming_out) / 2
    return np.where(np.isfinite(factors), np.rint(factors), 0).astype(np.int32)


def _numbers(array: Array) -> NDArray[Any]:
    """The numbers, wide enough to be scaled."""
    wide = as_floats(array)
    return wide.astype(np.float32) if array.dtype == "float16" else wide
