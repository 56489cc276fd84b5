"""Log-probabilities of running text and of candidate continuations, with any decoder.

Running text is scored with a sliding window of n_positions tokens. The next window starts `stride`
tokens later and scores only the tokens that the last one did not. Every token is therefore scored
once, and each token after the first window has more than n_positions - stride tokens of context.
The first token of a text has no context and is not scored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import ConfigError, DecoderError
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.logits import Logits, top_k
from ogpt.notices import tell

TopLogProbs = Sequence[tuple[int, float]]
"""Ids and log-probabilities, the most probable first; of equal ones, the lower id."""


def top_log_probs(logits: Logits, log_normalizer: float, count: int) -> TopLogProbs:
    """The `count` most probable tokens, from logits (V,) and the log of their normalizer."""
    if not count:
        return ()
    ids = top_k(logits, count)
    ids = ids[np.argsort(-logits[ids], kind="stable")]
    return [(int(token_id), float(logits[token_id]) - log_normalizer) for token_id in ids]


def cut_prefix(ids: list[int], longest: int, n_positions: int) -> list[int]:
    """The end of a context that leaves room for its continuations, cut with a notice.

    Args:
        ids: Of the context.
        longest: Tokens of the longest continuation; the last one is only predicted.
        n_positions: Context length.
    """
    kept = n_positions - longest + 1
    if len(ids) > kept > 0:
        tell("prefix-cut", tokens=len(ids), kept=kept, n_positions=n_positions)
        return ids[-kept:]
    return ids


def score(
    decoder: Decoder, ids: Iterable[Sequence[int]], stride: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Compute log-probabilities of running text, window by window.

    Args:
        decoder: Its first slot is used, and left empty.
        ids: Token ids in pieces of any length.
        stride: Tokens between the starts of two windows, 1 to n_positions; 0 uses half of
            n_positions.

    Yields:
        Log-probabilities in nats of the tokens that a window scores, (T,).

    Raises:
        ConfigError: a stride outside its range.
        DecoderError: a log-probability that is not finite.
        TokenOutOfRange: an id outside the vocabulary.
    """
    check_stride(stride, decoder.n_positions)
    stride = stride or max(1, decoder.n_positions // 2)
    try:
        for window in windows(ids, decoder.n_positions, stride):
            decoder.free(0)
            if window.context:
                decoder.run([Part(0, window.context, "none")])
            log_probs = decoder.score(0, window.ids, window.targets).log_probs
            check_finite(log_probs)
            yield log_probs
    finally:
        decoder.free(0)


def check_finite(log_probs: NDArray[np.float32]) -> None:
    """Check that log-probabilities are finite.

    Raises:
        DecoderError: one is NaN or infinite.
    """
    total = float(log_probs.sum(dtype="float64"))
    if not math.isfinite(total):
        raise DecoderError(
            f"the log-probabilities of {len(log_probs)} tokens sum to {total}; allowed: finite "
            "numbers",
            hint="the weights hold NaN or infinite values: use another checkpoint",
        )


class Window(NamedTuple):
    """Tokens that are context only, and ids with the target that follows each."""

    context: list[int]
    ids: list[int]
    targets: list[int]


def windows(ids: Iterable[Sequence[int]], n_positions: int, stride: int) -> Iterator[Window]:
    """Cut running text into windows of at most n_positions tokens, `stride` apart.

    Every token but the first is a target once. The last window has as much context as fits.
    """
    held: list[int] = []
    begin, end = 0, n_positions  # places in `held` that the next window scores
    for piece in ids:
        held.extend(piece)
        while len(held) > end:  # the target of its last token is there too
            yield _window(held, begin, end, n_positions)
            begin, end = end, end + stride
        dropped = max(0, begin - n_positions)
        del held[:dropped]
        begin, end = begin - dropped, end - dropped
    if len(held) - 1 > begin:
        yield _window(held, begin, len(held) - 1, n_positions)


def _window(held: list[int], begin: int, end: int, n_positions: int) -> Window:
    start = max(0, end - n_positions)
    return Window(held[start:begin], held[begin:end], held[begin + 1 : end + 1])


class ChoiceScores(NamedTuple):
    """Log-probabilities of the tokens of one choice."""

    log_probs: list[float]
    top_log_probs: list[TopLogProbs]
    """The most probable tokens at each position, as many as requested."""


def score_choices(
    decoder: Decoder, ids: Sequence[int], choices: Sequence[Sequence[int]], top: int = 0
) -> list[ChoiceScores]:
    """Compute log-probabilities of each choice as a continuation of `ids`.

    The decoder processes `ids` once for all choices.

    Args:
        decoder: Its first slot is used, and left empty.
        ids: Token ids, at least one.
        choices: Token ids of each choice, at least one; together with `ids` they fit the context.
        top: Number of most probable tokens to report at each position.

    Raises:
        ContextTooLong: `ids` and a choice exceed the context length.
        DecoderError: log-probabilities that are not finite.
        TokenOutOfRange: an id outside the vocabulary.
    """
    *before, last = ids
    found = []
    try:
        decoder.free(0)
        if before:
            decoder.run([Part(0, before, "none")])
        for choice in choices:
            scores = decoder.score(0, [last, *choice[:-1]], choice, top)
            check_finite(scores.log_probs)
            pairs = zip(scores.top_ids.tolist(), scores.top_log_probs.tolist(), strict=True)
            tops: list[TopLogProbs] = [list(zip(*each, strict=True)) for each in pairs]
            found.append(ChoiceScores(scores.log_probs.tolist(), tops))
            decoder.truncate(0, len(before))
    finally:
        decoder.free(0)
    return found


class Choices(NamedTuple):
    """Token ids of texts, each of which continues the same context."""

    context: list[int]
    """One token or more."""
    ids: list[list[int]]
    """Of each choice, one token or more. With the context and without its last token, which is only
    predicted, each fits the context length."""


Scorer = Callable[[Sequence[Choices]], list[list[NDArray[np.float32]]]]
"""Log-probabilities in nats, (T,), of the tokens of each choice of each context. Raises
DecoderError where one is not finite."""


def decoder_scorer(decoder: Decoder) -> Scorer:
    """A scorer that computes with a decoder, one context after the other.

    Args:
        decoder: Its first slot is used, and left empty.
    """

    def score(parts: Sequence[Choices]) -> list[list[NDArray[np.float32]]]:
        return [
            [
                np.array(found.log_probs, dtype=np.float32)
                for found in score_choices(decoder, part.context, part.ids)
            ]
            for part in parts
        ]

    return score


def check_stride(stride: int, n_positions: int) -> None:
    """Check the stride of a sliding window.

    Raises:
        ConfigError: it is outside 0 to n_positions.
    """
    if not 0 <= stride <= n_positions:
        raise ConfigError(
            f"stride is {stride}; allowed: 0 to {n_positions}",
            hint="omit it to use half a window",
        )
