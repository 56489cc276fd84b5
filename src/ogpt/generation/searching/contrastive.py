"""Contrastive search over any decoder with hidden states: probable tokens that do not repeat.

At every step the top_k most probable candidates are processed, each in a slot of its own. The one
with the highest (1 - penalty_alpha) * probability - penalty_alpha * similarity is chosen, where the
similarity is the greatest cosine between its last hidden state and those of all tokens before it
(Su et al. 2022, "A contrastive framework for neural text generation", arXiv 2202.06417).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np

from ogpt.errors import DecoderError, SamplingError
from ogpt.generation.choosing.rules import Rule, apply, require_choice
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.likelihood import top_log_probs
from ogpt.generation.protocol.logits import Ids, Logits, top_k
from ogpt.generation.protocol.summaries import log_sum_exp
from ogpt.generation.searching.sampling import Ends, never, tokens_until
from ogpt.generation.searching.speculation import Pace
from ogpt.generation.searching.stepper import Stepper
from ogpt.generation.searching.text import (
    Choosing,
    Event,
    Open,
    OpenPrompt,
    Prefill,
    Row,
    Text,
    Token,
    Watch,
    check_length,
    choosing_of,
    finish_reason,
    opening,
)


class _Choice(NamedTuple):
    """Candidates for the next token, the n-th in the n-th slot."""

    ids: Ids
    probabilities: Logits


class Contrastive(Text):
    """The contrastive search of one prompt. It has no sliding window.

    Args:
        decoder: Where it will run; with hidden states.
        prompt: Token ids.
        choosing: How tokens are chosen.
        open_prompt: Reads the prompt in place of the decoder, with hidden states.

    Raises:
        ContextTooLong: the prompt and max_new_tokens exceed the context length.
        DecoderError: the decoder has no hidden states.
        SamplingError: top_k is 0.
    """

    hidden = True

    def __init__(
        self,
        decoder: Decoder,
        prompt: Sequence[int],
        choosing: Choosing,
        open_prompt: Open | None = None,
    ) -> None:
        settings = choosing.settings
        if not decoder.abilities.hidden_states:
            raise DecoderError(
                "this decoder has no hidden states; contrastive search compares them",
                hint="use the torch decoder, or set penalty_alpha to 0",
            )
        if not settings.top_k:
            raise SamplingError(
                "top_k is 0; allowed: 1 or more candidates in contrastive search",
                hint="4 is a common choice",
            )
        # unlike in other searches the last token is processed too, before it is chosen
        check_length(decoder.n_positions, prompt, settings.max_new_tokens)
        self.n_slots = settings.top_k
        self.finite = settings.remove_invalid_values
        self._decoder = decoder
        self._prompt = list(prompt)
        self._choosing = choosing
        self._open = open_prompt
        self._row: Row | None = None  # logits of the next token

    def start(self, number: int, slots: Sequence[int]) -> None:
        """Begin; see Text."""
        self._continuation = number
        self._slots = slots
        self._chosen = slots[0]  # holds all tokens
        self._late = self._choosing.deadline()
        self._ids = list(self._prompt)

    def wants(self, pace: Pace | None) -> Prefill | Sequence[Part]:
        """The prompt, then each candidate for the next token; see Text."""
        if self._row is None:
            return Prefill(self._prompt, self._open)
        for slot in self._slots:
            if slot != self._chosen:
                self._decoder.copy(self._chosen, slot)
        self._choice = self._candidates(self._row)
        pairs = zip(self._slots, self._choice.ids.tolist(), strict=False)  # rules may leave fewer
        return [Part(slot, [token_id]) for slot, token_id in pairs]

    def take(self, rows: Sequence[Row], hidden: Sequence[Logits]) -> Sequence[Event]:
        """None after the prompt, then the best candidate; see Text."""
        directions = _directions(np.concatenate(hidden))
        if self._row is None:
            self._row, self._before = rows[0], directions
            return []
        settings, top = self._choosing.settings, self._choosing.top_logprobs
        best = _choose(directions, self._before, self._choice, settings.penalty_alpha)
        token_id = int(self._choice.ids[best])
        self._ids.append(token_id)
        written = len(self._ids) - len(self._prompt)
        reason = finish_reason(settings, token_id, written, self._late())
        logits, _, normalizer = self._row
        log_prob = float(logits[token_id]) - normalizer
        tops = top_log_probs(logits, normalizer, top)
        self.finished = reason is not None
        self._row, self._chosen = rows[best], self._slots[best]
        self._before = np.concatenate([self._before, directions[best : best + 1]])
        return [Token(self._continuation, token_id, log_prob, reason, tops)]

    def held(self) -> Sequence[int]:
        """The prompt, with which all slots begin; see Text."""
        return () if self._open is not None else self._prompt

    def _candidates(self, row: Row) -> _Choice:
        """The top_k most probable tokens, or as many as the rules leave."""
        every = (*self._choosing.rules, *self._choosing.last)
        allowed = apply(every, self._ids, len(self._prompt), row.logits)
        require_choice(allowed)
        if self._choosing.watch is not None:
            self._choosing.watch(self._continuation, row.logits, allowed)
        ids = top_k(allowed, self.n_slots)
        ids = ids[allowed[ids] > -np.inf]
        return _Choice(ids, np.exp(allowed[ids] - log_sum_exp(allowed)))


def contrastive_search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    ends: Ends = never,
    extra: Sequence[Rule] = (),
    watch: Watch | None = None,
    open_prompt: OpenPrompt | None = None,
    top_logprobs: int = 0,
) -> Generator[Token, None, None]:
    """Continue each prompt once; yield tokens as they come.

    All slots of the decoder are used and left empty, also when the generator is closed early.
    Prompts beyond the slots wait.

    Args:
        decoder: With hidden states, and top_k slots at least.
        prompts: Token ids, at least one each.
        settings: penalty_alpha, top_k, and when a continuation ends.
        ends: Ends a continuation early, for example at a stop string.
        extra: Custom rules, applied after those of the settings.
        watch: Receives the logits of each step, before and after the rules.
        open_prompt: Reads a prompt in place of the decoder, with hidden states.
        top_logprobs: Number of most probable tokens to report at each step; 0 disables.

    Raises:
        ContextTooLong: a prompt and max_new_tokens exceed the context length.
        DecoderError: no hidden states, too few slots, or logits that are not finite.
        SamplingError: top_k is 0, or no token is left to choose.
        TokenOutOfRange: a prompt or setting has an id outside the vocabulary.
    """
    choosing = choosing_of(settings, decoder.vocab_size, extra, watch, top_logprobs)
    stepper = Stepper(decoder, prompt_tokens=0)
    for place, prompt in enumerate(prompts):
        opened = opening(open_prompt, place, hidden=True)
        stepper.add(Contrastive(decoder, prompt, choosing(place), opened))
    yield from tokens_until(stepper, ends)


def _choose(directions: Logits, before: Logits, choice: _Choice, alpha: float) -> int:
    """The number of the best candidate.

    Args:
        directions: Of the candidates, (K, C).
        before: Of the tokens before them, (T, C).
        choice: The K candidates.
        alpha: penalty_alpha.
    """
    similarity = (directions @ before.T).max(axis=1)
    return int(np.argmax((1 - alpha) * choice.probabilities - alpha * similarity))


def _directions(hidden: Logits) -> Logits:
    """Hidden states (T, C) as vectors of length 1; a zero stays zero."""
    lengths = np.linalg.norm(hidden, axis=1, keepdims=True)
    directions: Logits = hidden / np.maximum(lengths, np.finfo(hidden.dtype).tiny)
    return directions
