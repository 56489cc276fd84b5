"""The score of a text, from the log-probabilities of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ogpt.errors import ContextTooLong, SamplingError
from ogpt.generation.protocol.likelihood import Choices, cut_prefix
from ogpt.generation.protocol.perplexity import perplexity
from ogpt.generation.texts.request import check_unicode, tell_unknown
from ogpt.generation.texts.writer import TokenizerLike


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probability of a text under a model."""

    text: str
    log_prob: float
    """Sum over the scored tokens, in nats. The first token of a text without context is not
    scored."""
    mean: float
    """log_prob per scored token."""
    per_byte: float
    """log_prob per UTF-8 byte of the text, which compares models of different vocabularies. Tokens
    that are not scored count with the mean."""
    perplexity: float
    """exp(-mean)."""
    tokens: list[str]
    """The scored tokens."""
    log_probs: list[float]
    """Log-probability of each of them."""


def encode_scored(tokenizer: TokenizerLike, text: str, least: int) -> list[int]:
    """The ids of a text to score, or of its context.

    Args:
        tokenizer: The model's.
        text: To encode.
        least: Number of tokens that it must have.

    Raises:
        SamplingError: fewer tokens, or half a surrogate pair.
    """
    check_unicode("the text", text)
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) < least:
        raise SamplingError(
            f"the text {text!r} has {len(ids)} tokens; at least {least} "
            f"{'is' if least == 1 else 'are'} needed",
            hint="pass at least one word"
            if least == 1
            else "pass a longer text: the first token has no context and is not scored",
        )
    tell_unknown(tokenizer, ids)
    return ids


def fit_choices(ids: list[int], choices: list[list[int]], n_positions: int) -> Choices:
    """A context and its choices, which fit the model together.

    The start of the context is cut, with a notice, where it leaves no room for the longest choice.

    Args:
        ids: Of the context, one or more.
        choices: Ids of each choice, one or more; at least one choice.
        n_positions: Context length of the model.

    Raises:
        ContextTooLong: a choice is longer than the context length.
    """
    longest = max(map(len, choices))
    if longest > n_positions:
        raise ContextTooLong(
            f"a choice has {longest} tokens; the model has {n_positions} positions",
            hint="score shorter choices",
        )
    return Choices(cut_prefix(ids, longest, n_positions), choices)


def score_of(
    tokenizer: TokenizerLike, text: str, ids: Sequence[int], log_probs: Sequence[float]
) -> Score:
    """The score of a text.

    Args:
        tokenizer: The model's.
        text: As it was passed.
        ids: All of its tokens.
        log_probs: Of the last ones, or of all.
    """
    total = float(np.sum(log_probs, dtype=np.float64))
    mean = total / len(log_probs)
    return Score(
        text=text,
        log_prob=total,
        mean=mean,
        per_byte=mean * len(ids) / len(text.encode(errors="replace")),
        perplexity=perplexity(-mean),
        tokens=tokenizer.convert_ids_to_tokens(list(ids[-len(log_probs) :])),
        log_probs=list(log_probs),
    )
