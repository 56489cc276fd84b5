"""Balances the value channels of attention before their weights are rounded.

The model does not change if a value channel of c_attn is scaled by any factor, and the row of
c_proj that reads it by the inverse. The rounding error does change: the largest channel of a group
sets the scale of the whole group. Here the weights into a channel get the same norm as those out of
it, which removes outliers (compare Xiao et al. 2022, "SmoothQuant", arXiv 2211.10438). The factors
are powers of two, so that scaling loses no bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.weights.arrays import Array, LazyArrays, Stored, stored
from ogpt.weights.precision import DTYPES, as_floats

_INTO = ("attn.c_attn.weight", "attn.c_attn.bias")
_OUT_OF = "attn.c_proj.weight"
_MOST = 126  # largest exponent whose power of two and its inverse are both normal in float32


def balanced(weights: Mapping[str, Array]) -> LazyArrays[str]:
    """The same model with balanced value channels. Each weight is read when it is requested.

    Args:
        weights: Under the names of `weight_shapes`. Arrays of other dtypes or shapes stay as they
            are, so that the reader of the result can report them.
    """
    found: dict[str, NDArray[np.int32] | None] = {}
    held: dict[str, Array] = {}  # read for their exponents, not yet requested
    one_at_a_time = Lock()

    def read(name: str) -> Array:
        if not name.endswith((*_INTO, _OUT_OF)):
            return weights[name]
        block = name.partition("attn.")[0]
        with one_at_a_time:
            if block not in found:
                pair = [block + _INTO[0], block + _OUT_OF]
                held.update({each: _own(weights, each) for each in pair})
                found[block] = _exponents(*(held[each] for each in pair))
            array = held.pop(name, None)
        exponents = found[block]
        array = array or _own(weights, name)
        if exponents is None:
            return array
        numbers = _numbers(array)
        one = np.ones((), numbers.dtype)
        if name.endswith(_OUT_OF):
            numbers *= np.ldexp(one, exponents[:, None])
        else:  # the values are the last third, after queries and keys
            numbers[..., -len(exponents) :] *= np.ldexp(one, -exponents)
        return Array(numbers.dtype.name, numbers)

    def untouched(name: str) -> Stored | None:
        return None if name.endswith((*_INTO, _OUT_OF)) else stored(weights, name)

    return LazyArrays({name: name for name in weights}, read, untouched)


def _exponents(into: Array, out_of: Array) -> NDArray[np.int32] | None:
    """Exponents (C,): each value channel is divided by 2**e, and its row of c_proj multiplied."""
    if {into.dtype, out_of.dtype} - set(DTYPES):
        return None
    if into.data.ndim != 2 or into.data.shape[1] != 3 * len(out_of.data):
        return None
    channels = len(out_of.data)
    going_in = np.linalg.norm(_numbers(into)[:, 2 * channels :], axis=0)
    coming_out = np.linalg.norm(_numbers(out_of), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # channels of zeros stay
        factors = np.log2(going_in / coming_out) / 2
    factors = np.where(np.isfinite(factors), np.rint(factors), 0)
    return np.clip(factors, -_MOST, _MOST).astype(np.int32)


def _own(weights: Mapping[str, Array], name: str) -> Array:
    """A copy of a weight in memory, which may be changed."""
    source = stored(weights, name)
    return source.read() if source else Array(weights[name].dtype, weights[name].data.copy())


def _numbers(array: Array) -> NDArray[Any]:
    """The numbers as floats, in float32 where the range of float16 is too small to scale."""
    wide = as_floats(array)
    return wide.astype(np.float32) if array.dtype == "float16" else wide
