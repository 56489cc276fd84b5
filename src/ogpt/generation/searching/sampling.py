"""Greedy search and sampling: one continuation, one token after another.

No choice depends on other texts: random numbers are keyed by (seed, number of the continuation,
token). A text that is alone and repeats itself drafts tokens (`speculation`). A `DeviceSampler`
chooses several tokens in one call where nobody needs the logits.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import SamplingError
from ogpt.generation.choosing.random_numbers import sample, uniform, uniforms
from ogpt.generation.choosing.rules import Rule, apply, in_place, require_choice, warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Draw, Part
from ogpt.generation.protocol.likelihood import TopLogProbs, top_log_probs
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.searching.assistant import Assistant
from ogpt.generation.searching.speculation import Clock, Lookup, Pace
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
    choosing_of,
    finish_reason,
    opening,
)
from ogpt.notices import tell

Ends = Callable[[Sequence[Token]], Collection[int]]
"""Receives the new tokens of a step, one of each text that runs, and returns the continuations that
end there ("stop")."""


def never(tokens: Sequence[Token]) -> Collection[int]:
    """The `Ends` of a search that only its settings end."""
    return ()


def slides(n_positions: int, n_prompt: int, max_new_tokens: int) -> bool:
    """Whether a prompt and its continuation exceed the context; the last token is not processed."""
    return min(n_prompt, n_positions) + max_new_tokens - 1 > n_positions


def kept_when_full(n_positions: int) -> int:
    """Tokens that the sliding window keeps when all positions are in use."""
    return max(1, n_positions // 2)


class Sampling(Text):
    """A continuation by greedy search or sampling.

    Beyond the context length it uses a sliding window: see `kept_when_full`.

    Args:
        decoder: Where it will run.
        prompt: Token ids; of more than n_positions, the last ones are processed.
        choosing: How tokens are chosen.
        number: Of the continuation among those of its prompt; keys the random numbers.
        open_prompt: Reads the prompt in place of the decoder.
        assistant: Drafts tokens while the text is alone; it serves no other text meanwhile.

    Raises:
        SamplingError: the settings are those of another search.
    """

    n_slots = 1

    def __init__(
        self,
        decoder: Decoder,
        prompt: Sequence[int],
        choosing: Choosing,
        number: int = 0,
        open_prompt: Open | None = None,
        assistant: Assistant | None = None,
    ) -> None:
        settings = choosing.settings
        _require_neither_beams_nor_contrast(settings)
        self._decoder = decoder
        self._prompt = prompt
        self._choosing = choosing
        self._settings = settings
        self._number = number
        self._open = open_prompt
        drafts = _may_draft(decoder, open_prompt is None)
        self.drafts = (drafts and settings.prompt_lookup_num_tokens != 0) or assistant is not None
        self.finite = settings.remove_invalid_values
        self._assistant = assistant
        self._lookup: Lookup | None = None
        self._drafted: list[int] = []
        plain = not (
            choosing.rules or choosing.last or choosing.watch or choosing.top_logprobs or assistant
        )
        self.draw = _draw(decoder, settings) if plain else None

    def start(self, number: int, slots: Sequence[int]) -> None:
        """Begin in one slot; see Text."""
        self._continuation = number
        [self._slot] = slots
        self._late = self._choosing.deadline()
        self._ids = list(self._prompt)  # not before: very many continuations may wait
        self._n_prompt = len(self._ids)
        # The slot holds the window ids[first:] without the newest token, which is given next.
        self._first = max(0, self._n_prompt - self._decoder.n_positions)

    def wants(self, pace: Pace | None) -> Prefill | Sequence[Part]:
        """The prompt, the newest token, or the rest of the window when it is full; see Text."""
        written = len(self._ids) - self._n_prompt
        if written == 0:
            return Prefill(self._ids[self._first :], self._open)
        room = self._decoder.n_positions - (len(self._ids) - 1 - self._first)
        if room == 0:
            self._first = len(self._ids) - kept_when_full(self._decoder.n_positions)
            return Prefill(self._ids[self._first :])
        newest = self._ids[-1:]
        if pace is not None:
            self._drafted = self._draft(pace, min(room, self.left) - 1)
        if not self._drafted:
            return (Part(self._slot, newest),)
        return (Part(self._slot, newest + self._drafted, "all"),)

    def take(self, rows: Sequence[Row], hidden: Sequence[Logits]) -> Sequence[Token]:
        """One token, and one more for each drafted token that was right; see Text."""
        if self._open is not None and len(self._ids) == self._n_prompt:
            self._first = self._n_prompt - self._decoder.length(self._slot)  # of other than ids
        tokens = [self._next(rows[0])]
        if self._drafted:
            for row, drafted in zip(rows[1:], self._drafted, strict=True):
                if self.finished or tokens[-1].id != drafted:
                    break
                tokens.append(self._next(row))
            wrong = len(rows) - len(tokens)
            if self._assistant is not None:
                self._assistant.took(len(self._drafted), len(tokens) - 1)
            self._decoder.truncate(self._slot, self._decoder.length(self._slot) - wrong)
            self._drafted = []
        return tokens

    def held(self) -> Sequence[int]:
        """The window; nothing of a prompt that was opened; see Text."""
        return self._ids[self._first :] if self._open is None else ()

    @property
    def newest(self) -> int:
        """The last token; see DrawnText."""
        return self._ids[-1]

    @property
    def left(self) -> int:
        """New tokens that may still follow; see DrawnText."""
        return self._settings.max_new_tokens - (len(self._ids) - self._n_prompt)

    def numbers(self, steps: int) -> NDArray[np.float64]:
        """The random numbers of the next tokens; see DrawnText."""
        written = len(self._ids) - self._n_prompt
        return uniforms(self._settings.seed, self._number, written, steps)

    def take_drawn(self, ids: Sequence[int], log_probs: Sequence[float]) -> Sequence[Token]:
        """Take tokens that the device has chosen; see DrawnText."""
        tokens = []
        for token_id, log_prob in zip(ids, log_probs, strict=True):
            tokens.append(self._append(token_id, log_prob))
            if self.finished:
                break
        return tokens

    def _next(self, row: Row) -> Token:
        """Choose the next token."""
        logits, best, normalizer = row
        settings, choosing = self._settings, self._choosing
        allowed = apply(choosing.rules, self._ids, self._n_prompt, logits)
        token_id = best if allowed is logits else require_choice(allowed)
        ids = None
        if settings.do_sample:
            ids, left = warp(settings, allowed)
            if choosing.watch is not None or choosing.last:
                allowed = in_place(ids, left, len(logits))
        if choosing.last:
            ids, left = None, apply(choosing.last, self._ids, self._n_prompt, allowed)
            allowed, token_id = left, require_choice(left)
        if settings.do_sample:
            written = len(self._ids) - self._n_prompt
            place = sample(left, uniform(settings.seed, self._number, written))
            token_id = place if ids is None else int(ids[place])
        if choosing.watch is not None:
            choosing.watch(self._continuation, logits, allowed)
        tops = top_log_probs(logits, normalizer, choosing.top_logprobs)
        return self._append(token_id, float(logits[token_id]) - normalizer, tops)

    def _append(self, token_id: int, log_prob: float, tops: TopLogProbs = ()) -> Token:
        """Append a token to the text."""
        self._ids.append(token_id)
        written = len(self._ids) - self._n_prompt
        reason = finish_reason(self._settings, token_id, written, self._late())
        self.finished = reason is not None
        return Token(self._continuation, token_id, log_prob, reason, tops)

    def _draft(self, pace: Pace, most: int) -> list[int]:
        """At most `most` tokens that may follow the newest one, as far as they pay."""
        if self._assistant is not None:
            return self._assistant.draft(self._ids, self._n_prompt, self._number, most)
        if self._lookup is None:
            self._lookup = Lookup()
        self._lookup.read(self._ids)
        if not self._lookup.guesses:
            return []
        if self._settings.prompt_lookup_num_tokens is not None:
            most = min(most, self._settings.prompt_lookup_num_tokens)
        return self._lookup.draft(self._ids, pace.count(self._lookup.rate, most))


def search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    ends: Ends = never,
    extra: Sequence[Rule] = (),
    watch: Watch | None = None,
    open_prompt: OpenPrompt | None = None,
    numbers: Sequence[int] = (),
    top_logprobs: int = 0,
    clock: Clock = time.perf_counter,
    assistant: Assistant | None = None,
) -> Generator[Token, None, None]:
    """Continue each prompt `settings.num_return_sequences` times; yield tokens as they come.

    All slots of the decoder are used and left empty, also when the generator is closed early.
    Continuations beyond the slots wait.

    Args:
        decoder: Where the texts run.
        prompts: Token ids, at least one each.
        settings: How tokens are chosen and when a continuation ends.
        ends: Ends a continuation early, for example at a stop string.
        extra: Custom rules, applied after those of the settings and before the temperature.
        watch: Receives the logits and scores of each step.
        open_prompt: Reads a prompt in place of the decoder; a full window is read by ids.
        numbers: For each prompt the number of its first continuation, which keys the random
            numbers. Default: 0 for each, so that equal prompts have equal continuations.
        top_logprobs: Number of most probable tokens to report at each step; 0 disables.
        clock: Measures max_time, and what drafts cost, which changes no token.
        assistant: Drafts tokens. With several slots only the last text is alone, and has drafts.

    Raises:
        DecoderError: the logits are not finite.
        SamplingError: the settings are those of another search, or no token is left to choose.
        TokenOutOfRange: a prompt or setting has an id outside the vocabulary.
    """
    choosing = choosing_of(settings, decoder.vocab_size, extra, watch, top_logprobs, clock)
    tell_drafts(decoder, settings, open_prompt is None)
    stepper = Stepper(decoder, prompt_tokens=0, clock=clock)
    for place, prompt in enumerate(prompts):
        opened = opening(open_prompt, place)
        first = numbers[place] if numbers else 0
        for number in range(first, first + settings.num_return_sequences):
            stepper.add(Sampling(decoder, prompt, choosing(place), number, opened, assistant))
    yield from tokens_until(stepper, ends)


def tokens_until(stepper: Stepper, ends: Ends) -> Generator[Token, None, None]:
    """Run a stepper; yield its tokens, each continuation up to where `ends` says."""
    ended: set[int] = set()
    for events in stepper.steps():
        for tokens in _rounds(events):
            running = [token for token in tokens if token.continuation not in ended]
            over = ends(running) if running else ()
            for token in running:
                if token.continuation in over and token.finish_reason != "stop":
                    token = token._replace(finish_reason="stop")
                    stepper.cancel(token.continuation)
                    ended.add(token.continuation)
                yield token


def _rounds(events: Sequence[Event]) -> Iterator[list[Token]]:
    """The tokens of a step: the first new ones of all texts, then the second ones, and so on."""
    rounds: list[list[Token]] = []
    counts: Counter[int] = Counter()
    for token in events:
        if isinstance(token, Token):
            place = counts[token.continuation]
            counts[token.continuation] += 1
            if place == len(rounds):
                rounds.append([])
            rounds[place].append(token)
    yield from rounds


def tell_drafts(decoder: Decoder, settings: GenerationSettings, plain: bool = True) -> None:
    """Emit a notice where drafts are asked for and cannot be used.

    Args:
        decoder: Where the texts will run.
        settings: Of the texts.
        plain: The prompts are token ids alone.
    """
    if settings.prompt_lookup_num_tokens and not _may_draft(decoder, plain):
        tell(
            "setting-without-effect",
            setting="prompt_lookup_num_tokens",
            reason="the logits of this decoder depend on how many tokens it processes at once",
        )


def _may_draft(decoder: Decoder, plain: bool) -> bool:
    return decoder.abilities.bitwise and plain


def _draw(decoder: Decoder, settings: GenerationSettings) -> Draw | None:
    """How the device chooses tokens under these settings; None where it cannot."""
    if not decoder.abilities.device_sampling or settings.remove_invalid_values:
        return None
    if (settings.typical_p, settings.epsilon_cutoff, settings.eta_cutoff) != (1, 0, 0):
        return None
    return Draw(**{name: getattr(settings, name) for name in Draw._fields})


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
