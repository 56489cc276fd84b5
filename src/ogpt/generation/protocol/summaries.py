"""What rows of logits come to: the most likely token of each, and what normalises it.

Searches ask for it at every token, by `Abilities.summarize`; a decoder that knows a faster way than
this one puts it there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DecoderError
from ogpt.generation.protocol.logits import Logits, block_sums


class Summary(NamedTuple):
    """Of N rows of logits, each as if it were alone, to the bit."""

    best: NDArray[np.intp]
    """(N,) the id of the largest logit; of equal ones, the lowest."""
    normalisers: NDArray[np.float64]
    """(N,) the logarithm of the sum of the exponentials."""


def summarize(logits: Logits) -> Summary:
    """The summary of logits (N, V).

    Raises:
        DecoderError: a row's logits are not numbers.
    """
    best = logits.argmax(axis=1)  # NaN is larger than all
    pairs = zip(logits, best, strict=True)
    return Summary(best, np.array([_log_sum_exp(row, row[at]) for row, at in pairs]))


def log_sum_exp(logits: Logits) -> float:
    """The logarithm of what normalises the logits (V,).

    Raises:
        DecoderError: the logits are not numbers.
    """
    return _log_sum_exp(logits, logits.max())


def check_largest(logit: float | np.floating[Any]) -> None:
    """Check the largest of a row of logits, which is NaN where one of them is.

    Raises:
        DecoderError: it is no finite number.
    """
    if not np.isfinite(logit):
        raise DecoderError(
            f"the model's largest logit is {logit}; it must be a finite number",
            hint="the weights hold NaN or infinite values: use another checkpoint",
        )


def _log_sum_exp(logits: Logits, largest: np.floating[Any]) -> float:
    check_largest(largest)
    weights = logits - largest
    np.exp(weights, out=weights)
    return float(largest) + float(np.log(block_sums(weights).sum()))
