"""The one loop that generates text: a call of the decoder advances all texts by a step.

Texts join and leave between two steps, in any order. Each has settings and a kind of search of its
own (`text`). With a bitwise decoder no text is changed by what runs beside it, by a single bit.

A waiting text starts when there are slots for it, in order of arrival. While other texts run, a
step processes at most `prompt_tokens` tokens of prompts, so that no running text waits for a long
prompt; while none runs, prompts are processed whole and together. What is computed once is not
computed again: equal prompts are copied after the first one, and a prompt that begins like another
one waits for those tokens, or finds them in a slot whose text has ended (`lending`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import numpy as np

from ogpt.errors import DecoderError
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.protocol.slots import check_parts
from ogpt.generation.searching.device_draws import draw
from ogpt.generation.searching.lending import Lending
from ogpt.generation.searching.speculation import Clock, Pace
from ogpt.generation.searching.text import DrawnText, Event, Failed, Prefill, Row, Text

PROMPT_TOKENS = 256  # the native core computes as many rows at once (`_CHUNK_ROWS`)


@dataclass(slots=True, eq=False)
class _Seat:
    """A text that has slots."""

    number: int
    text: Text
    slots: list[int]
    parts: Sequence[Part] = ()  # what the text wants computed
    prefill: Prefill | None = None  # or what its first slot shall hold
    begun: bool = False  # the first slot holds the beginning of the prefill, or did at least
    hidden: list[Logits] = field(default_factory=list)  # of each chunk of the prefill

    @property
    def waits(self) -> bool:
        """Whether it waits for rows."""
        return bool(self.parts) or self.prefill is not None


class Stepper:
    """Generates any number of texts in the slots of a decoder.

    An error of one text (its prompt, a rule, its watcher or stop predicate) ends that text alone,
    with the event `Failed`. An error of the decoder is raised by `step`: texts are then as they
    were, can be cancelled, and stepped again.

    Args:
        decoder: All of its slots are used; nothing else may use it meanwhile.
        prompt_tokens: Maximum number of prompt tokens in a step that other texts wait for. 0 sets
            no limit: texts get their tokens less evenly, but all together are faster, as slots
            are in use sooner.
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
        return not self._waiting and not self._seats

    def add(self, text: Text) -> int:
        """Queue a text; return the number that its events carry.

        Raises:
            DecoderError: the decoder has fewer slots than the text needs.
        """
        if text.n_slots > self._decoder.slots:
            raise DecoderError(
                f"the decoder has {self._decoder.slots} slots; this text needs {text.n_slots}",
                hint="open the decoder with more slots, or use fewer beams or candidates",
            )
        number = next(self._numbers)
        self._waiting[number] = text
        return number

    def cancel(self, number: int) -> None:
        """End a text, between two steps. Its slots are free at once, and it has no more events.

        A text that has ended already is ignored: its end and the cancellation may cross.
        """
        if self._waiting.pop(number, None) is None and number in self._seats:
            self._release(self._seats[number])

    def close(self) -> None:
        """Cancel all texts and empty all slots."""
        self._waiting: dict[int, Text] = {}
        self._seats: dict[int, _Seat] = {}  # by number, in order of arrival
        self._lending = Lending(self._decoder)

    def run(self) -> Generator[Event, None, None]:
        """Step until no text is left, then close; raise the error of a text that fails.

        After a cancellation the events that the last step has returned still follow.
        """
        try:
            while not self.idle:
                for event in self.step():
                    if isinstance(event, Failed):
                        raise event.error
                    yield event
        finally:
            self.close()

    def step(self) -> list[Event]:
        """Advance all texts by one call of the decoder; return the new events in order.

        Raises:
            DecoderError: of the decoder, or its logits are not finite.
        """
        events: list[Event] = []
        self._admit(events)
        if not self._draw(events):
            self._ask(events)
            if shares := self._share(events):
                self._compute(events, shares)
        return events

    def _admit(self, events: list[Event]) -> None:
        """Lend slots to waiting texts, in order of arrival."""
        while self._waiting:
            number, text = next(iter(self._waiting.items()))
            slots = self._lending.lend(text.n_slots)
            if not slots:
                break
            del self._waiting[number]
            self._seats[number] = seat = _Seat(number, text, slots)
            try:
                text.start(number, slots)
            except Exception as error:  # noqa: BLE001  # whatever it is, this text ends with it
                self._fail(events, seat, error)

    def _draw(self, events: list[Event]) -> bool:
        """Let the device choose several tokens of all texts; False where it cannot."""
        seats = list(self._seats.values())
        if not seats or not self._decoder.abilities.device_sampling or self._drafting():
            return False
        if not all(seat.begun and not seat.waits and seat.text.draw for seat in seats):
            return False  # for example, one has a prompt to process
        texts = [cast(DrawnText, seat.text) for seat in seats]
        found = draw(self._decoder, [seat.slots[0] for seat in seats], texts)
        for seat, text, tokens in zip(seats, texts, found, strict=False):  # none: a slot is full
            events += text.take_drawn(*tokens)
            if text.finished:
                self._release(seat)
        return bool(found)

    def _ask(self, events: list[Event]) -> None:
        """Ask each text that has its rows what it wants next."""
        pace = self._pace if self._drafting() else None
        for seat in list(self._seats.values()):
            if seat.waits:
                continue
            try:
                wanted = seat.text.wants(pace)
                if isinstance(wanted, Prefill):
                    self._check(wanted)
                    seat.prefill, seat.begun = wanted, False
                else:
                    seat.parts = wanted
            except Exception as error:  # noqa: BLE001  # of a rule or watcher, for example
                self._fail(events, seat, error)

    def _check(self, prefill: Prefill) -> None:
        """Check a prompt here, where an error ends one text, not in the call of all texts."""
        if prefill.open is None:
            n_positions, vocab_size = self._decoder.n_positions, self._decoder.vocab_size
            check_parts([Part(0, prefill.ids)], [0], n_positions, vocab_size)

    def _share(self, events: list[Event]) -> list[tuple[_Seat, Sequence[Part]]]:
        """The parts of this step: all that running texts want, and as much of prompts as fits."""
        seats = list(self._seats.values())
        budget = self._decoder.n_positions * len(seats)  # all there can be
        if self._prompt_tokens and any(seat.parts for seat in seats):
            budget = self._prompt_tokens
        shares: list[tuple[_Seat, Sequence[Part]]] = []
        for seat in seats:
            if seat.parts:
                shares.append((seat, seat.parts))
            elif budget and seat.prefill and (seat.begun or self._begin(events, seat)):
                slot, ids = seat.slots[0], seat.prefill.ids
                read = self._decoder.length(slot)
                chunk = ids[read : read + budget]
                last = read + len(chunk) == len(ids)
                shares.append((seat, [Part(slot, chunk, "last" if last else "none")]))
                budget -= len(chunk)
        return shares

    def _begin(self, events: list[Event], seat: _Seat) -> bool:
        """Prepare the first slot for a prefill; False where the decoder has nothing to do yet."""
        prefill, slot = seat.prefill, seat.slots[0]
        assert prefill is not None
        reuse = not seat.text.hidden
        if reuse and any(one.begun and one.prefill == prefill for one in self._seats.values()):
            return False  # an equal prompt is being processed, and will be copied
        if not self._lending.fill(slot, prefill.known, reuse):
            return False
        seat.begun = True
        if prefill.open is None:
            return True
        try:
            computed = prefill.open(slot)
        except Exception as error:  # noqa: BLE001  # whatever it is, this text ends with it
            self._fail(events, seat, error)
        else:
            self._give(events, seat, self._rows(computed.logits), computed.hidden or ())
        return False

    def _compute(self, events: list[Event], shares: Sequence[tuple[_Seat, Sequence[Part]]]) -> None:
        """Call the decoder; give each text its rows."""
        parts = [part for _, given in shares for part in given]
        counts = [_n_rows(given) for _, given in shares]
        hidden = any(seat.text.hidden for seat, _ in shares)
        start = self._clock()
        computed = self._decoder.run(parts, hidden=hidden)
        seconds = self._clock() - start
        _require_rows(len(computed.logits), sum(counts))
        rows, states = self._rows(computed.logits), computed.hidden or ()
        drafting, prefilling = self._drafting(), shares[0][0].prefill is not None
        before, row, part = len(events), 0, 0
        for (seat, given), n_rows in zip(shares, counts, strict=True):
            self._give(events, seat, rows[row : row + n_rows], states[part : part + len(given)])
            row += n_rows
            part += len(given)
        if drafting and prefilling:
            self._pace.spend(seconds)
        elif drafting:
            self._pace.ran(len(parts[0].ids), len(events) - before, seconds)

    def _rows(self, logits: Logits) -> list[Row]:
        best, normalisers = self._decoder.abilities.summarize(logits)
        return list(map(Row, logits, best.tolist(), normalisers.tolist()))

    def _give(
        self, events: list[Event], seat: _Seat, rows: Sequence[Row], hidden: Sequence[Logits]
    ) -> None:
        """Have a text choose from its rows; after a prompt, texts with an equal one too."""
        equal: list[_Seat] = []
        if seat.prefill is not None:
            seat.hidden += hidden
            if not rows:
                return  # more chunks follow
            equal = self._copies(seat, seat.prefill)
            hidden = [np.concatenate(seat.hidden)] if seat.hidden else []
            seat.prefill, seat.hidden = None, []
        seat.parts = ()
        for one in (seat, *equal):
            try:
                events += one.text.take(rows, hidden)
            except Exception as error:  # noqa: BLE001  # of a rule or watcher, for example
                self._fail(events, one, error)
            else:
                if one.text.finished:
                    self._release(one)

    def _copies(self, seat: _Seat, prefill: Prefill) -> list[_Seat]:
        """Copy a prompt that is whole now for all texts that wait for an equal one."""
        equal = []
        for one in self._seats.values():
            if one.prefill == prefill and not one.begun and not one.text.hidden:
                self._lending.duplicate(seat.slots[0], one.slots[0], prefill.known)
                one.prefill, one.begun = None, True
                equal.append(one)
        return equal

    def _fail(self, events: list[Event], seat: _Seat, error: Exception) -> None:
        """End a text with an error of its own."""
        self._release(seat)
        events.append(Failed(seat.number, error))

    def _release(self, seat: _Seat) -> None:
        """Take the slots of a text back."""
        del self._seats[seat.number]
        self._lending.take_back(seat.slots, seat.text.held() if seat.begun else None)

    def _drafting(self) -> bool:
        """Whether the only text drafts."""
        return len(self._seats) == 1 and next(iter(self._seats.values())).text.drafts


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
