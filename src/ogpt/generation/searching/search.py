"""Greedy search and sampling over any decoder: prompts in, one token after another out.

Each continuation is a sequence in a slot of its own. A prompt is read once and copied to the
slots of its other continuations; sequences that end leave their slot to those that wait, so any
number of prompts runs through any number of slots. No choice depends on who else is there: random
numbers are keyed by (seed, continuation of the prompt, token of the continuation). A sequence that
is alone reads several tokens at a time where its text repeats itself (`speculation`). Where nobody
asks for logits, a `DeviceSampler` chooses several tokens before any of them is told.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np

from ogpt.errors import SamplingError
from ogpt.generation.choosing.random_numbers import sample, uniform, uniforms
from ogpt.generation.choosing.rules import Rule, apply, in_place, require_choice, rules, warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, DeviceSampler, Draw, Part
from ogpt.generation.protocol.likelihood import TopLogProbs, top_log_probs
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.searching.prefill import Open, read
from ogpt.generation.searching.speculation import Clock, Lookahead, Pace
from ogpt.notices import tell

FinishReason = Literal["stop", "length"]

_RUN = 8  # tokens that are chosen on the device before the host looks at them


class Token(NamedTuple):
    """One new token."""

    continuation: int
    """Which one of all: those of the first prompt first."""
    id: int
    log_prob: float
    """Of this token under the model itself, before all rules, the temperature, top-k and so on."""
    finish_reason: FinishReason | None
    """Why the continuation ends with this token; None: it goes on."""
    top_log_probs: TopLogProbs = ()
    """Of the most likely tokens in this one's place, as many as were asked for."""


Ends = Callable[[int, int], bool]
"""Told (continuation, id) of each token in order; True ends that continuation ("stop")."""


def never(continuation: int, token_id: int) -> bool:
    """The `Ends` of a search that only its settings end."""
    return False


Watch = Callable[[int, Logits, Logits], None]
"""Told (continuation, logits (V,) of the model, scores (V,) that its token was taken from) before
each token. Scores are logits after all rules and, with sampling, temperature and filters; -inf for
tokens that could not be taken."""


@dataclass(slots=True)
class _Sequence:
    """A continuation while it is written."""

    continuation: int
    number: int  # keys the random numbers
    slot: int
    ids: list[int]  # the prompt and what was written since
    n_prompt: int
    lookahead: Lookahead | None = None

    @property
    def written(self) -> int:
        return len(self.ids) - self.n_prompt


class _Next(NamedTuple):
    """What is known of the next token of a sequence."""

    logits: Logits  # (V,)
    best: int
    normaliser: float


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
    extra: Sequence[Rule] = (),
    watch: Watch | None = None,
    open_prompt: Open | None = None,
    numbers: Sequence[int] = (),
    top_logprobs: int = 0,
    clock: Clock = time.perf_counter,
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
        extra: Rules of the caller, after those of the settings and before the temperature.
        watch: Told the logits and scores of each step.
        open_prompt: Reads a prompt in place of the decoder; what slides is read by ids.
        numbers: For each prompt the number of its first continuation, which keys the random
            numbers; none: 0 for each, so that equal prompts are continued equally.
        top_logprobs: How many most likely tokens to tell with each token.
        clock: By which it is decided how far to speculate; it changes no token.

    Raises:
        DecoderError: the decoder's logits are not numbers.
        SamplingError: the settings are those of another search, or rule every token out.
        TokenOutOfRange: a prompt or setting holds an id outside the vocabulary.
    """
    _require_neither_beams_nor_contrast(settings)
    given = rules(settings, decoder.vocab_size, extra)
    per_prompt = settings.num_return_sequences
    waiting = deque(
        (prompt, prompt * per_prompt + number, number + (numbers[prompt] if numbers else 0))
        for prompt in range(len(prompts))
        for number in range(per_prompt)
    )
    empty = list(reversed(range(decoder.slots)))
    live: list[_Sequence] = []
    following: list[_Next] = []
    pace = _pace(decoder, settings, open_prompt, clock)
    draw = None if given or watch or top_logprobs else _draw(decoder, settings)
    try:
        for slot in empty:
            decoder.free(slot)
        while live or waiting:
            if empty and waiting:
                begun = clock()
                for family, first in _start(decoder, prompts, waiting, empty, open_prompt):
                    live += family
                    following += [first] * len(family)
                if pace is not None:
                    pace.spend(clock() - begun)
            going_on = []
            for sequence, after in zip(live, following, strict=True):
                token_id = _choose(after, sequence, settings, given, watch)
                sequence.ids.append(token_id)
                reason = _finish_reason(sequence, settings, ends)
                yield Token(
                    sequence.continuation,
                    token_id,
                    float(after.logits[token_id]) - after.normaliser,
                    reason,
                    top_log_probs(after.logits, after.normaliser, top_logprobs),
                )
                if reason is None:
                    going_on.append(sequence)
                else:
                    decoder.free(sequence.slot)
                    empty.append(sequence.slot)
            live = going_on
            while draw is not None and _can_run(decoder, live, empty and waiting, pace):
                live = yield from _run(decoder, live, settings, draw, ends, empty)
            following = _advance(decoder, live, settings, pace)
    finally:
        for slot in range(decoder.slots):
            decoder.free(slot)


def _start(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    waiting: deque[tuple[int, int, int]],
    empty: list[int],
    open_prompt: Open | None,
) -> list[tuple[list[_Sequence], _Next]]:
    """Read each waiting prompt once, for as many of its continuations as find a slot.

    Returns:
        For each prompt its sequences, and what all of them start from.
    """
    families: dict[int, list[_Sequence]] = {}
    while empty and waiting:
        prompt, continuation, number = waiting.popleft()
        ids = list(prompts[prompt])
        sequence = _Sequence(continuation, number, empty.pop(), ids, len(ids))
        families.setdefault(prompt, []).append(sequence)
    firsts = [family[0] for family in families.values()]
    computed = read(
        decoder,
        [first.slot for first in firsts],
        [first.ids[-decoder.n_positions :] for first in firsts],
        list(families),
        open_prompt,
    )
    for first, *others in families.values():
        for sequence in others:
            decoder.copy(first.slot, sequence.slot)
    return list(zip(families.values(), _summarized(decoder, computed.logits), strict=True))


def _advance(
    decoder: Decoder, live: list[_Sequence], settings: GenerationSettings, pace: Pace | None
) -> list[_Next]:
    """Give each sequence's newest token to the decoder, unless it was drafted; what follows it."""
    if pace is not None and len(live) == 1:
        return [_advance_alone(decoder, live[0], settings, pace)]
    fits = [one for one in live if decoder.length(one.slot) < decoder.n_positions]
    found: dict[int, _Next] = {}
    if fits:
        stepped = decoder.run([Part(one.slot, one.ids[-1:]) for one in fits]).logits
        slots = [one.slot for one in fits]
        found = dict(zip(slots, _summarized(decoder, stepped), strict=True))
    return [found.get(one.slot) or _slide(decoder, one) for one in live]


def _advance_alone(
    decoder: Decoder, one: _Sequence, settings: GenerationSettings, pace: Pace
) -> _Next:
    """The same of one sequence, with drafts of what it may go on with."""
    one.lookahead = one.lookahead or Lookahead(decoder, one.slot, one.ids, pace)
    row = one.lookahead.recall()
    if row is None and decoder.length(one.slot) == decoder.n_positions:
        return _slide(decoder, one)
    if row is None:
        row = one.lookahead.step(settings.max_new_tokens - one.written)
    return _summarized(decoder, row[None])[0]


def _draw(decoder: Decoder, settings: GenerationSettings) -> Draw | None:
    """How the device chooses as these settings say; None where it cannot."""
    if not decoder.abilities.device_sampling or settings.typical_p != 1:
        return None
    return Draw(**{name: getattr(settings, name) for name in Draw._fields})


def _can_run(
    decoder: Decoder, live: list[_Sequence], more_can_start: object, pace: Pace | None
) -> bool:
    """Whether the next tokens can be chosen on the device: drafts, sliding and starting cannot."""
    if not live or more_can_start or (pace is not None and len(live) == 1):
        return False
    return all(decoder.length(one.slot) < decoder.n_positions for one in live)


def _run(
    decoder: Decoder,
    live: list[_Sequence],
    settings: GenerationSettings,
    draw: Draw,
    ends: Ends,
    empty: list[int],
) -> Generator[Token, None, list[_Sequence]]:
    """Up to _RUN tokens of each sequence, chosen on the device; returns those that go on."""
    room = min(decoder.n_positions - decoder.length(one.slot) for one in live)
    left = max(settings.max_new_tokens - one.written for one in live)
    steps = min(_RUN, room, left)
    numbers = [uniforms(settings.seed, one.number, one.written, steps) for one in live]
    slots, newest = [one.slot for one in live], [one.ids[-1] for one in live]
    device = cast(DeviceSampler, decoder)
    found = device.write(slots, newest, [draw] * len(live), np.stack(numbers, axis=1))
    rows = list(zip(live, found.ids.T.tolist(), found.log_probs.T.tolist(), strict=True))
    for step in range(steps):
        going_on = []
        for one, ids, log_probs in rows:
            one.ids.append(ids[step])
            reason = _finish_reason(one, settings, ends)
            yield Token(one.continuation, ids[step], log_probs[step], reason)
            if reason is None:
                going_on.append((one, ids, log_probs))
            else:
                decoder.free(one.slot)  # what was chosen after the end is lost
                empty.append(one.slot)
        rows = going_on
    return [one for one, _, _ in rows]


def _slide(decoder: Decoder, one: _Sequence) -> _Next:
    """Go on from the last half of a sequence that has filled all positions."""
    decoder.truncate(one.slot, 0)
    kept = one.ids[-kept_when_full(decoder.n_positions) :]
    return _summarized(decoder, decoder.run([Part(one.slot, kept)]).logits)[0]


def _summarized(decoder: Decoder, logits: Logits) -> list[_Next]:
    """What rows of logits (N, V) say of the next tokens."""
    best, normalisers = decoder.abilities.summarize(logits)
    return list(map(_Next, logits, best.tolist(), normalisers.tolist()))


def _choose(
    after: _Next,
    sequence: _Sequence,
    settings: GenerationSettings,
    given: Sequence[Rule],
    watch: Watch | None,
) -> int:
    """The next token of one sequence."""
    logits = after.logits
    allowed = apply(given, sequence.ids, sequence.n_prompt, logits)
    token_id = after.best if allowed is logits else require_choice(allowed)
    if settings.do_sample:
        ids, left = warp(settings, allowed)
        if watch is not None:
            allowed = in_place(ids, left, len(logits))
        number = uniform(settings.seed, sequence.number, sequence.written)
        place = sample(left, number)
        token_id = place if ids is None else int(ids[place])
    if watch is not None:
        watch(sequence.continuation, logits, allowed)
    return token_id


def _pace(
    decoder: Decoder, settings: GenerationSettings, open_prompt: Open | None, clock: Clock
) -> Pace | None:
    """By which drafts are read; None where they are not asked for, or could change tokens."""
    most = settings.prompt_lookup_num_tokens
    if most == 0:
        return None
    if decoder.abilities.bitwise and open_prompt is None:
        return Pace(most, clock)
    if most is not None:
        tell(
            "setting-without-effect",
            setting="prompt_lookup_num_tokens",
            reason="what this decoder computes depends on how many tokens it reads at once",
        )
    return None


def _finish_reason(
    sequence: _Sequence, settings: GenerationSettings, ends: Ends
) -> FinishReason | None:
    token_id = sequence.ids[-1]
    if token_id in settings.eos_token_id or ends(sequence.continuation, token_id):
        return "stop"
    return "length" if sequence.written >= settings.max_new_tokens else None


def _require_neither_beams_nor_contrast(settings: GenerationSettings) -> None:
    for name, value, neutral in (
        ("num_beams", settings.num_beams, 1),
        ("penalty_alpha", settings.penalty_alpha, 0),
    ):
        if value != neutral:
            raise SamplingError(
                f"{name} is {value}; allowed: {neutral} in greedy search and sampling",
                hint="call beam_search or contrastive_search for these",
            )
