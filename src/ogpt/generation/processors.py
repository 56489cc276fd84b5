"""Logits in, logits out: pure functions that rule tokens out or sharpen the choice.

Every function takes logits (B, V) without NaN, leaves them untouched and returns a new array of
the same shape and dtype; a token ruled out has -inf. None of them sorts the vocabulary: beside a
step of a few milliseconds their time must not show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import SamplingError
from ogpt.generation.settings import require, require_temperature, require_top_p

Logits = NDArray[np.float32]

_BLOCK = 128  # of the block maxima in _kth_largest
_BINS = 1024  # of the histogram in nucleus
_SPAN = 40.0  # its range below the largest logit; what lies deeper is sorted if it ever matters


def temperature(logits: Logits, value: float) -> Logits:
    """Divide the logits by a temperature: below 1 sharpens, above 1 flattens.

    Each row is first shifted so that its largest logit is 0, which changes no probability and
    keeps very small temperatures from overflowing.

    Args:
        logits: (B, V).
        value: Above 0 and finite.

    Raises:
        SamplingError: the value is outside that range.
    """
    require_temperature(value)
    with np.errstate(over="ignore"):  # a tiny temperature sends the unlikely to -inf: as it should
        shifted = logits - logits.max(axis=1, keepdims=True)
        quotient: Logits = shifted / max(value, float(np.finfo(logits.dtype).tiny))
    return quotient


def top_k(logits: Logits, k: int) -> Logits:
    """Keep the k most likely tokens of each row and rule out the rest.

    Args:
        logits: (B, V).
        k: Tokens to keep, 1 to V. Exactly k remain; among equals the lower id stays.

    Raises:
        SamplingError: k is outside 1..V.

    Source: Fan, Lewis and Dauphin 2018 (arXiv 1805.04833).
    """
    return _keep(logits, [most_likely(row, k) for row in logits])


def top_p(logits: Logits, p: float) -> Logits:
    """Keep the fewest tokens of each row whose probabilities reach p together, at least one.

    Tokens are taken from the most likely on; among equals the lower id comes first.

    Args:
        logits: (B, V).
        p: Mass to keep, above 0 and at most 1; 1 keeps every token.

    Raises:
        SamplingError: p is outside that range.

    Source: Holtzman et al. 2020 (arXiv 1904.09751).
    """
    return _keep(logits, [nucleus(row, p) for row in logits])


def ban(logits: Logits, ids: Sequence[int] | NDArray[np.intp]) -> Logits:
    """Rule out the tokens `ids` in every row.

    Raises:
        SamplingError: nothing is left to choose.
    """
    allowed = logits.copy()
    allowed[:, np.asarray(ids, dtype=np.intp)] = -np.inf
    if not (allowed.max(axis=1) > -np.inf).all():
        raise SamplingError(
            f"all {logits.shape[1]} tokens of the vocabulary are ruled out; at least one must stay",
            hint="ban fewer tokens, or set min_new_tokens to 0",
        )
    return allowed


def most_likely(row: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The ids that top_k keeps of one row (V,), in order.

    Raises:
        SamplingError: k is outside 1..V.
    """
    vocab_size = len(row)
    require(
        1 <= k <= vocab_size, "top_k", k, f"1 to {vocab_size}, the vocabulary", "0 switches it off"
    )
    threshold = _kth_largest(row, k)
    above = np.flatnonzero(row > threshold)
    equal = np.flatnonzero(row == threshold)
    return np.sort(np.concatenate([above, equal[: k - len(above)]]))


def nucleus(row: NDArray[np.float32], p: float) -> NDArray[np.intp]:
    """The ids that top_p keeps of one row (V,), in order.

    Raises:
        SamplingError: p is not above 0 and at most 1.
    """
    require_top_p(p)
    if p == 1:
        return np.arange(len(row))
    depth = row.max() - row  # 0 for the most likely token, inf for one ruled out
    mass = np.exp(-depth)
    # a histogram over depth finds the edge; only the tokens in its bin there are sorted
    bins = (np.minimum(depth, _SPAN) * ((_BINS - 1) / _SPAN)).astype(np.int32)
    cumulative = np.cumsum(np.bincount(bins, weights=mass, minlength=_BINS))
    wanted = p * cumulative[-1]
    edge = int(np.searchsorted(cumulative, wanted))  # the first bin that reaches the mass
    before = cumulative[edge - 1] if edge else 0.0
    inside = np.flatnonzero(bins == edge)
    inside = inside[np.argsort(depth[inside], kind="stable")]
    reached = before + np.cumsum(mass[inside], dtype=np.float64)
    needed = int(np.searchsorted(reached, wanted)) + 1
    kept = bins < edge
    kept[inside[:needed]] = True
    return np.flatnonzero(kept)


def _keep(logits: Logits, ids: Sequence[NDArray[np.intp]]) -> Logits:
    kept = np.full_like(logits, -np.inf)
    for row, out, some in zip(logits, kept, ids, strict=True):
        out[some] = row[some]
    return kept


def _kth_largest(row: NDArray[np.float32], k: int) -> np.float32:
    """The k-th largest entry of `row`, found among the few that can be it."""
    starts = np.arange(0, len(row), _BLOCK)
    candidates = row
    if k <= len(starts):
        # k blocks have a maximum of at least the k-th largest maximum: no k-th entry is below it
        maxima = np.maximum.reduceat(row, starts)
        bound = np.partition(maxima, len(starts) - k)[len(starts) - k]
        candidates = row[row >= bound]
    value: np.float32 = np.partition(candidates, len(candidates) - k)[len(candidates) - k]
    return value
