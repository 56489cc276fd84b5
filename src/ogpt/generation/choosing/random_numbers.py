"""Random numbers without state: each is a pure function of (seed, continuation, token).

So a text does not depend on what else is generated, in which order or batch. The numbers are
counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): numpy's
Philox4x64-10.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.logits import block_sums

_BLOCK = 256  # entries of a block of the two-level cumulative sum in `sample`


def uniform(seed: int, sample_index: int, draw_index: int) -> float:
    """The random number of one token, uniform in [0, 1).

    It is made of the upper 53 bits of the first word of Philox with key (seed, sample_index) and
    counter draw_index + 1, as numpy increments the counter first.

    Args:
        seed: 0 to 2**64 - 1.
        sample_index: Number of the continuation among those of its prompt, 0 to 2**64 - 1.
        draw_index: Number of the new token in its continuation, 0 to 2**64 - 1.
    """
    word = int(_words.at((seed, sample_index), (draw_index, 0, 0, 0)).random_raw())
    return (word >> 11) * 2.0**-53


def uniforms(seed: int, sample_index: int, first: int, count: int) -> NDArray[np.float64]:
    """The numbers of `count` tokens from `first` on, (count,): those of `uniform`, but faster."""
    words = _words.at((seed, sample_index), (first, 0, 0, 0)).random_raw(4 * count)[::4]
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def gumbel(seed: int, sample_index: int, draw_index: int, count: int) -> NDArray[np.float64]:
    """Standard Gumbel numbers (count,) of one step, all finite, independent of `uniform`'s.

    Added to log-weights, the k largest are a sample of k without replacement, in the order of
    sampling (Vieira 2014, "Gumbel-max trick and weighted reservoir sampling").

    Args:
        seed: 0 to 2**64 - 1.
        sample_index: 0 to 2**64 - 1.
        draw_index: Number of the step, 0 to 2**64 - 2. Steps use disjoint counters.
        count: How many numbers. The first numbers do not depend on it.
    """
    words = _words.at((seed, sample_index), (0, draw_index + 1, 0, 0)).random_raw(count)
    inside = ((words >> np.uint64(12)) + 0.5) * 2.0**-52  # never 0 or 1
    numbers: NDArray[np.float64] = -np.log(-np.log(inside))
    return numbers


class _Words(threading.local):
    """One generator of numpy per thread: creating one takes longer than using it."""

    def __init__(self) -> None:
        self._made = np.random.Philox(key=0)
        self._state: Any = self._made.state

    def at(self, key: tuple[int, int], counter: tuple[int, int, int, int]) -> np.random.Philox:
        """The generator, set to return the first word after the counter."""
        self._state["state"]["key"][:] = key
        self._state["state"]["counter"][:] = counter
        self._made.state = self._state
        return self._made


_words = _Words()


class _Memory(threading.local):
    """Memory for a row of weights per thread: allocating it takes as long as filling it."""

    def __init__(self) -> None:
        self._held: NDArray[np.floating[Any]] = np.empty(0, np.float32)

    def like(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Memory for as many numbers, of the same dtype."""
        if len(self._held) < len(logits) or self._held.dtype != logits.dtype:
            self._held = np.empty_like(logits)
        return self._held[: len(logits)]


_memory = _Memory()


def sample(logits: NDArray[np.floating[Any]], number: float) -> int:
    """Sample a token from softmax(logits): invert the cumulative distribution at `number`.

    The distribution is summed in the order of ids, so equal logits and numbers give equal tokens.

    Args:
        logits: (V,), at least one above -inf. Those at -inf are never sampled.
        number: In [0, 1).
    """
    weights = np.subtract(logits, logits.max(), out=_memory.like(logits))
    np.exp(weights, out=weights)
    if len(weights) <= _BLOCK:
        sums = np.cumsum(weights, dtype=np.float64)
        return _first_above(sums, number * sums[-1])
    # Find the block, then the token in it: a cumulative sum over all of V would take longer than
    # everything else here.
    blocks = np.cumsum(block_sums(weights, _BLOCK))
    target = number * blocks[-1]
    block = _first_above(blocks, target)
    before = blocks[block - 1] if block else 0.0
    within = weights[block * _BLOCK : (block + 1) * _BLOCK]
    inside = before + np.cumsum(within, dtype=np.float64)
    return block * _BLOCK + _first_above(inside, target)


def _first_above(cumulative: NDArray[np.float64], target: float) -> int:
    """First place where the sum exceeds `target`, or else the last place with a weight above 0."""
    last = np.searchsorted(cumulative, cumulative[-1], side="left")
    return int(min(np.searchsorted(cumulative, target, side="right"), last))
