"""Work beside the texts of an engine: scores, hidden states, whatever else calls a decoder.

Work borrows a slot, in order of arrival with the texts. Between any two calls of the decoder for
work, all texts take a step, so that none waits longer than for a chunk of a prompt. Work that is
computed at the same time takes turns, a result each. Nothing here knows of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from ogpt.errors import EngineError
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.speculation import Clock
from ogpt.serving.borrowed_slot import BorrowedSlot
from ogpt.serving.deadline import Deadline
from ogpt.serving.request_stream import RequestTimes, T, WorkStream, wake
from ogpt.serving.running_batch import EngineCounters, RunningBatch, as_ours

_SHARE = 4
"""Work has at most one of this number of slots; with fewer slots, one."""


@dataclass(slots=True, eq=False)
class Work(Generic[T]):
    """Work in the engine."""

    stream: WorkStream[T]
    start: Callable[[Decoder], Iterator[T]]
    deadline: Deadline
    context: Context
    """Of the caller, so that notices reach it."""
    loan: int | None = None
    """Of its slot, once it has asked for one."""
    decoder: BorrowedSlot | None = None
    results: Iterator[T] | None = None
    left: bool = False
    """Its reader has left while it was computed."""
    count: int = 1
    """Of the texts that it counts as; 0 when it has ended."""


class RunningWork:
    """Advances work, one call of the decoder at a time.

    Args:
        batch: The texts beside it.
        chunk: Maximum number of tokens of a call.
        step: Advances the texts; what it raises ends the work that waits for it.
        clock: Measures times.
        counters: What happens is added to them.
        on_end: Receives the times of each work that has ended.
    """

    def __init__(
        self,
        batch: RunningBatch,
        chunk: int,
        step: Callable[[], None],
        clock: Clock,
        counters: EngineCounters,
        on_end: Callable[[RequestTimes], None],
    ) -> None:
        self._batch = batch
        self._chunk = chunk
        self._step = step
        self._clock = clock
        self._counters = counters
        self._on_end = on_end
        self._most = max(1, batch.decoder.slots // _SHARE)
        self._line: deque[Work[Any]] = deque()  # the next one to compute comes first
        self._loans = 0  # works that have a slot or have asked for one
        self._current: Work[Any] | None = None

    def __len__(self) -> int:
        """Number of works that have not ended."""
        return len(self._line)

    @property
    def waiting(self) -> int:
        """Number of works that have not asked for a slot."""
        return len(self._line) - self._loans

    def add(self, work: Work[Any]) -> None:
        """Queue work."""
        self._line.append(work)
        self._ask()

    def cancel(self, work: Work[Any]) -> None:
        """End work whose reader has left; what has ended is ignored.

        What is being computed ends before its next call of the decoder.
        """
        if work is self._current:
            work.left = True
        elif work in self._line:
            self._counters.cancelled += 1
            self._end(work)

    def advance(self) -> None:
        """Compute the next result of the work whose turn it is."""
        for work in [one for one in self._line if one.deadline.passed()]:
            self._fail(work, work.deadline.error())
        self._ask()
        if turn := next(filter(self._slot_of, self._line), None):
            self._line.remove(turn)
            self._line.append(turn)
            self._compute(turn)

    def abandon(self, error_of: Callable[[], EngineError]) -> None:
        """End all work with an error, without a call of the decoder; the last call."""
        for work in list(self._line):
            work.loan = None
            self._fail(work, error_of())
        self._loans = 0

    def _ask(self) -> None:
        """Ask for slots, as far as work may have them."""
        for work in self._line:
            if work.loan is None and self._loans < self._most:
                work.loan = self._batch.borrow()
                self._loans += 1

    def _slot_of(self, work: Work[Any]) -> BorrowedSlot | None:
        """The slot of work, once it has one."""
        slot = None if work.loan is None else self._batch.borrowed(work.loan)
        if slot is not None and work.decoder is None:
            decoder, pause = self._batch.decoder, partial(self._pause, work)
            work.decoder = BorrowedSlot(decoder, slot, self._chunk, pause)
        return work.decoder

    def _compute(self, work: Work[Any]) -> None:
        """Compute one result; at the last one, or after an error, the work ends."""
        times = work.stream.times
        times.start(self._clock())
        self._current = work
        try:
            result = work.context.run(_next, work)
        except StopIteration:
            self._end(work)
        except Exception as error:  # noqa: BLE001  # whatever it is, others continue
            self._batch.failures += work.decoder is not None and work.decoder.failed
            self._fail(work, error)
        else:
            self._batch.failures = 0
            times.start(self._clock(), token=True)
            work.stream.put(result)
            lost = wake([work.stream])
            if work.left or lost:
                self._counters.cancelled += 1
                self._end(work)
        finally:
            self._current = None

    def _pause(self, work: Work[Any]) -> None:
        """Let the texts take a step, in no context of the work."""
        if not work.left:
            Context().run(self._step)
        if work.left:
            raise EngineError(
                "the reader of the work has left; allowed: a reader", hint="end the work here"
            )
        if work.deadline.passed():
            raise work.deadline.error()

    def _fail(self, work: Work[Any], error: Exception) -> None:
        """End work with an error."""
        if work.left:
            self._counters.cancelled += 1
        else:
            self._counters.failed += 1
        self._end(work, as_ours(error))

    def _end(self, work: Work[Any], error: Exception | None = None) -> None:
        """End work and return its slot."""
        self._line.remove(work)
        work.count = 0
        work.left = True  # no more calls of the decoder, while it is closed
        close = getattr(work.results, "close", None)
        if close is not None:
            with suppress(Exception):  # it has ended, however it takes it
                work.context.run(close)
        times = work.stream.times
        if work.decoder is not None:
            work.decoder.close()
            times.prompt_tokens = work.decoder.tokens
            self._counters.work_tokens += work.decoder.tokens
        if work.loan is not None:
            self._loans -= 1
            self._batch.give_back(work.loan)
        times.ended = self._clock()
        work.stream.end(error)
        wake([work.stream])
        self._on_end(times)


def _next(work: Work[Any]) -> Any:
    """The next result; raises StopIteration after the last one."""
    assert work.decoder is not None
    work.decoder.paused = True  # the texts have just had a step
    if work.results is None:
        work.results = work.start(work.decoder)
    return next(work.results)
