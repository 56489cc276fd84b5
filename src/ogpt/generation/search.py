"""Greedy search and sampling over any decoder: prompts in, one token after another out.

Each continuation is a sequence in a slot of its own. A prompt is read once and copied to the
slots of its other continuations; sequences that end leave their slot to those that wait, so any
number of prompts runs through any number of slots. No choice depends on who else is there: random
numbers are keyed by (seed, continuation of the prompt, token of the continuation).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DecoderError
from ogpt.generation import processors
from ogpt.generation.decoder import Decoder
from ogpt.generation.random_numbers import sample, uniform
from ogpt.generation.settings import GenerationSettings

FinishReason = Literal["stop", "length"]


class Token(NamedTuple):
    """One new token."""

    continuation: int
    """Which one of all: those of the first prompt first."""
    id: int
    log_prob: float
    """Of this token under the model itself, before temperature, top-k, top-p and bans."""
    finish_reason: FinishReason | None
    """Why the continuation ends with this token; None: it goes on."""


Ends = Callable[[int, int], bool]
"""Told (continuation, id) of each token in order; True ends that continuation ("stop")."""


def never(continuation: int, token_id: int) -> bool:
    """The `Ends` of a search that only its settings end."""
    return False


@dataclass(slots=True)
class _Sequence:
    """A continuation while it is written."""

    continuation: int
    number: int  # among the continuations of its prompt: keys the random numbers
    slot: int
    ids: list[int]  # the prompt and what was written since
    written: int = 0


def slides(n_positions: int, n_prompt: int, max_new_tokens: int) -> bool:
    """Whether a prompt and its continuation outgrow the model (the last token is never read)."""
    return min(n_prompt, n_positions) + max_new_tokens - 1 > n_positions


def kept_when_full(n_positions: int) -> int:
    """Tokens that are read again when a sequence has filled all positions."""
    return max(1, n_positions // 2)


def search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    ends: Ends = never,
) -> Generator[Token, None, None]:
    """Continue each prompt `settings.num_return_sequences` times, yielding tokens as they come.

    All slots of the decoder are used and left empty, also when the generator is closed early.
    A sequence that fills all positions goes on from its last half (`kept_when_full`); of a
    prompt that is longer than that, the last `n_positions` tokens are read.

    Args:
        decoder: Where the sequences live.
        prompts: Token ids, at least one each.
        settings: How tokens are chosen and when a continuation ends.
        ends: Ends a continuation early, for example at a stop string.

    Raises:
        DecoderError: the decoder's logits are not numbers.
        SamplingError: a setting does not fit the vocabulary.
        TokenOutOfRange: a prompt holds an id outside the vocabulary.
    """
    per_prompt = settings.num_return_sequences
    waiting = deque(
        (prompt, number) for prompt in range(len(prompts)) for number in range(per_prompt)
    )
    empty = list(reversed(range(decoder.slots)))
    live: list[_Sequence] = []
    logits = np.empty((0, decoder.vocab_size), dtype=np.float32)
    try:
        for slot in empty:
            decoder.free(slot)
        while live or waiting:
            while empty and waiting:
                started, first = _start(decoder, prompts, waiting, empty, per_prompt)
                live += started
                logits = np.concatenate([logits, np.repeat(first[None], len(started), axis=0)])
            going_on = []
            for sequence, row in zip(live, logits, strict=True):
                token_id, log_prob = _choose(row, sequence, settings)
                sequence.ids.append(token_id)
                sequence.written += 1
                reason = _finish_reason(sequence, settings, ends)
                yield Token(sequence.continuation, token_id, log_prob, reason)
                if reason is None:
                    going_on.append(sequence)
                else:
                    decoder.free(sequence.slot)
                    empty.append(sequence.slot)
            live = going_on
            logits = _advance(decoder, live)
    finally:
        for slot in range(decoder.slots):
            decoder.free(slot)


def _start(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    waiting: deque[tuple[int, int]],
    empty: list[int],
    per_prompt: int,
) -> tuple[list[_Sequence], NDArray[np.float32]]:
    """Read the next prompt once for as many of its continuations as find a slot.

    Returns:
        The sequences, and the logits (V,) that all of them start from.
    """
    prompt = waiting[0][0]
    started: list[_Sequence] = []
    while empty and waiting and waiting[0][0] == prompt:
        _, number = waiting.popleft()
        continuation = prompt * per_prompt + number
        started.append(_Sequence(continuation, number, empty.pop(), list(prompts[prompt])))
    first = started[0]
    logits = _read(decoder, first.slot, first.ids[-decoder.n_positions :])
    for sequence in started[1:]:
        decoder.copy(first.slot, sequence.slot)
    return started, logits


def _advance(decoder: Decoder, live: list[_Sequence]) -> NDArray[np.float32]:
    """Give each sequence's newest token to the decoder; logits (len(live), V)."""
    logits = np.empty((len(live), decoder.vocab_size), dtype=np.float32)
    fits = [decoder.length(sequence.slot) < decoder.n_positions for sequence in live]
    rows = [row for row, one_fits in enumerate(fits) if one_fits]
    if rows:
        slots = [live[row].slot for row in rows]
        stepped = decoder.step(slots, [live[row].ids[-1] for row in rows])
        if len(rows) == len(live):
            return stepped
        logits[rows] = stepped
    for row, sequence in enumerate(live):
        if not fits[row]:
            decoder.truncate(sequence.slot, 0)
            kept = sequence.ids[-kept_when_full(decoder.n_positions) :]
            logits[row] = _read(decoder, sequence.slot, kept)
    return logits


def _read(decoder: Decoder, slot: int, ids: Sequence[int]) -> NDArray[np.float32]:
    logits = decoder.extend(slot, ids, "last")
    if logits is None:
        raise DecoderError(
            "the decoder gave None for want='last'; it must give logits (V,)",
            hint="this is a fault of the decoder: choose another one",
        )
    return logits


def _choose(
    logits: NDArray[np.float32], sequence: _Sequence, settings: GenerationSettings
) -> tuple[int, float]:
    """The next token of one sequence, from logits (V,), and its log-probability."""
    normaliser = _log_sum_exp(logits)
    allowed = _rule_out(logits, sequence, settings)
    token_id = _draw(allowed, sequence, settings) if settings.do_sample else int(allowed.argmax())
    return token_id, float(logits[token_id]) - normaliser


def _rule_out(
    logits: NDArray[np.float32], sequence: _Sequence, settings: GenerationSettings
) -> NDArray[np.float32]:
    """Bans, and no end before min_new_tokens."""
    if settings.banned_ids:
        logits = processors.ban(logits[None], settings.banned_ids)[0]
    if settings.stop_ids and sequence.written < settings.min_new_tokens:
        logits = processors.ban(logits[None], settings.stop_ids)[0]
    return logits


def _draw(logits: NDArray[np.float32], sequence: _Sequence, settings: GenerationSettings) -> int:
    """Temperature, top-k and top-p, then a draw among what they leave.

    Top-k comes first, as a temperature changes neither who the k are nor their order; from there
    on only tokens that are left are looked at.
    """
    ids = np.arange(len(logits))
    if 0 < settings.top_k < len(ids):
        ids = processors.most_likely(logits, settings.top_k)
        logits = logits[ids]
    if settings.temperature != 1:
        logits = processors.temperature(logits[None], settings.temperature)[0]
    if settings.top_p < 1:
        kept = processors.nucleus(logits, settings.top_p)
        ids, logits = ids[kept], logits[kept]
    number = uniform(settings.seed, sequence.number, sequence.written)
    return int(ids[sample(logits, number)])


def _log_sum_exp(row: NDArray[np.float32]) -> float:
    largest = row.max()
    if not np.isfinite(largest):
        raise DecoderError(
            f"the model's largest logit is {largest}; it must be a finite number",
            hint="the weights hold NaN or infinite values: use another checkpoint",
        )
    return float(largest) + float(np.log(np.exp(row - largest).sum(dtype=np.float64)))


def _finish_reason(
    sequence: _Sequence, settings: GenerationSettings, ends: Ends
) -> FinishReason | None:
    token_id = sequence.ids[-1]
    if token_id in settings.stop_ids or ends(sequence.continuation, token_id):
        return "stop"
    return "length" if sequence.written >= settings.max_new_tokens else None
