"""Rows of logits: their type, the k largest entries of a row, and fast sums.

Searches need these at every token, beside a step of a few milliseconds. No function sorts the
vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]
"""(V,), (N, V) or (T, V), float32 or float64."""

Ids = NDArray[np.intp]
"""Token ids."""

_MAXIMUM_BLOCK = 128  # entries that share a maximum in _candidates
_SUM_BLOCK = 256  # entries that are summed in the precision of the logits


def top_k(logits: Logits, k: int) -> Ids:
    """The ids of the k most probable tokens, in ascending order; all ids where k is V or more.

    Exactly k ids are returned. Of equal logits, those with the lower ids are kept.

    Source: Fan, Lewis and Dauphin 2018 (arXiv 1805.04833).
    """
    if k >= len(logits):
        return np.arange(len(logits))
    ids = _candidates(logits, k)
    found = logits[ids]
    threshold = np.partition(found, len(found) - k)[len(found) - k]
    above, equal = ids[found > threshold], ids[found == threshold]
    return np.sort(np.concatenate([above, equal[: k - len(above)]]))


def finite(logits: Logits) -> Logits:
    """Logits with NaN replaced by 0, and infinite ones by finite ones beyond all others.

    Differences of the new numbers and of any others do not overflow.
    """
    limits = np.finfo(logits.dtype)
    most = float(limits.max) * float(limits.eps) / 4
    found: Logits = np.nan_to_num(logits, nan=0.0, posinf=most, neginf=-most)
    return found


def block_sums(weights: Logits, block: int = _SUM_BLOCK) -> NDArray[np.float64]:
    """The sum of each block of weights (V,), as float64.

    numpy sums each block pairwise in the precision of the weights, so its rounding error is that
    of a few additions. This is much faster than a float64 sum of float32 and as accurate.
    """
    starts = np.arange(0, len(weights), block)
    return np.add.reduceat(weights, starts).astype(np.float64)


def _candidates(row: Logits, k: int) -> Ids:
    """Ids, in order, among which the k largest entries and all their equals are."""
    starts = np.arange(0, len(row), _MAXIMUM_BLOCK)
    if k > len(starts):
        return np.arange(len(row))
    # k blocks have a maximum of at least the k-th largest maximum: no k-th entry is below it
    maxima = np.maximum.reduceat(row, starts)
    return np.flatnonzero(row >= np.partition(maxima, len(starts) - k)[len(starts) - k])
