"""Random numbers without a state: each is a pure function of what it is for.

Draw d of continuation s under seed k is the same number whatever else is generated beside it, in
whatever order or batch: counter-based numbers (Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3"), made by numpy's Philox4x64-10.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.logits import block_sums

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
    word = int(_words.at((seed, sample_index), (draw_index, 0, 0, 0)).random_raw())
    return (word >> 11) * 2.0**-53


def uniforms(seed: int, sample_index: int, first: int, count: int) -> NDArray[np.float64]:
    """The draws `first` to `first + count - 1`, as `uniform` gives them one by one, (count,)."""
    words = _words.at((seed, sample_index), (first, 0, 0, 0)).random_raw(4 * count)[::4]
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


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
    words = _words.at((seed, sample_index), (0, draw_index + 1, 0, 0)).random_raw(count)
    inside = ((words >> np.uint64(12)) + 0.5) * 2.0**-52  # never 0 or 1
    numbers: NDArray[np.float64] = -np.log(-np.log(inside))
    return numbers


class _Words(threading.local):
    """numpy's generator, one a thread: to make one for each draw takes longer than to draw."""

    def __init__(self) -> None:
        self._made = np.random.Philox(key=0)
        self._state: Any = self._made.state

    def at(self, key: tuple[int, int], counter: tuple[int, int, int, int]) -> np.random.Philox:
        """The generator, about to draw the first word after the counter."""
        self._state["state"]["key"][:] = key
        self._state["state"]["counter"][:] = counter
        self._made.state = self._state
        return self._made


_words = _Words()


def sample(logits: NDArray[np.floating[Any]], number: float) -> int:
    """The token that `number` picks from softmax(logits), by the inverse of its cumulative sum.

    Sums are in order of ids, so that equal logits and numbers pick equal tokens.

    Args:
        logits: (V,) with at least one entry above -inf; those at -inf are never picked.
        number: In [0, 1).
    """
    weights = logits - logits.max()
    np.exp(weights, out=weights)
    if len(weights) <= _BLOCK:
        sums = np.cumsum(weights, dtype=np.float64)
        return _first_above(sums, number * sums[-1])
    # blocks first, then inside one block: a running sum over all of V is slower than the rest
    blocks = np.cumsum(block_sums(weights, _BLOCK))
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
