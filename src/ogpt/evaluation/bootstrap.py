"""Percentile bootstrap intervals of the measures, for all resamples at once.

A resample draws as many examples as there are, with replacement. It is stored as the number of
times that each distinct pair of gold label and prediction occurs in it: a few cells for classes,
however many examples there are. Each measure here is a function of these counts, and equals that of
scikit-learn or SciPy on the repeated examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RESAMPLES = 1_000
LEVEL = 0.95
_NORMAL = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""Quantile of the normal distribution for LEVEL."""
_CELLS = 1 << 22
"""Counts that are held at once, 32 MiB."""


class Pairs(NamedTuple):
    """Distinct pairs of gold label and prediction; a row of several labels is one of them."""

    gold: Array
    """(U,) classes or scores, or (U, labels) of 0 and 1."""
    found: Array
    """As gold."""
    times: NDArray[np.int64]
    """(U,), how often each pair occurs."""


Counted = Callable[[Array, Array, Array], Array]
"""Counts (R, U), gold and predictions of U pairs -> (R,) scores; NaN where one is not defined."""


def distinct(gold: Array, found: Array) -> Pairs:
    """Group equal pairs of gold labels and predictions, both (N,) or (N, labels)."""
    n = len(gold)
    both = np.concatenate([gold.reshape(n, -1), found.reshape(n, -1)], 1, dtype=np.float64)
    _, first, times = np.unique(both, axis=0, return_index=True, return_counts=True)
    return Pairs(gold[first], found[first], times)


def interval(measure: Counted, pairs: Pairs, *, seed: int = 0) -> tuple[float, float]:
    """The middle 95 % of a measure over resampled examples; NaN if it is defined in none.

    Where all resamples have one score, as where every example is right, that interval would have no
    width. A share then has Wilson's interval (Wilson 1927), and any other measure NaN: none.
    """
    random = np.random.default_rng(seed)
    n, at_once = int(pairs.times.sum()), max(1, _CELLS // len(pairs.times))
    values: list[Array] = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for first in range(0, RESAMPLES, at_once):
            rows = min(at_once, RESAMPLES - first)
            counts = random.multinomial(n, pairs.times / n, size=rows).astype(np.float64)
            values.append(measure(counts, pairs.gold, pairs.found))
    low, high = middle(np.concatenate(values))
    if low < high:
        return low, high
    share = measure is accuracy or (measure is micro_f1 and pairs.gold.ndim == 1)
    return wilson(low, n) if share else (np.nan, np.nan)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n examples."""
    square = _NORMAL**2
    centre = share + square / (2 * n)
    half = _NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low, high = ((centre + side * half) / (1 + square / n) for side in (-1, 1))
    return max(0.0, low), min(1.0, high)


def middle(values: Array) -> tuple[float, float]:
    """The quantiles between which LEVEL of the values lie; those that are NaN do not count."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


# the measures


def accuracy(counts: Array, gold: Array, found: Array) -> Array:
    """Share of the examples all of whose labels are right."""
    right = (gold == found).reshape(len(gold), -1).all(-1)
    share: Array = counts @ right / counts.sum(-1)
    return share


def f1_of(positive: int) -> Counted:
    """F1 of one class."""

    def f1(counts: Array, gold: Array, found: Array) -> Array:
        of_class = (gold == positive)[:, None], (found == positive)[:, None]
        return _f1_by_column(counts, *of_class)[:, 0]

    return f1


def macro_f1(counts: Array, gold: Array, found: Array) -> Array:
    """Mean F1 of all labels, or of the classes that occur in a resample."""
    if gold.ndim > 1:
        labels: Array = _f1_by_column(counts, gold > 0, found > 0).mean(-1)
        return labels
    gold, found = _one_hot(gold, found)
    occurs = counts @ (gold | found) > 0
    mean: Array = _f1_by_column(counts, gold, found).sum(-1) / occurs.sum(-1)
    return mean


def micro_f1(counts: Array, gold: Array, found: Array) -> Array:
    """F1 of all labels together; of single classes it is the accuracy."""
    if gold.ndim == 1:
        return accuracy(counts, gold, found)
    both, either = ((gold > 0) & (found > 0)).sum(-1), (gold > 0).sum(-1) + (found > 0).sum(-1)
    return _ratio(2 * (counts @ both), counts @ either)


def matthews(counts: Array, gold: Array, found: Array) -> Array:
    """Matthews correlation of classes (Gorodkin 2004); 0 where all are of one class."""
    n = counts.sum(-1)
    right = counts @ (gold == found)
    golds, founds = (counts @ each for each in _one_hot(gold, found))  # (R, classes) each
    joint = right * n - (golds * founds).sum(-1)
    spread = np.sqrt((n**2 - (golds**2).sum(-1)) * (n**2 - (founds**2).sum(-1)))
    return _ratio(joint, spread)


def pearson(counts: Array, gold: Array, found: Array) -> Array:
    """Linear correlation of scores; NaN where all are equal."""
    shape = counts.shape
    return _correlation(counts, np.broadcast_to(gold, shape), np.broadcast_to(found, shape))


def spearman(counts: Array, gold: Array, found: Array) -> Array:
    """Correlation of the ranks of scores; NaN where all are equal."""
    return _correlation(counts, _ranks(counts, gold), _ranks(counts, found))


def mse(counts: Array, gold: Array, found: Array) -> Array:
    """Mean squared error of scores."""
    mean: Array = counts @ (gold - found) ** 2 / counts.sum(-1)
    return mean


def _one_hot(gold: Array, found: Array) -> tuple[Array, Array]:
    """(U, classes) each, bool."""
    classes = np.union1d(gold, found)
    return gold[:, None] == classes, found[:, None] == classes


def _f1_by_column(counts: Array, gold: Array, found: Array) -> Array:
    """F1 of each column (R, columns), from (U, columns) bool; 0 for one that does not occur."""
    both = counts @ (gold & found)
    return _ratio(2 * both, counts @ gold.astype(np.int64) + counts @ found.astype(np.int64))


def _ratio(above: Array, below: Array) -> Array:
    """The quotient, 0 where it is 0 / 0."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)


def _ranks(counts: Array, values: Array) -> Array:
    """Ranks (R, U) of values (U,) that occur `counts` times; equal ones have their mean rank."""
    known, place = np.unique(values, return_inverse=True)
    times = np.zeros((len(counts), len(known)))
    np.add.at(times.T, place, counts.T)
    ranks: Array = times.cumsum(-1) - (times - 1) / 2
    return ranks[:, place]


def _correlation(counts: Array, x: Array, y: Array) -> Array:
    """Pearson correlation of x and y, (R, U) each, by counts."""
    n = counts.sum(-1, keepdims=True)
    x = x - (counts * x).sum(-1, keepdims=True) / n
    y = y - (counts * y).sum(-1, keepdims=True) / n
    varies = [np.where(counts > 0, np.abs(each), 0).max(-1) > 1e-12 for each in (x, y)]
    joint = (counts * x * y).sum(-1)
    spread = np.sqrt((counts * x**2).sum(-1) * (counts * y**2).sum(-1))
    return np.where(varies[0] & varies[1], joint / spread, np.nan)
