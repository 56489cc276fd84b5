"""Logits processors as pure functions: penalties and constraints.

Every function receives the logits (V,) of one text, float32 or float64 without NaN, and returns new
logits of the same shape and dtype. A token that is ruled out has -inf. Ids are within the
vocabulary (`rules` checks them) and other values within the ranges of GenerationSettings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.logits import Logits
from ogpt.generation.protocol.summaries import log_sum_exp


def sequence_bias(
    logits: Logits, ids: Sequence[int], bias: Mapping[tuple[int, ...], float]
) -> Logits:
    """Add a bias to the last token of each sequence whose other tokens end the text.

    Args:
        logits: (V,).
        ids: The text.
        bias: The bias of each sequence; -inf bans it.
    """
    biased = logits.copy()
    for sequence, value in bias.items():
        if _ends_with(ids, sequence[:-1]):
            biased[sequence[-1]] += value
    return biased


def bad_words(logits: Logits, ids: Sequence[int], words: Iterable[Sequence[int]]) -> Logits:
    """Ban the last token of each word whose other tokens end the text."""
    return ban(logits, [word[-1] for word in words if _ends_with(ids, word[:-1])])


def repetition_penalty(logits: Logits, ids: Sequence[int], penalty: float) -> Logits:
    """Penalize tokens already in the text: divide positive logits by a penalty, multiply others.

    Args:
        logits: (V,).
        ids: The text.
        penalty: Above 1 makes these tokens less probable, below 1 more probable.

    Source: Keskar et al. 2019, section 4.1 (arXiv 1909.05858). The paper divides negative logits
    too, which would make these tokens more probable; as transformers, this multiplies them.
    """
    seen = np.asarray(ids, dtype=np.intp)
    found = logits[seen]
    penalised = logits.copy()
    penalised[seen] = np.where(found < 0, found * penalty, found / penalty)
    return penalised


def frequency_and_presence_penalty(
    logits: Logits, written: Sequence[int], frequency: float, presence: float
) -> Logits:
    """Subtract `frequency` from a logit for each time its token was generated, `presence` once.

    Args:
        logits: (V,).
        written: The new tokens, without the prompt.
        frequency: -2 to 2.
        presence: -2 to 2.

    Source: OpenAI's API reference, frequency_penalty and presence_penalty.
    """
    penalised = logits.copy()
    tokens, counts = np.unique(np.asarray(written, dtype=np.intp), return_counts=True)
    penalised[tokens] -= (counts * frequency + presence).astype(logits.dtype)
    return penalised


def no_repeat_ngram(
    logits: Logits, ids: Sequence[int], size: int, source: Sequence[int] | None = None
) -> Logits:
    """Ban each token that would repeat an n-gram of `size` tokens.

    Args:
        logits: (V,).
        ids: The text.
        size: 1 or more.
        source: Where the n-gram occurred before; None: in the text itself.

    Source: Paulus, Xiong and Socher 2018, section 2.5 (arXiv 1705.04304), for trigrams of words.
    """
    source = ids if source is None else source
    if min(len(source), len(ids) + 1) < size:
        return logits
    text = np.asarray(source, dtype=np.intp)
    latest = np.asarray(ids[len(ids) - size + 1 :], dtype=np.intp)
    repeated = np.ones(len(text) - size + 1, dtype=bool)
    for place, token_id in enumerate(latest):
        repeated &= text[place : place + len(repeated)] == token_id
    return ban(logits, text[size - 1 :][repeated])


def decay_length(logits: Logits, ends: Sequence[int], since: int, factor: float) -> Logits:
    """Raise the logits of end tokens by |logit| * (factor ** since - 1).

    Args:
        logits: (V,).
        ends: The end tokens.
        since: New tokens since the start of the decay; below 1 nothing changes.
        factor: Above 1 raises, below 1 lowers.
    """
    if since < 1:
        return logits
    raised = logits.copy()
    places = np.asarray(ends, dtype=np.intp)
    found = raised[places]
    with np.errstate(over="ignore", invalid="ignore"):  # -inf stays: the token is ruled out
        more = np.abs(found) * (np.float64(factor) ** since - 1)
    most = np.finfo(logits.dtype).max / 4
    raised[places] = np.where(np.isfinite(found), found + np.minimum(more, most), found)
    return raised


def renormalize(logits: Logits) -> Logits:
    """Log-probabilities: logits less the log of the sum of their exponentials."""
    return logits - logits.dtype.type(log_sum_exp(logits))


def ban(logits: Logits, ids: Sequence[int] | NDArray[np.intp]) -> Logits:
    """Ban the tokens `ids`."""
    allowed = logits.copy()
    allowed[np.asarray(ids, dtype=np.intp)] = -np.inf
    return allowed


def allow(logits: Logits, ids: Sequence[int] | NDArray[np.intp]) -> Logits:
    """Ban all tokens except `ids`."""
    allowed = np.full_like(logits, -np.inf)
    places = np.asarray(ids, dtype=np.intp)
    allowed[places] = logits[places]
    return allowed


def force(logits: Logits, ids: Sequence[int] | NDArray[np.intp]) -> Logits:
    """Ban all tokens except `ids`, whose logits become 0, as in transformers."""
    forced = np.full_like(logits, -np.inf)
    forced[np.asarray(ids, dtype=np.intp)] = 0
    return forced


def _ends_with(ids: Sequence[int], tokens: Sequence[int]) -> bool:
    return not tokens or tuple(ids[-len(tokens) :]) == tuple(tokens)
