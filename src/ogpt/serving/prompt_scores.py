"""Log-probabilities of prompts: as work for an engine, or of the prompts that texts read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ogpt.generation.protocol.decoder import Decoder, Part, Scores
from ogpt.generation.protocol.likelihood import TopLogProbs, check_finite, windows
from ogpt.generation.searching.text import Scoring, ScoringOf


class PromptScores(NamedTuple):
    """Log-probabilities of the next tokens of a prompt."""

    number: int
    """Of the prompt."""
    ids: list[int]
    log_probs: Sequence[float | None]
    """None for a token that was not scored."""
    tops: Sequence[TopLogProbs]
    """The most probable tokens at each position, as many as requested."""


def scored_into(found: deque[PromptScores], top: int) -> ScoringOf:
    """Scores prompts while texts read them, so that they are computed once.

    Args:
        found: The scores are appended to it.
        top: Number of most probable tokens to report at each position.
    """

    def of(number: int) -> Scoring:
        return Scoring(top, lambda targets, scores: found.append(_of(number, targets, scores)))

    return of


def prompt_scores(
    prompts: Sequence[Sequence[int]], top: int
) -> Callable[[Decoder], Iterator[PromptScores]]:
    """Work for `Engine.run`: score each token of each prompt but its first.

    A prompt beyond the context length is scored with a sliding window, half of it at a time.

    Args:
        prompts: Token ids.
        top: Number of most probable tokens to report at each position.
    """

    def work(decoder: Decoder) -> Iterator[PromptScores]:
        stride = max(1, decoder.n_positions // 2)
        for number, ids in enumerate(prompts):
            for context, read, targets in windows([ids], decoder.n_positions, stride):
                decoder.free(0)
                if context:
                    decoder.run([Part(0, context, "none")])
                yield _of(number, targets, decoder.score(0, read, targets, top))

    return work


def _of(number: int, targets: Sequence[int], scores: Scores) -> PromptScores:
    check_finite(scores.log_probs)
    pairs = zip(scores.top_ids.tolist(), scores.top_log_probs.tolist(), strict=True)
    tops: list[TopLogProbs] = [list(zip(*each, strict=True)) for each in pairs]
    return PromptScores(number, list(targets), scores.log_probs.tolist(), tops)
