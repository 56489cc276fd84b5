"""Contrastive search over any decoder that offers hidden states: likely, but not said before.

At every token the top_k most likely candidates are read, each in a slot of its own. The one with
the highest (1 - penalty_alpha) * probability - penalty_alpha * likeness is taken, where likeness
is the greatest cosine between its last hidden state and those of all tokens before it
(Su et al. 2022, "A contrastive framework for neural text generation", arXiv 2202.06417).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ogpt.errors import DecoderError, SamplingError
from ogpt.generation.choosing.rules import Rule, apply, require_choice, rules
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.likelihood import top_log_probs
from ogpt.generation.protocol.logits import Ids, Logits, top_k
from ogpt.generation.protocol.summaries import log_sum_exp
from ogpt.generation.searching.prefill import Open, check_room, read
from ogpt.generation.searching.search import Ends, FinishReason, Token, Watch, never


@dataclass(slots=True)
class _Text:
    """A continuation while it is written."""

    continuation: int
    slots: range  # each holds all of its tokens
    ids: list[int]  # the prompt and what was written since
    n_prompt: int
    logits: Logits  # (V,) of the next token
    directions: Logits  # (tokens, C) last hidden states, each scaled to length 1


class _Choice(NamedTuple):
    """Candidates for the next token of a text, the n-th in its n-th slot."""

    ids: Ids
    probabilities: Logits


def contrastive_search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    ends: Ends = never,
    extra: Sequence[Rule] = (),
    watch: Watch | None = None,
    open_prompt: Open | None = None,
    top_logprobs: int = 0,
) -> Generator[Token, None, None]:
    """Continue each prompt once, yielding tokens as they come.

    All slots of the decoder are used and left empty, also when the generator is closed early.

    Args:
        decoder: With hidden states, and len(prompts) * top_k slots at least.
        prompts: Token ids, at least one each; with max_new_tokens they fit the positions, as a
            contrastive search does not slide.
        settings: penalty_alpha, top_k, and when a continuation ends.
        ends: Ends a continuation early, for example at a stop string.
        extra: Rules of the caller, after those of the settings.
        watch: Told the logits of each step, before and after the rules.
        open_prompt: Reads a prompt in place of the decoder.
        top_logprobs: How many most likely tokens to tell with each token.

    Raises:
        ContextTooLong: a prompt and its continuation outgrow the positions.
        DecoderError: no hidden states, too few slots, or logits that are not numbers.
        SamplingError: top_k is 0, or the rules rule every token out.
        TokenOutOfRange: a prompt or setting holds an id outside the vocabulary.
    """
    if not decoder.abilities.hidden_states:
        raise DecoderError(
            "this decoder offers no hidden states; contrastive search compares them",
            hint="choose the torch decoder, or set penalty_alpha to 0",
        )
    if not settings.top_k:
        raise SamplingError(
            "top_k is 0; allowed: 1 or more candidates in contrastive search",
            hint="4 is a common choice",
        )
    given = rules(settings, decoder.vocab_size, extra)
    check_room(decoder, prompts, settings.top_k, settings.max_new_tokens)
    try:
        for slot in range(decoder.slots):
            decoder.free(slot)
        live = [
            _start(decoder, number, prompt, settings.top_k, open_prompt)
            for number, prompt in enumerate(prompts)
        ]
        while live:
            choices = [_candidates(text, settings, given, watch) for text in live]
            slots = [
                slot
                for text, choice in zip(live, choices, strict=True)
                for slot in text.slots[: len(choice.ids)]
            ]
            tokens = [int(token_id) for choice in choices for token_id in choice.ids]
            parts = [Part(slot, [token]) for slot, token in zip(slots, tokens, strict=True)]
            computed = decoder.run(parts, hidden=True)
            rows = dict(zip(slots, computed.logits, strict=True))
            states = dict(zip(slots, computed.hidden or (), strict=True))
            normalisers = decoder.abilities.summarize(np.stack([text.logits for text in live]))[1]
            going_on = []
            for text, choice, normaliser in zip(live, choices, normalisers.tolist(), strict=True):
                best, direction = _choose(states, text, choice, settings.penalty_alpha)
                token_id = int(choice.ids[best])
                text.ids.append(token_id)
                reason = _finish_reason(text, settings, ends)
                yield Token(
                    text.continuation,
                    token_id,
                    float(text.logits[token_id]) - normaliser,
                    reason,
                    top_log_probs(text.logits, normaliser, top_logprobs),
                )
                if reason is None:
                    chosen = text.slots[best]
                    for slot in text.slots:
                        if slot != chosen:
                            decoder.copy(chosen, slot)
                    text.logits = rows[chosen]
                    text.directions = np.concatenate([text.directions, direction])
                    going_on.append(text)
            live = going_on
    finally:
        for slot in range(decoder.slots):
            decoder.free(slot)


def _start(
    decoder: Decoder, number: int, prompt: Sequence[int], top_k: int, open_prompt: Open | None
) -> _Text:
    """Read a prompt once, for all of its slots."""
    first, *others = slots = range(number * top_k, (number + 1) * top_k)
    computed = read(decoder, [first], [prompt], [number], open_prompt, hidden=True)
    directions = _directions(np.concatenate(computed.hidden or ()))
    for slot in others:
        decoder.copy(first, slot)
    return _Text(number, slots, list(prompt), len(prompt), computed.logits[0], directions)


def _candidates(
    text: _Text, settings: GenerationSettings, given: Sequence[Rule], watch: Watch | None
) -> _Choice:
    """The top_k most likely tokens, or as many as the rules leave."""
    allowed = apply(given, text.ids, text.n_prompt, text.logits)
    require_choice(allowed)
    if watch is not None:
        watch(text.continuation, text.logits, allowed)
    ids = top_k(allowed, settings.top_k)
    ids = ids[allowed[ids] > -np.inf]
    return _Choice(ids, np.exp(allowed[ids] - log_sum_exp(allowed)))


def _choose(
    states: Mapping[int, Logits], text: _Text, choice: _Choice, alpha: float
) -> tuple[int, Logits]:
    """The number of the best candidate, and its direction (1, C)."""
    directions = np.concatenate(
        [_directions(states[slot]) for slot in text.slots[: len(choice.ids)]]
    )
    likeness = (directions @ text.directions.T).max(axis=1)
    best = int(np.argmax((1 - alpha) * choice.probabilities - alpha * likeness))
    return best, directions[best : best + 1]


def _directions(hidden: Logits) -> Logits:
    """Hidden states (T, C) as vectors of length 1; a zero stays zero."""
    lengths = np.linalg.norm(hidden, axis=1, keepdims=True)
    directions: Logits = hidden / np.maximum(lengths, np.finfo(hidden.dtype).tiny)
    return directions


def _finish_reason(text: _Text, settings: GenerationSettings, ends: Ends) -> FinishReason | None:
    token_id = text.ids[-1]
    if token_id in settings.eos_token_id or ends(text.continuation, token_id):
        return "stop"
    return "length" if len(text.ids) - text.n_prompt >= settings.max_new_tokens else None
