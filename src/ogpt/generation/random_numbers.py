"""Random numbers without a state: each is a pure function of what it is for.

Draw d of continuation s under seed k is the same number whatever else is generated beside it, in
whatever order or batch: counter-based numbers (Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3"), made by numpy's Philox4x64-10.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256  # entries of one block of the two-level cumulative sum


def uniform(seed: int, sample_index: int, draw_index: int) -> float:
    """The draw `draw_index` of continuation `sample_index` under `seed`, in [0, 1).

    The first word of numpy's Philox with key (seed, sample_index) and counter draw_index (numpy
    counts up before it draws); its upper 53 bits make the float.

    Args:
        seed: 0 to 2**64 - 1.
        sample_index: 0 to 2**64 - 1; the continuation's number among those of its prompt.
        draw_index: 0 to 2**64 - 1; the new token's number in its continuation.
    """
    key = np.array([seed, sample_index], dtype=np.uint64)
    counter = np.array([draw_index, 0, 0, 0], dtype=np.uint64)
    word = int(np.random.Philox(key=key, counter=counter).random_raw())
    return (word >> 11) * 2.0**-53


def gumbel(seed: int, sample_index: int, draw_index: int, count: int) -> NDArray[np.float64]:
    """Standard Gumbel numbers (count,) of one draw, all finite, independent of `uniform`'s.

    Added to log-weights, the k largest are k draws without replacement, in the order of drawing
    (Vieira 2014, "Gumbel-max trick and weighted reservoir sampling").

    Args:
        seed: 0 to 2**64 - 1.
        sample_index: 0 to 2**64 - 1.
        draw_index: 0 to 2**64 - 2; the words of other draws lie in other counters.
        count: Numbers wanted; a longer draw begins with the numbers of a shorter one.
    """
    key = np.array([seed, sample_index], dtype=np.uint64)
    counter = np.array([0, draw_index + 1, 0, 0], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(count)
    inside = ((words >> np.uint64(12)) + 0.5) * 2.0**-52  # never 0 or 1
    numbers: NDArray[np.float64] = -np.log(-np.log(inside))
    return numbers


def sample(logits: NDArray[np.floating[Any]], number: float) -> int:
    """The token that `number` picks from softmax(logits), by the inverse of its cumulative sum.

    Sums are in float64 and in order of ids, so that equal logits and numbers pick equal tokens.

    Args:
        logits: (V,) with at least one entry above -inf; those at -inf are never picked.
        number: In [0, 1).
    """
    weights = np.exp(logits - logits.max())
    # blocks first, then inside one block: a running sum over all of V is slower than the rest
    starts = np.arange(0, len(weights), _BLOCK)
    blocks = np.cumsum(np.add.reduceat(weights, starts, dtype=np.float64))
    target = number * blocks[-1]
    block = _first_above(blocks, target)
    before = blocks[block - 1] if block else 0.0
    within = weights[block * _BLOCK : (block + 1) * _BLOCK]
    inside = before + np.cumsum(within, dtype=np.float64)
    return block * _BLOCK + _first_above(inside, target)


def _first_above(cumulative: NDArray[np.float64], target: float) -> int:
    """First place where the sum exceeds `target`; at most the last place that added anything."""
    last = np.searchsorted(cumulative, cumulative[-1], side="left")
    return int(min(np.searchsorted(cumulative, target, side="right"), last))
