"""Summaries of rows of logits: the most probable token, and the log of the normalizer.

Searches need both for every token, and call `Abilities.summarize`. A decoder with a faster
implementation than this one sets it there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DecoderError
from ogpt.generation.protocol.logits import Logits, block_sums


class Summary(NamedTuple):
    """Of N rows of logits. The summary of a row is bit-identical alone and among others."""

    best: NDArray[np.intp]
    """(N,) the id of the largest logit; of equal ones, the lowest id."""
    normalizers: NDArray[np.float64]
    """(N,) log of the sum of the exponentials: log-probability = logit - normalizer."""


def summarize(logits: Logits) -> Summary:
    """Summarize logits (N, V).

    Raises:
        DecoderError: a logit is NaN or infinite.
    """
    best = logits.argmax(axis=1)  # numpy returns the place of a NaN, if there is one
    pairs = zip(logits, best, strict=True)
    return Summary(best, np.array([_log_sum_exp(row, row[at]) for row, at in pairs]))


def log_sum_exp(logits: Logits) -> float:
    """The log of the sum of the exponentials of logits (V,).

    Raises:
        DecoderError: a logit is NaN or infinite.
    """
    return _log_sum_exp(logits, logits.max())


def check_largest(logit: float | np.floating[Any]) -> None:
    """Check the largest logit of a row, which is NaN where any logit is.

    Raises:
        DecoderError: it is NaN or infinite.
    """
    if not np.isfinite(logit):
        raise DecoderError(
            f"the model's largest logit is {logit}; allowed: finite numbers",
            hint="the weights hold NaN or infinite values: use another checkpoint",
        )


def _log_sum_exp(logits: Logits, largest: np.floating[Any]) -> float:
    check_largest(largest)
    weights = logits - largest
    np.exp(weights, out=weights)
    return float(largest) + float(np.log(block_sums(weights).sum()))
