"""The rules of a request, in Hugging Face's order: from a model's logits to what may be chosen.

`rules` lists what the settings ask for, `apply` runs it over one text's logits, and `warp` leaves
what a draw is made from. Greedy search, sampling, beams and contrastive search share all three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import numpy as np

from ogpt.errors import SamplingError, TokenOutOfRange
from ogpt.generation.choosing import processors, warpers
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.logits import Ids, Logits, top_k

Rule = Callable[[Sequence[int], int, Logits], Logits]
"""Given (the ids of the text so far, how many of them are its prompt, logits (V,)), returns new
logits (V,) of the same dtype. The logits it is given stay as they are."""


def rules(settings: GenerationSettings, vocab_size: int, extra: Sequence[Rule] = ()) -> list[Rule]:
    """What the settings ask for, then `extra`; none for settings that rule nothing out.

    Args:
        settings: Of the request.
        vocab_size: V of the model.
        extra: Rules of the caller, applied last.

    Raises:
        TokenOutOfRange: a setting names a token outside the vocabulary.
    """
    _check_ids(settings, vocab_size)
    s = settings
    ends = [token_id for token_id in s.eos_token_id if token_id < vocab_size]
    words = [word for word in s.bad_words_ids if len(word) > 1 or word[0] not in ends]
    suppressed = np.asarray(s.suppress_tokens, dtype=np.intp)  # once: there may be many
    allowed = np.asarray(s.allowed_token_ids, dtype=np.intp)
    bos = _forced_bos(s)
    in_order: list[tuple[bool, Rule]] = [
        (
            bool(s.sequence_bias),
            lambda ids, n, logits: processors.sequence_bias(logits, ids, s.sequence_bias),
        ),
        (
            s.repetition_penalty != 1,
            lambda ids, n, logits: processors.repetition_penalty(logits, ids, s.repetition_penalty),
        ),
        (
            s.frequency_penalty != 0 or s.presence_penalty != 0,
            lambda ids, n, logits: processors.frequency_and_presence_penalty(
                logits, ids[n:], s.frequency_penalty, s.presence_penalty
            ),
        ),
        (
            s.no_repeat_ngram_size > 0,
            lambda ids, n, logits: processors.no_repeat_ngram(logits, ids, s.no_repeat_ngram_size),
        ),
        (bool(words), lambda ids, n, logits: processors.bad_words(logits, ids, words)),
        (
            bool(ends) and s.min_new_tokens > 0,
            _when(
                lambda ids, n: len(ids) - n < s.min_new_tokens,
                lambda logits: processors.ban(logits, ends),
            ),
        ),
        (len(allowed) > 0, lambda ids, n, logits: processors.allow(logits, allowed)),
        (
            bool(bos),
            _when(lambda ids, n: len(ids) == 1, lambda logits: processors.force(logits, bos)),
        ),
        (
            bool(s.forced_eos_token_id),
            _when(
                lambda ids, n: len(ids) - n == s.max_new_tokens - 1,
                lambda logits: processors.force(logits, s.forced_eos_token_id),
            ),
        ),
        (len(suppressed) > 0, lambda ids, n, logits: processors.ban(logits, suppressed)),
        (
            bool(s.begin_suppress_tokens),
            _when(
                # a text that a forced token begins goes on freely after it
                lambda ids, n: len(ids) - n == (1 if bos and n <= 1 else 0),
                lambda logits: processors.ban(logits, s.begin_suppress_tokens),
            ),
        ),
    ]
    return [*(rule for wanted, rule in in_order if wanted), *extra]


def apply(rules: Iterable[Rule], ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
    """One text's logits (V,) after all rules; the given array itself where there are none.

    All tokens may be ruled out (-inf): a beam dies of it, other searches call `require_choice`.

    Raises:
        SamplingError: a rule returned another shape.
    """
    for rule in rules:
        ruled = rule(ids, n_prompt, logits)
        if ruled.shape != logits.shape:
            raise SamplingError(
                f"a rule returned logits {ruled.shape}; allowed: {logits.shape}, as it was given",
                hint="a rule receives one text's logits and returns as many",
            )
        logits = ruled
    return logits


def require_choice(logits: Logits) -> int:
    """Check what `apply` returned, before a token is taken from it; the id of the largest logit.

    Raises:
        SamplingError: no token is left, or a logit is NaN or inf.
    """
    best = int(logits.argmax())
    largest = logits[best]
    if not np.isfinite(largest):
        raise SamplingError(
            f"after all rules the largest of {len(logits)} logits is {largest}; allowed: a finite "
            "number (-inf rules a token out, and one must stay)",
            hint="ban fewer tokens, lower min_new_tokens or no_repeat_ngram_size, or mend the rule",
        )
    return best


def warp(settings: GenerationSettings, logits: Logits) -> tuple[Ids | None, Logits]:
    """What is left to draw from: temperature, then top-k, top-p, min-p and typical-p.

    From top-k on only tokens that are left are looked at; it comes first, as a temperature
    changes neither who the k are nor their order. With beams, enough tokens stay to go on when
    some of them end the text.

    Args:
        settings: Of the request.
        logits: (V,) after the rules.

    Returns:
        (K,) ids in order, or None for all there are, and their logits (K,) divided by the
        temperature.
    """
    at_least = 1 if settings.num_beams == 1 else max(2, len(settings.eos_token_id) + 1)
    ids = None
    if settings.top_k:
        ids = top_k(logits, max(settings.top_k, at_least))
        logits = logits[ids]
    if settings.temperature != 1:
        logits = warpers.temperature(logits, settings.temperature)
    for keep, value, neutral in (
        (warpers.top_p, settings.top_p, 1),
        (warpers.min_p, settings.min_p, 0),
        (warpers.typical_p, settings.typical_p, 1),
    ):
        if value != neutral:
            kept = keep(logits, value, at_least)
            ids, logits = kept if ids is None else ids[kept], logits[kept]
    return ids, logits


def in_place(ids: Ids | None, left: Logits, vocab_size: int) -> Logits:
    """What `warp` left as scores (V,), with -inf for all other tokens."""
    if ids is None:
        return left
    scores = np.full(vocab_size, -np.inf, left.dtype)
    scores[ids] = left
    return scores


def _when(
    condition: Callable[[Sequence[int], int], bool], change: Callable[[Logits], Logits]
) -> Rule:
    return lambda ids, n, logits: change(logits) if condition(ids, n) else logits


def _forced_bos(settings: GenerationSettings) -> tuple[int, ...]:
    return () if settings.forced_bos_token_id is None else (settings.forced_bos_token_id,)


def _check_ids(settings: GenerationSettings, vocab_size: int) -> None:
    named: dict[str, Iterable[int]] = {
        "sequence_bias": chain.from_iterable(settings.sequence_bias),
        "bad_words_ids": chain.from_iterable(settings.bad_words_ids),
        "suppress_tokens": settings.suppress_tokens,
        "allowed_token_ids": settings.allowed_token_ids,
        "begin_suppress_tokens": settings.begin_suppress_tokens,
        "forced_bos_token_id": _forced_bos(settings),
        "forced_eos_token_id": settings.forced_eos_token_id,
    }
    for name, ids in named.items():
        for token_id in ids:
            if token_id >= vocab_size:
                raise TokenOutOfRange(
                    f"{name} holds the id {token_id}; allowed: 0 to {vocab_size - 1}",
                    hint="use ids of this model's own tokenizer",
                )
