"""The one loop that generates text: a call of the decoder advances all texts by a step.

Texts join and leave between two steps, in any order. Each has settings and a kind of search of its
own (`text`). With a bitwise decoder no text is changed by what runs beside it, by a single bit.

A waiting text starts when there are slots for it, in order of arrival. A step processes at most
`prompt_tokens` tokens of prompts, so that no running text waits for a long prompt, and a text can
be cancelled before its prompt is whole. What is computed once is not computed again: equal prompts
are copied after the first one, and a prompt that begins like another one waits for those tokens, or
finds them in a slot whose text has ended (`slot_pool`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import cast

import numpy as np

from ogpt.errors import DecoderError
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.logits import Logits, finite
from ogpt.generation.protocol.slots import check_parts
from ogpt.generation.searching.device_draws import draw
from ogpt.generation.searching.slot_pool import PrefixCounts, SlotPool
from ogpt.generation.searching.speculation import Clock, Pace
from ogpt.generation.searching.text import DrawnText, Event, Failed, Prefill, Row, Scoring, Text

PROMPT_TOKENS = 256  # the native core computes as many rows at once (`_CHUNK_ROWS`)


@dataclass(slots=True, eq=False)
class _Active:
    """A text that has slots."""

    number: int
    text: Text
    slots: list[int]
    parts: Sequence[Part] = ()  # what the text wants computed
    prefill: Prefill | None = None  # or what its first slot shall hold
    started: bool = False  # its prefill, which the decoder may have finished
    hidden: list[Logits] = field(default_factory=list)  # of each chunk of the prefill
    scoring: Scoring | None = None  # of the prompt, until it is whole

    @property
    def waits(self) -> bool:
        """Whether it waits for rows."""
        return bool(self.parts) or self.prefill is not None


class Stepper:
    """Generates any number of texts in the slots of a decoder.

    An error of one text (its prompt, a rule, its watcher or stop predicate) ends that text alone,
    with the event `Failed`. An error of the decoder concerns all texts, and is raised by `step`.
    After one of `Decoder.run` all texts are as they were: they can be stepped again, or some of
    them cancelled first. After logits that are not finite, cancel the texts.

    Args:
        decoder: All of its slots are used; nothing else may use it meanwhile, but for slots that
            are borrowed.
        prompt_tokens: Maximum number of prompt tokens in a step. 0 sets no limit: texts get their
            tokens less evenly, but all together are faster, as slots are in use sooner.
        clock: Measures the cost of drafts. Changes no token.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompt_tokens: int = PROMPT_TOKENS,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._decoder = decoder
        self._prompt_tokens = prompt_tokens
        self._clock = clock
        self._pace = Pace()
        self._numbers = count()
        self.close()

    @property
    def idle(self) -> bool:
        """Whether no text waits or runs."""
        return not self._waiting and not self._active

    @property
    def waiting(self) -> Collection[int]:
        """The numbers of the texts and borrowers that have no slots yet."""
        return self._waiting.keys()

    @property
    def prefix_counts(self) -> PrefixCounts:
        """How many tokens of prompts were looked up so far, and how many of them were found."""
        return self._pool.counts

    @property
    def cache_usage(self) -> float:
        """Share of the KV cache that running texts and borrowers fill, 0 to 1."""
        slots = [slot for active in self._active.values() for slot in active.slots]
        held = sum(map(self._decoder.length, [*slots, *self._borrowed.values()]))
        return held / (self._decoder.slots * self._decoder.n_positions)

    def check(self, text: Text) -> None:
        """Check that the decoder has enough slots for a text; any thread may call it.

        Raises:
            DecoderError: it has fewer slots than the text needs.
        """
        if text.n_slots > self._decoder.slots:
            raise DecoderError(
                f"the decoder has {self._decoder.slots} slots; this text needs {text.n_slots}",
                hint="open the decoder with more slots, or use fewer beams or candidates",
            )

    def add(self, text: Text) -> int:
        """Queue a text; return the number that its events carry.

        Raises:
            DecoderError: as `check`.
        """
        self.check(text)
        number = next(self._numbers)
        self._waiting[number] = text
        return number

    def borrow(self) -> int:
        """Queue for a slot that the caller fills itself, between two steps, until `cancel`.

        Returns:
            A number for `borrowed` and `cancel`.
        """
        number = next(self._numbers)
        self._waiting[number] = None
        return number

    def borrowed(self, number: int) -> int | None:
        """The borrowed slot, which is empty at first; None while it is queued for."""
        return self._borrowed.get(number)

    def cancel(self, number: int) -> None:
        """End a text, between two steps. Its slots are free at once, and it has no more events.

        A borrowed slot is returned. A text that has ended already is ignored: its end and the
        cancellation may cross.
        """
        if number in self._active:
            self._release(self._active[number])
        elif number in self._borrowed:
            self._pool.take_back(self._borrowed.pop(number))
        else:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Cancel all texts and empty all slots."""
        self._waiting: dict[int, Text | None] = {}  # None: a slot to borrow
        self._borrowed: dict[int, int] = {}  # slots
        self._active: dict[int, _Active] = {}  # by number, in order of arrival
        self._events: list[Event] = []
        self._pool = SlotPool(self._decoder)

    def run(
        self, error_of: Callable[[Failed], Exception] = attrgetter("error")
    ) -> Generator[Event, None, None]:
        """Step until no text is left, then close; raise the error of a text that fails.

        After a cancellation the events that the last step has returned still follow.

        Args:
            error_of: Returns what to raise for a text that fails, for example with its name.
        """
        with closing(self.steps(error_of)) as steps:
            for events in steps:
                yield from events

    def steps(
        self, error_of: Callable[[Failed], Exception] = attrgetter("error")
    ) -> Generator[list[Event], None, None]:
        """As `run`, but yield the events of each step together."""
        try:
            while not self.idle:
                events = self.step()
                failed = next((each for each in events if isinstance(each, Failed)), None)
                yield events if failed is None else events[: events.index(failed)]
                if failed is not None:
                    raise error_of(failed)
        finally:
            self.close()

    def step(self) -> list[Event]:
        """Advance all texts by one call of the decoder; return the new events in order.

        Raises:
            DecoderError: of the decoder, or its logits are not finite.
        """
        self._admit()
        if not self._draw():
            self._ask()
            if scheduled := self._schedule():
                self._compute(scheduled)
        events, self._events = self._events, []  # kept for the next step if this one raises
        return events

    def _admit(self) -> None:
        """Start waiting texts for which there are slots, in order of arrival."""
        while self._waiting:
            number, text = next(iter(self._waiting.items()))
            if text is None:
                slot = self._pool.lend()
                if slot is None:
                    break
                del self._waiting[number]
                self._borrowed[number] = slot
                continue
            slots = self._pool.allocate(text.n_slots)
            if not slots:
                break
            del self._waiting[number]
            self._active[number] = active = _Active(number, text, slots, scoring=text.scoring)
            try:
                text.start(number, slots)
            except Exception as error:  # noqa: BLE001  # whatever it is, this text ends with it
                self._fail(active, error)

    def _draw(self) -> bool:
        """Let the device choose several tokens of all texts; False where it cannot."""
        all_active = list(self._active.values())
        if not all_active or not self._decoder.abilities.device_sampling or self._drafting():
            return False
        for active in all_active:
            if not active.started or active.waits or active.text.draw is None:
                return False  # for example, there is a prompt to process
        texts = [cast(DrawnText, active.text) for active in all_active]
        slots = [active.slots[0] for active in all_active]
        found = draw(self._decoder, slots, texts)  # nothing if a slot is full
        for active, text, tokens in zip(all_active, texts, found, strict=False):
            self._events += text.take_drawn(*tokens)
            if text.finished:
                self._release(active)
        return bool(found)

    def _ask(self) -> None:
        """Ask each text that has its rows what it wants next."""
        pace = self._pace if self._drafting() else None
        for active in list(self._active.values()):
            if active.waits:
                continue
            try:
                wanted = active.text.wants(pace)
                if isinstance(wanted, Prefill):
                    self._check(wanted)
                    active.prefill, active.started = wanted, False
                else:
                    active.parts = wanted
            except Exception as error:  # noqa: BLE001  # of a rule or watcher, for example
                self._fail(active, error)

    def _check(self, prefill: Prefill) -> None:
        """Check a prompt here, where an error ends one text, not in the call of all texts."""
        if prefill.open is None:
            n_positions, vocab_size = self._decoder.n_positions, self._decoder.vocab_size
            check_parts([Part(0, prefill.ids)], [0], n_positions, vocab_size)

    def _schedule(self) -> list[tuple[_Active, Sequence[Part]]]:
        """The parts of this step: all that running texts want, and as much of prompts as fits."""
        all_active = list(self._active.values())
        budget = self._prompt_tokens or self._decoder.n_positions * len(all_active)
        scheduled: list[tuple[_Active, Sequence[Part]]] = []
        for active in all_active:
            if active.parts:
                scheduled.append((active, active.parts))
            elif active.prefill and budget and self._start_prefill(active, active.prefill):
                slot, ids = active.slots[0], active.prefill.ids
                read = self._decoder.length(slot)
                if active.scoring and read < len(ids) - 1:
                    some = ids[read : read + budget + 1]
                    scores = self._decoder.score(slot, some[:-1], some[1:], active.scoring.top)
                    active.scoring.take(some[1:], scores)
                    budget -= len(some) - 1
                    continue
                chunk = ids[read : read + budget]
                last = read + len(chunk) == len(ids)
                scheduled.append((active, [Part(slot, chunk, "last" if last else "none")]))
                budget -= len(chunk)
        return scheduled

    def _start_prefill(self, active: _Active, prefill: Prefill) -> bool:
        """Start a prefill; False if the decoder has nothing to compute for it in this step."""
        if active.started:
            return True
        slot, reuse = active.slots[0], not (active.text.hidden or active.scoring)
        others = self._active.values()
        if reuse and any(other.started and other.prefill == prefill for other in others):
            return False  # an equal prompt is being processed, and will be copied
        if not self._pool.fill(slot, prefill.known, reuse):
            return False
        active.started = True
        if prefill.open is None:
            return True
        try:
            computed = prefill.open(slot)
        except Exception as error:  # noqa: BLE001  # whatever it is, this text ends with it
            self._fail(active, error)
        else:
            logits = finite(computed.logits) if active.text.finite else computed.logits
            self._choose(active, self._rows(logits), computed.hidden or ())
        return False

    def _compute(self, scheduled: Sequence[tuple[_Active, Sequence[Part]]]) -> None:
        """Call the decoder; give each text its rows."""
        parts = [part for _, given in scheduled for part in given]
        counts = [_n_rows(given) for _, given in scheduled]
        hidden = any(active.text.hidden for active, _ in scheduled)
        start = self._clock()
        computed = self._decoder.run(parts, hidden=hidden)
        seconds = self._clock() - start
        logits = computed.logits
        _require_rows(len(logits), sum(counts))
        lenient = [active.text.finite for active, _ in scheduled]
        if any(lenient):
            logits = np.where(np.repeat(lenient, counts)[:, None], finite(logits), logits)
        rows, states = self._rows(logits), computed.hidden or ()
        drafting, prefilling = self._drafting(), scheduled[0][0].prefill is not None
        before, row, part = len(self._events), 0, 0
        for (active, given), n_rows in zip(scheduled, counts, strict=True):
            self._choose(active, rows[row : row + n_rows], states[part : part + len(given)])
            row += n_rows
            part += len(given)
        if drafting and prefilling:
            self._pace.spend(seconds)
        elif drafting:
            self._pace.ran(len(parts[0].ids), len(self._events) - before, seconds)

    def _rows(self, logits: Logits) -> list[Row]:
        best, normalizers = self._decoder.abilities.summarize(logits)
        return list(map(Row, logits, best.tolist(), normalizers.tolist()))

    def _choose(self, active: _Active, rows: Sequence[Row], hidden: Sequence[Logits]) -> None:
        """Have a text choose from its rows; after a prompt, texts with an equal one too."""
        equal: list[_Active] = []
        if active.prefill is not None:
            active.hidden += hidden
            if not rows:
                return  # more chunks follow
            equal = self._copy_prompt(active, active.prefill)
            hidden = [np.concatenate(active.hidden)] if active.hidden else []
            active.prefill, active.hidden, active.scoring = None, [], None
        active.parts = ()
        for one in (active, *equal):
            try:
                self._events += one.text.take(rows, hidden)
            except Exception as error:  # noqa: BLE001  # of a rule or watcher, for example
                self._fail(one, error)
            else:
                if one.text.finished:
                    self._release(one)

    def _copy_prompt(self, active: _Active, prefill: Prefill) -> list[_Active]:
        """Copy a prompt that is whole now for all texts that wait for an equal one."""
        equal = []
        for one in self._active.values():
            if one.prefill == prefill and not (one.started or one.text.hidden or one.scoring):
                self._pool.duplicate(active.slots[0], one.slots[0], prefill.known)
                one.prefill, one.started = None, True
                equal.append(one)
        return equal

    def _fail(self, active: _Active, error: Exception) -> None:
        """End a text with an error of its own."""
        self._release(active)
        self._events.append(Failed(active.number, error))

    def _release(self, active: _Active) -> None:
        """Release the slots of a text."""
        del self._active[active.number]
        self._pool.release(active.slots, active.text.held() if active.started else None)

    def _drafting(self) -> bool:
        """Whether the only text drafts."""
        return len(self._active) == 1 and next(iter(self._active.values())).text.drafts


def _n_rows(given: Sequence[Part]) -> int:
    """Rows of logits of the parts of a text, of which only a single one may want all."""
    ids, want = given[0].ids, given[0].want
    return len(given) if want == "last" else len(ids) if want == "all" else 0


def _require_rows(count: int, wanted: int) -> None:
    if count != wanted:
        raise DecoderError(
            f"the decoder returned {count} rows of logits; {wanted} were requested",
            hint="this is a bug in the decoder: use another one",
        )
