"""What sampling draws from: a temperature, and the tokens that top-k, top-p and the like keep.

The logits are one text's, (V,), float32 or float64 without NaN; a token ruled out has -inf. None
of the functions sorts the vocabulary: beside a step of a few milliseconds their time must not show.
"""

from __future__ import annotations

from math import log

import numpy as np

from ogpt.generation.protocol.logits import Ids, Logits, top_k

_NEAR = 10.0  # most of the mass is seldom farther than this
_FEW = 1024  # are sorted as fast as anything else is done
_BINS = 1024  # of the histogram in _reaching
_SPAN = 40.0  # its range of depths; what lies deeper is sorted if it ever matters


def temperature(logits: Logits, value: float) -> Logits:
    """The logits divided by a temperature: below 1 sharpens, above 1 flattens.

    Where a tiny temperature would overflow, they are first shifted so that the largest is 0,
    which changes no probability.
    """
    limits = np.finfo(logits.dtype)
    divisor = max(value, float(limits.tiny))
    with np.errstate(over="ignore"):  # the unlikely may go to -inf: as they should
        if abs(logits.max() / divisor) > limits.max**0.5:
            logits = logits - logits.max()
        quotient: Logits = logits / divisor
    return quotient


def top_p(logits: Logits, p: float, at_least: int = 1) -> Ids:
    """The ids of the fewest tokens whose probabilities reach p together, in order.

    Tokens are taken from the most likely on; among equals the lower id comes first.

    Args:
        logits: (V,).
        p: Mass to keep, above 0 and below 1.
        at_least: Tokens that stay in any case.

    Source: Holtzman et al. 2020 (arXiv 1904.09751).
    """
    depth = logits.max() - logits  # 0 for the most likely token, inf for one ruled out
    kept = _nearest(depth, np.exp(-depth), p, -logits)  # a difference rounds, a sign does not
    return kept if len(kept) >= at_least else top_k(logits, at_least)


def min_p(logits: Logits, p: float, at_least: int = 1) -> Ids:
    """The ids of the tokens at least p times as likely as the most likely one, in order.

    Args:
        logits: (V,).
        p: Above 0, at most 1.
        at_least: Tokens that stay in any case.

    Source: Nguyen et al. 2024 (arXiv 2407.01082).
    """
    kept = np.flatnonzero(logits - logits.max() >= log(p))
    return kept if len(kept) >= at_least else top_k(logits, at_least)


def typical_p(logits: Logits, p: float, at_least: int = 1) -> Ids:
    """The ids of the tokens whose surprise is nearest to the entropy and that reach p, in order.

    All that are as near as the farthest one kept stay too.

    Args:
        logits: (V,).
        p: Mass to keep, above 0 and below 1.
        at_least: Tokens that stay in any case.

    Source: Meister et al. 2023, "Locally typical sampling" (arXiv 2202.00666).
    """
    shifted = logits - logits.max()
    weights = np.exp(shifted)
    total = weights.sum(dtype=np.float64)
    finite = np.maximum(shifted, -1e4)  # no weight is above 0 there
    mean = float((weights * finite).sum(dtype=np.float64) / total)
    # surprise less entropy: -log(probability) + mean log(probability); log(total) falls out
    distance = np.abs(mean - shifted)
    kept = _nearest(distance, weights, p)
    if len(kept) < at_least:
        kept = top_k(-distance, at_least)
    return np.flatnonzero(distance <= distance[kept].max())


def _nearest(distance: Logits, mass: Logits, p: float, order: Logits | None = None) -> Ids:
    """The ids of the fewest entries, nearest first, that hold p of the mass; in order.

    `order` sorts like `distance`, and tells entries apart that it does not.
    """
    order = distance if order is None else order
    wanted = p * float(mass.sum(dtype=np.float64))
    near = np.flatnonzero(distance <= _NEAR)
    if mass[near].sum(dtype=np.float64) < wanted:
        return _reaching(distance, mass, wanted, order)
    return near[_reaching(distance[near], mass[near], wanted, order[near])]


def _reaching(distance: Logits, mass: Logits, wanted: float, order: Logits) -> Ids:
    """The ids of the fewest entries, nearest first, that hold the wanted mass; in order."""
    if len(distance) <= _FEW:
        nearest = np.argsort(order, kind="stable")
        reached = np.cumsum(mass[nearest], dtype=np.float64)
        return np.sort(nearest[: int(np.searchsorted(reached, wanted)) + 1])
    # a histogram over distances finds the edge; only the entries in its bin there are sorted
    bins = (np.minimum(distance, _SPAN) * ((_BINS - 1) / _SPAN)).astype(np.intp)
    weights = mass.astype(np.float64)  # or bincount converts them, slowly
    cumulative = np.cumsum(np.bincount(bins, weights=weights, minlength=_BINS))
    wanted = min(wanted, cumulative[-1])  # sums differ in their rounding
    edge = int(np.searchsorted(cumulative, wanted))  # the first bin that reaches the mass
    before = cumulative[edge - 1] if edge else 0.0
    inside = np.flatnonzero(bins == edge)
    inside = inside[np.argsort(order[inside], kind="stable")]
    reached = before + np.cumsum(weights[inside])
    needed = int(np.searchsorted(reached, wanted)) + 1
    kept = bins < edge
    kept[inside[:needed]] = True
    return np.flatnonzero(kept)
