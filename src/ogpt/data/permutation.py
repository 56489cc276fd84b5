"""A keyed shuffle of 0..n-1 that is computed, not stored.

A Feistel network permutes the numbers of 2b bits, whatever its round function is; walking its
cycle until the number falls below n makes it a permutation of exactly n numbers (Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Memory is O(1) in n, and any part of the
order is computed by itself, so a resumed run needs no saved order.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

ROUNDS = 6  # 4 make a Feistel network a strong permutation (Luby and Rackoff 1988); 2 to spare


def draw(below: int, *key: int | str) -> int:
    """A number in [0, below) that depends on `key` alone, and is the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return int.from_bytes(digest, "little") % below


def permute(numbers: NDArray[np.int64], n: int, *key: int | str) -> NDArray[np.int64]:
    """Shuffle 0..n-1 by `key`: the new place of each of `numbers`, all below n."""
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = [np.uint64(draw(2**64, *key, turn)) for turn in range(ROUNDS)]
    found = _feistel(numbers.astype(np.uint64), half, keys)
    outside = np.flatnonzero(found >= n)
    while outside.size:  # the domain is below 4n: fewer than 4 steps on average
        found[outside] = _feistel(found[outside], half, keys)
        outside = outside[found[outside] >= n]
    return found.astype(np.int64)


def _feistel(numbers: NDArray[np.uint64], half: int, keys: list[np.uint64]) -> NDArray[np.uint64]:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = numbers >> shift, numbers & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << shift) | right


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of splitmix64 (Steele, Lea and Flood, 2014); wraps at 64 bits."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
