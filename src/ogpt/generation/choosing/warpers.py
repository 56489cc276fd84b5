"""Temperature, and filters that keep the tokens to sample from: top-p, min-p, typical-p and so on.

Logits (V,) are those of one text, float32 or float64 without NaN; a token that is ruled out has
-inf. No function sorts the vocabulary, as that would take as long as a good part of a decoding
step.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.logits import Ids, Logits, top_k

_NEAR = 10.0  # tokens farther than this (in nats) are rarely needed to reach p
_FEW = 1024  # entries: sorting so few is as fast as a histogram
_BINS = 1024  # of the histogram in _reaching
_SPAN = 40.0  # range of the histogram in nats; what is farther falls into the last bin


def temperature(logits: Logits, value: float) -> Logits:
    """Logits divided by a temperature: below 1 sharpens the distribution, above 1 flattens it.

    If a tiny temperature would overflow, the logits are first shifted so that the largest is 0,
    which changes no probability.
    """
    limits = np.finfo(logits.dtype)
    divisor = max(value, float(limits.tiny))
    with np.errstate(over="ignore"):  # improbable tokens may become -inf, which is right
        if abs(logits.max() / divisor) > limits.max**0.5:
            logits = logits - logits.max()
        quotient: Logits = logits / divisor
    return quotient


def top_p(logits: Logits, p: float, at_least: int = 1) -> Ids:
    """Nucleus sampling: the smallest set of top tokens with cumulative probability p.

    Of equal tokens, those with the lower ids are kept.

    Args:
        logits: (V,).
        p: Cumulative probability to reach, above 0 and below 1.
        at_least: Minimum number of tokens to keep.

    Returns:
        Ids in ascending order.

    Source: Holtzman et al. 2020 (arXiv 1904.09751).
    """
    depth = logits.max() - logits  # 0 for the most probable token, inf for one that is ruled out
    # sorted by -logits: differences round, so that tokens of equal depth may have other logits
    kept = _nearest(depth, np.exp(-depth), p, -logits)
    return kept if len(kept) >= at_least else top_k(logits, at_least)


def min_p(logits: Logits, p: float, at_least: int = 1) -> Ids:
    """The tokens with at least p times the probability of the most probable one.

    Args:
        logits: (V,).
        p: Above 0, at most 1.
        at_least: Minimum number of tokens to keep.

    Returns:
        Ids in ascending order.

    Source: Nguyen et al. 2024 (arXiv 2407.01082).
    """
    kept = np.flatnonzero(logits - logits.max() >= log(p))
    return kept if len(kept) >= at_least else top_k(logits, at_least)


def typical_p(logits: Logits, p: float, at_least: int = 1) -> Ids:
    """Locally typical sampling: the tokens whose surprisal is closest to the entropy.

    The closest ones are kept until their cumulative probability reaches p, and all that are as
    close as the last of them.

    Args:
        logits: (V,).
        p: Cumulative probability to reach, above 0 and below 1.
        at_least: Minimum number of tokens to keep.

    Returns:
        Ids in ascending order.

    Source: Meister et al. 2023, "Locally typical sampling" (arXiv 2202.00666).
    """
    shifted = logits - logits.max()
    weights = np.exp(shifted)
    total = weights.sum(dtype=np.float64)
    finite = np.maximum(shifted, -1e4)  # -inf * 0 would be NaN; weights are 0 here anyway
    mean = float((weights * finite).sum(dtype=np.float64) / total)
    # |surprisal - entropy| = |-log(probability) + mean log(probability)|: log(total) cancels
    distance = np.abs(mean - shifted)
    kept = _nearest(distance, weights, p)
    if len(kept) < at_least:
        kept = top_k(-distance, at_least)
    return np.flatnonzero(distance <= distance[kept].max())


def epsilon_cutoff(logits: Logits, epsilon: float, at_least: int = 1) -> Ids:
    """Epsilon sampling: the tokens with at least this probability, or else the most probable.

    Args:
        logits: (V,).
        epsilon: Above 0 and below 1.
        at_least: Minimum number of tokens to keep; of equal ones, all are kept.

    Returns:
        Ids in ascending order.

    Source: Hewitt, Manning and Liang 2022, section 4.2 (arXiv 2210.15191).
    """
    probabilities = _softmax(logits)
    return _above(logits, probabilities >= epsilon, at_least)


def eta_cutoff(logits: Logits, epsilon: float, at_least: int = 1) -> Ids:
    """Eta sampling: as epsilon sampling, but the cutoff falls with the entropy.

    It is min(epsilon, sqrt(epsilon) * exp(-entropy)).

    Args:
        logits: (V,).
        epsilon: Above 0 and below 1.
        at_least: Minimum number of tokens to keep; of equal ones, all are kept.

    Returns:
        Ids in ascending order.

    Source: Hewitt, Manning and Liang 2022, section 4.3 (arXiv 2210.15191).
    """
    probabilities = _softmax(logits)
    possible = probabilities[probabilities > 0].astype(np.float64)
    entropy = -float((possible * np.log(possible)).sum())
    eta = min(epsilon, epsilon**0.5 * exp(-entropy))
    return _above(logits, probabilities >= eta, at_least)


def _softmax(logits: Logits) -> Logits:
    weights = np.exp(logits - logits.max())
    probabilities: Logits = weights / weights.sum(dtype=np.float64).astype(weights.dtype)
    return probabilities


def _above(logits: Logits, kept: NDArray[np.bool_], at_least: int) -> Ids:
    """The ids that are kept, and those of the `at_least` largest logits and their equals."""
    lowest = np.partition(logits, -min(at_least, len(logits)))[-min(at_least, len(logits))]
    return np.flatnonzero(kept | (logits >= lowest))


def _nearest(distance: Logits, weights: Logits, p: float, order: Logits | None = None) -> Ids:
    """The fewest entries, nearest first, that have the share p of all weights.

    Args:
        distance: (V,), 0 or more.
        weights: (V,), unnormalized probabilities.
        p: Share of their sum.
        order: Sorts like `distance`, and separates entries that are equal there.

    Returns:
        Ids in ascending order.
    """
    order = distance if order is None else order
    wanted = p * float(weights.sum(dtype=np.float64))
    near = np.flatnonzero(distance <= _NEAR)
    if weights[near].sum(dtype=np.float64) < wanted:
        return _reaching(distance, weights, wanted, order)
    return near[_reaching(distance[near], weights[near], wanted, order[near])]


def _reaching(distance: Logits, weights: Logits, wanted: float, order: Logits) -> Ids:
    """The fewest entries, nearest first, whose weights sum to `wanted`; ids in ascending order."""
    if len(distance) <= _FEW:
        nearest = np.argsort(order, kind="stable")
        reached = np.cumsum(weights[nearest], dtype=np.float64)
        return np.sort(nearest[: int(np.searchsorted(reached, wanted)) + 1])
    # A histogram over distances finds the bin in which the sum is reached; only its entries are
    # sorted.
    bins = (np.minimum(distance, _SPAN) * ((_BINS - 1) / _SPAN)).astype(np.intp)
    exact = weights.astype(np.float64)  # bincount would convert them more slowly
    cumulative = np.cumsum(np.bincount(bins, weights=exact, minlength=_BINS))
    wanted = min(wanted, cumulative[-1])  # both are sums of the same, but round differently
    edge = int(np.searchsorted(cumulative, wanted))  # the first bin that reaches the sum
    before = cumulative[edge - 1] if edge else 0.0
    inside = np.flatnonzero(bins == edge)
    inside = inside[np.argsort(order[inside], kind="stable")]
    reached = before + np.cumsum(exact[inside])
    needed = int(np.searchsorted(reached, wanted)) + 1
    kept = bins < edge
    kept[inside[:needed]] = True
    return np.flatnonzero(kept)
