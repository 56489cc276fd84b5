"""Penalties and constraints of a request, then temperature and filters, in transformers' order.

`rules` lists the logits processors that the settings ask for, `apply` applies them to the logits of
one text, and `warp` applies temperature and filters before a token is sampled. Greedy search,
sampling, beam search and contrastive search share all three. The order matters, as a penalty before
a filter changes which tokens the filter keeps; it is that of transformers 5
(`GenerationMixin._get_logits_processor`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import numpy as np

from ogpt.errors import SamplingError, TokenOutOfRange
from ogpt.generation.choosing import processors, warpers
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.choosing.watermarks import watermark
from ogpt.generation.protocol.logits import Ids, Logits, top_k

Rule = Callable[[Sequence[int], int, Logits], Logits]
"""A logits processor: receives (ids of the text so far, how many of them are its prompt, logits
(V,)) and returns new logits (V,) of the same dtype. It must not change the logits it receives."""


def rules(
    settings: GenerationSettings, vocab_size: int, extra: Sequence[Rule] = (), prompt: int = 0
) -> list[Rule]:
    """The rules that the settings ask for, then `extra`. Settings at their defaults need none.

    Args:
        settings: Of the request.
        vocab_size: V of the model.
        extra: Custom rules, applied last.
        prompt: Number of the prompt, which prefix_allowed_tokens_fn receives.

    Raises:
        TokenOutOfRange: a setting has an id outside the vocabulary.
    """
    _check_ids(settings, vocab_size)
    s = settings
    ends = [token_id for token_id in s.eos_token_id if token_id < vocab_size]
    words = [word for word in s.bad_words_ids if len(word) > 1 or word[0] not in ends]
    suppressed = np.asarray(
        s.suppress_tokens, dtype=np.intp
    )  # converted once: there may be thousands
    allowed = np.asarray(s.allowed_token_ids, dtype=np.intp)
    bos = _forced_bos(s)
    start, factor = s.exponential_decay_length_penalty or (0, 1.0)
    in_order: list[tuple[bool, Rule]] = [
        (
            bool(s.sequence_bias),
            lambda ids, n, logits: processors.sequence_bias(logits, ids, s.sequence_bias),
        ),
        (
            s.encoder_repetition_penalty != 1,
            lambda ids, n, logits: processors.repetition_penalty(
                logits, ids[:n], 1 / s.encoder_repetition_penalty
            ),
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
        (
            s.encoder_no_repeat_ngram_size > 0,
            lambda ids, n, logits: processors.no_repeat_ngram(
                logits, ids, s.encoder_no_repeat_ngram_size, ids[:n]
            ),
        ),
        (bool(words), lambda ids, n, logits: processors.bad_words(logits, ids, words)),
        (
            bool(ends) and s.min_new_tokens > 0,
            _when(
                lambda ids, n: len(ids) - n < s.min_new_tokens,
                lambda logits: processors.ban(logits, ends),
            ),
        ),
        (s.prefix_allowed_tokens_fn is not None, _prefix_allowed(s, vocab_size, prompt)),
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
        (
            bool(ends) and s.exponential_decay_length_penalty is not None,
            lambda ids, n, logits: processors.decay_length(
                logits, ends, len(ids) - n - start, factor
            ),
        ),
        (len(suppressed) > 0, lambda ids, n, logits: processors.ban(logits, suppressed)),
        (
            bool(s.begin_suppress_tokens),
            _when(
                # if the first token is forced, these are suppressed at the second
                lambda ids, n: len(ids) - n == (1 if bos and n <= 1 else 0),
                lambda logits: processors.ban(logits, s.begin_suppress_tokens),
            ),
        ),
    ]
    return [*(rule for wanted, rule in in_order if wanted), *extra]


def last_rules(settings: GenerationSettings) -> list[Rule]:
    """The rules that follow temperature and filters: watermark, then renormalization."""
    config = settings.watermarking_config
    found: list[Rule] = []
    if config is not None:
        found.append(lambda ids, n, logits: watermark(config, ids, n, logits))
    if settings.renormalize_logits:
        found.append(lambda ids, n, logits: processors.renormalize(logits))
    return found


def apply(rules: Iterable[Rule], ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
    """The logits (V,) of one text after all rules; without rules, the same array.

    All tokens may be ruled out (-inf). That ends a beam; other searches call `require_choice`.

    Raises:
        SamplingError: a rule returned another shape.
    """
    for rule in rules:
        ruled = rule(ids, n_prompt, logits)
        if ruled.shape != logits.shape:
            raise SamplingError(
                f"a rule returned logits of shape {ruled.shape}; allowed: {logits.shape}",
                hint="return as many logits as the rule receives",
            )
        logits = ruled
    return logits


def require_choice(logits: Logits) -> int:
    """Check logits after the rules, before a token is chosen; return the id of the largest.

    Raises:
        SamplingError: no token is left, or a logit is NaN or inf.
    """
    best = int(logits.argmax())
    largest = logits[best]
    if not np.isfinite(largest):
        raise SamplingError(
            f"after all rules the largest of {len(logits)} logits is {largest}; allowed: a finite "
            "number (-inf rules a token out; at least one must be left)",
            hint="ban fewer tokens, lower min_new_tokens or no_repeat_ngram_size, or fix the "
            "custom rule",
        )
    return best


def warp(settings: GenerationSettings, logits: Logits) -> tuple[Ids | None, Logits]:
    """The tokens to sample from: temperature, then top-k, top-p, min-p, typical-p, epsilon, eta.

    top-k runs first, because a temperature changes neither which tokens are the top k nor their
    order, and everything after it is faster on k logits than on V. With beams, at least one token
    more is kept than there are end tokens, so that a beam can always continue.

    Args:
        settings: Of the request.
        logits: (V,) after the rules.

    Returns:
        The ids (K,) that are kept, in ascending order, or None if none was filtered out; and their
        logits (K,), divided by the temperature.
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
        (warpers.epsilon_cutoff, settings.epsilon_cutoff, 0),
        (warpers.eta_cutoff, settings.eta_cutoff, 0),
    ):
        if value != neutral:
            kept = keep(logits, value, at_least)
            ids, logits = kept if ids is None else ids[kept], logits[kept]
    return ids, logits


def in_place(ids: Ids | None, left: Logits, vocab_size: int) -> Logits:
    """The result of `warp` as scores (V,), with -inf for tokens that were filtered out."""
    if ids is None:
        return left
    scores = np.full(vocab_size, -np.inf, left.dtype)
    scores[ids] = left
    return scores


def _when(
    condition: Callable[[Sequence[int], int], bool], change: Callable[[Logits], Logits]
) -> Rule:
    return lambda ids, n, logits: change(logits) if condition(ids, n) else logits


def _prefix_allowed(settings: GenerationSettings, vocab_size: int, prompt: int) -> Rule:
    """Only what prefix_allowed_tokens_fn returns.

    Where other rules exclude all of these, their logits become 0, as in transformers 5; a beam ends
    there instead.
    """

    def rule(ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
        assert settings.prefix_allowed_tokens_fn is not None
        given = np.asarray(list(settings.prefix_allowed_tokens_fn(prompt, ids)))
        allowed = given.astype(np.intp)
        if not allowed.size or (allowed != given).any() or not _inside(allowed, vocab_size):
            raise SamplingError(
                f"prefix_allowed_tokens_fn returned {given.tolist()!r} for prompt {prompt}; "
                f"allowed: one id or more, each 0 to {vocab_size - 1}",
                hint="return the ids that may follow, an end token for example",
            )
        found = processors.allow(logits, allowed)
        if settings.num_beams == 1 and found.max() == -np.inf:
            return processors.force(logits, allowed)
        return found

    return rule


def _inside(ids: Ids, vocab_size: int) -> bool:
    return bool(ids.min() >= 0 and ids.max() < vocab_size)


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
                    f"{name} has the id {token_id}; allowed: 0 to {vocab_size - 1}",
                    hint="use ids of this model's own tokenizer",
                )
