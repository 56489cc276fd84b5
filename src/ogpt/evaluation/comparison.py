"""How two models of one vocabulary predict the same text: loss, KL divergence, agreement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DataError, DecoderError
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.likelihood import windows
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.protocol.perplexity import perplexity
from ogpt.reporting import Progress, Reporter, silent

_ROWS = 32  # logits of both models in memory at once


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two models predict the same text, token by token."""

    tokens: int
    """Predicted tokens: all of the text but the first."""
    original_loss: float
    """Nats per token of the original model."""
    loss: float
    """Nats per token of the other model."""
    original_perplexity: float
    perplexity: float
    kl_divergence: float
    """Mean of KL(original || other) over the tokens, in nats."""
    top_1_agreement: float
    """Share of the tokens for which both models have the same top token."""


def compare(
    original: Decoder,
    other: Decoder,
    ids: Iterable[Sequence[int]],
    total: int = 0,
    reporter: Reporter = silent,
) -> Comparison:
    """Compare two models of one vocabulary on running text, with windows that overlap by half.

    Args:
        original: Scores in its first slot, which is left empty.
        other: The same.
        ids: Token ids in pieces of any length.
        total: Expected number of tokens; 0: unknown.
        reporter: Receives progress events.

    Raises:
        DataError: fewer than 2 tokens.
        DecoderError: logits that are not finite.
    """
    progress = Progress(reporter, "comparing", max(total - 1, 0), "tokens")
    tokens = same = 0
    losses = np.zeros(2)
    divergence = 0.0
    for log_probs, targets in _log_probs((original, other), ids):
        one, two = log_probs
        rows = np.arange(len(targets))
        losses -= [one[rows, targets].sum(), two[rows, targets].sum()]
        divergence += float((np.exp(one) * (one - two)).sum())
        same += int((one.argmax(1) == two.argmax(1)).sum())
        tokens += len(targets)
        progress(tokens)
    if not tokens:
        raise DataError(
            "the text has fewer than 2 tokens; the first token has no context and is not predicted",
            hint="compare on a longer text",
        )
    progress.total = tokens
    progress(tokens)
    first, second = (losses / tokens).tolist()
    return Comparison(
        tokens=tokens,
        original_loss=first,
        loss=second,
        original_perplexity=perplexity(first),
        perplexity=perplexity(second),
        kl_divergence=divergence / tokens,
        top_1_agreement=same / tokens,
    )


def _log_probs(
    decoders: Sequence[Decoder], ids: Iterable[Sequence[int]]
) -> Iterator[tuple[list[NDArray[np.float64]], list[int]]]:
    """Each decoder's log-probabilities (T, V) and the targets (T,), a few tokens at a time."""
    n_positions = min(decoder.n_positions for decoder in decoders)
    try:
        for window in windows(ids, n_positions, max(1, n_positions // 2)):
            for decoder in decoders:
                decoder.free(0)
                if window.context:
                    decoder.run([Part(0, window.context, "none")])
            for at in range(0, len(window.ids), _ROWS):
                part, targets = window.ids[at : at + _ROWS], window.targets[at : at + _ROWS]
                parts = [Part(0, part, "all")]
                yield [_normalized(decoder.run(parts).logits) for decoder in decoders], targets
    finally:
        for decoder in decoders:
            decoder.free(0)


def _normalized(logits: Logits) -> NDArray[np.float64]:
    """Log-probabilities (T, V) of logits."""
    wide: NDArray[np.float64] = np.array(logits, np.float64)
    if not np.isfinite(wide).all():
        raise DecoderError(
            f"{int((~np.isfinite(wide)).sum())} of {wide.size} logits are NaN or infinite; they "
            "must be finite numbers",
            hint="the weights are too large for this precision: use another checkpoint",
        )
    wide -= wide.max(1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(1, keepdims=True))
    return wide
