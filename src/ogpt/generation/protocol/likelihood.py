"""Log-probabilities of running text and of continuations, over any decoder.

Running text is cut into windows. A window holds n_positions tokens; the next one begins `stride`
tokens later and scores only what the last one did not, so every token is scored once, and all but
those of the first window are predicted from more than n_positions - stride tokens. The first token
follows nothing and is not scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import ConfigError, DecoderError
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.logits import Logits, top_k

TopLogProbs = Sequence[tuple[int, float]]
"""Ids and log-probabilities, the most likely first; of equal ones, the lower id."""


def top_log_probs(logits: Logits, normaliser: float, count: int) -> TopLogProbs:
    """Of the `count` most likely tokens, from logits (V,) and their normaliser."""
    if not count:
        return ()
    ids = top_k(logits, count)
    ids = ids[np.argsort(-logits[ids], kind="stable")]
    return [(int(token_id), float(logits[token_id]) - normaliser) for token_id in ids]


def score(
    decoder: Decoder, ids: Iterable[Sequence[int]], stride: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Score running text in the decoder's first slot, window by window.

    Args:
        decoder: Scores; its first slot is left empty.
        ids: The token ids in pieces of any length.
        stride: Tokens from one window to the next, 1 to n_positions; 0: half of n_positions.

    Yields:
        The log-probabilities of a window's new tokens in nats, (T,).

    Raises:
        ConfigError: a stride outside its range.
        DecoderError: a log-probability that is not a number.
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
    """Check that log-probabilities are numbers.

    Raises:
        DecoderError: they are not.
    """
    total = float(log_probs.sum(dtype="float64"))
    if not math.isfinite(total):
        raise DecoderError(
            f"the log-probabilities of {len(log_probs)} tokens sum to {total}; they must be finite "
            "numbers",
            hint="the weights hold NaN or infinite values: use another checkpoint",
        )


class Window(NamedTuple):
    """What is read without being scored, and ids with the token that follows each."""

    context: list[int]
    ids: list[int]
    targets: list[int]


def windows(ids: Iterable[Sequence[int]], n_positions: int, stride: int) -> Iterator[Window]:
    """Cut running text into windows of at most n_positions tokens, `stride` apart.

    Every token but the first is a target once. The last window reaches back to a full one.
    """
    held: list[int] = []
    begin, end = 0, n_positions  # of held, what the next window scores
    for piece in ids:
        held.extend(piece)
        while len(held) > end:  # its last token needs a target
            yield _window(held, begin, end, n_positions)
            begin, end = end, end + stride
        forgotten = max(0, begin - n_positions)
        del held[:forgotten]
        begin, end = begin - forgotten, end - forgotten
    if len(held) - 1 > begin:
        yield _window(held, begin, len(held) - 1, n_positions)


def _window(held: list[int], begin: int, end: int, n_positions: int) -> Window:
    start = max(0, end - n_positions)
    return Window(held[start:begin], held[begin:end], held[begin + 1 : end + 1])


class ChoiceScores(NamedTuple):
    """Of the tokens of a choice."""

    log_probs: list[float]
    top_log_probs: list[TopLogProbs]
    """Of the most likely tokens in the place of each, as many as were asked for."""


def score_choices(
    decoder: Decoder, ids: Sequence[int], choices: Sequence[Sequence[int]], top: int = 0
) -> list[ChoiceScores]:
    """Log-probabilities of the tokens of each choice that follows `ids`, which are read once.

    Args:
        decoder: Scores in its first slot, which is left empty.
        ids: Token ids, at least one.
        choices: Token ids of each, at least one; with `ids` they fit the positions.
        top: How many most likely tokens to tell in the place of each.

    Raises:
        ContextTooLong: a choice outgrows the positions.
        DecoderError: log-probabilities that are not numbers.
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


def check_stride(stride: int, n_positions: int) -> None:
    """Check that windows can be so far apart.

    Raises:
        ConfigError: they cannot.
    """
    if not 0 <= stride <= n_positions:
        raise ConfigError(
            f"stride is {stride}; allowed: 1 to {n_positions}, or 0 for half of it",
            hint="leave it out for half a window",
        )
