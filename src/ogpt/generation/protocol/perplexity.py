"""Perplexity and bits per byte: a mean loss in the two units that people compare."""

from __future__ import annotations

import math

LARGEST_LOSS = 700.0
"""Nats from which exp() is taken as infinite; a Python float overflows just above."""


def perplexity(loss: float) -> float:
    """exp(loss), for a mean loss in nats per token; infinite where that overflows.

    Only models of one vocabulary can be compared by it.
    """
    return math.exp(loss) if loss < LARGEST_LOSS else math.inf


def bits_per_byte(loss: float, tokens: int, text_bytes: int) -> float:
    """Bits per UTF-8 byte of a text, for a mean loss in nats per token over its `tokens` tokens.

    Comparable between vocabularies (Gao et al. 2020, "The Pile", section 3.1).
    """
    return loss * tokens / math.log(2) / text_bytes
