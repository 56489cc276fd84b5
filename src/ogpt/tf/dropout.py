"""Dropout as a pure function of (seed, layer, position), without a generator's state.

The masks are those of `model/dropout.py`: the same seed drops the same elements in both frameworks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import mul

from keras import ops, random

from ogpt.tf.tensors import Size, Tensor

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads neighbouring sites and positions


def draw_seed(generator: random.SeedGenerator) -> Tensor:
    """A seed for one forward pass, (), int64 in 0..2**31.

    keras.utils.set_random_seed before the model is built determines every mask of its passes.
    """
    return ops.cast(random.randint((), 0, 2**31 - 1, "int32", seed=generator), "int64")


def dropout(x: Tensor, p: float, seed: Tensor | None, site: int) -> Tensor:
    """Zero elements with probability p and scale the others by 1 / (1 - p).

    Args:
        x: Any shape.
        p: Probability of dropping an element, 0 <= p < 1.
        seed: As in keep_mask; None (inference) returns `x`.
        site: As in keep_mask.
    """
    if seed is None or p == 0.0:
        return x
    return ops.where(keep_mask(ops.shape(x), p, seed, site), x * (1.0 / (1.0 - p)), 0.0)


def keep_mask(shape: Sequence[Size], p: float, seed: Tensor, site: int) -> Tensor:
    """The elements that survive dropout, bool: each with probability 1 - p, independently.

    Args:
        shape: Of the mask; beyond 2**31 elements the pattern repeats.
        p: Probability of dropping an element, 0 <= p < 1.
        seed: (), int64, from draw_seed.
        site: Number of the dropout layer in the model; each has its own mask.

    Source: the hash is C. Wellons' 32-bit mix of two multiplications ("lowbias32").
    """
    position = ops.reshape(ops.arange(reduce(mul, shape, 1), dtype="int32"), shape)
    salt = _mix(_as_int32(seed + site * _GOLDEN))
    bits = _mix(ops.bitwise_xor(position, salt))
    threshold = min(round(p * 2**32), 2**32 - 1) - 2**31
    return bits >= threshold


def _as_int32(x: Tensor) -> Tensor:
    """The lowest 32 bits of an int64, as torch casts it."""
    return ops.cast((x + 2**31) % 2**32 - 2**31, "int32")


def _mix(x: Tensor) -> Tensor:
    # >> of a negative int32 copies its sign bit; the masks clear those copies
    x = ops.bitwise_xor(x, ops.bitwise_and(ops.bitwise_right_shift(x, 16), 0xFFFF))
    x = x * 0x7FEB352D
    x = ops.bitwise_xor(x, ops.bitwise_and(ops.bitwise_right_shift(x, 15), 0x1FFFF))
    x = x * (0x846CA68B - 2**32)
    return ops.bitwise_xor(x, ops.bitwise_and(ops.bitwise_right_shift(x, 16), 0xFFFF))
