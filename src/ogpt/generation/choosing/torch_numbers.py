"""The random numbers of PyTorch's generator on a CPU, without PyTorch.

Watermarks of transformers are defined by them. The generator is MT19937, seeded with the lower 32
bits of a seed as by `init_genrand` (Matsumoto and Nishimura 1998), as numpy's RandomState is.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def words(seed: int, count: int) -> NDArray[np.int64]:
    """The first `count` words of 32 bits after `torch.manual_seed(seed)`."""
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    return generator.randint(0, 2**32, count, dtype=np.uint32).astype(np.int64)


def permutation(seed: int, n: int, first: int) -> list[int]:
    """The first numbers of `torch.randperm(n)`: a shuffle of Fisher and Yates from the left.

    Args:
        seed: Of the generator.
        n: Fewer than 2**32 / 20; of more, PyTorch takes other words.
        first: How many numbers, 0 to n.
    """
    steps = np.arange(min(first, n - 1))
    others = words(seed, len(steps)) % (n - steps) + steps
    moved: dict[int, int] = {}  # places that do not hold their own number
    found = []
    for place, other in enumerate(others.tolist()):
        found.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    found += [moved.get(place, place) for place in range(len(steps), first)]
    return found


@lru_cache(maxsize=2)
def permutation_table(seed: int, n: int) -> NDArray[np.int64]:
    """`torch.randperm(n)` whole, kept for the next call."""
    return np.array(permutation(seed, n, n), dtype=np.int64)


@lru_cache(maxsize=2)
def coins(seed: int, count: int) -> NDArray[np.int64]:
    """`torch.randint(0, 2, (count,))`, kept for the next call."""
    return words(seed, count) % 2
