"""The requests of one Stepper: events of its texts become pieces, ends and errors of requests.

Nothing here knows of threads: `engine` calls it from one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import get_args

from ogpt.errors import EngineError, OgptError
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.slot_pool import PrefixCounts
from ogpt.generation.searching.speculation import Clock
from ogpt.generation.searching.stepper import Stepper
from ogpt.generation.searching.text import Event, Failed, FinishReason, Hypotheses, Text, Token
from ogpt.generation.texts.continuing import Draft
from ogpt.serving.deadline import Deadline
from ogpt.serving.request_stream import Piece, RequestStream, RequestTimes, wake

LOGGER = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Job:
    """A request in the engine."""

    stream: RequestStream
    texts: list[tuple[Draft, Text]]
    deadline: Deadline
    drafts: dict[int, Draft] = field(default_factory=dict)
    """Of the texts that have not ended, by their numbers in the Stepper."""
    last: dict[int, float] = field(default_factory=dict)
    """When texts had their last token, by number. These end by themselves at the deadline."""
    count: int = field(init=False)
    """Number of texts that have not ended."""

    def __post_init__(self) -> None:
        self.count = len(self.texts)


@dataclass(slots=True)
class EngineCounters:
    """Counts of a model, over all of its engines; `running` and `waiting` are those of now."""

    requests: int = 0
    """Accepted."""
    refused: int = 0
    """Because too many requests waited."""
    cancelled: int = 0
    failed: int = 0
    """Ended with an error."""
    finished: dict[FinishReason, int] = field(
        default_factory=lambda: dict.fromkeys(get_args(FinishReason), 0)
    )
    """Continuations that ended, by finish reason."""
    prompt_tokens: int = 0
    """Of accepted requests; a prompt counts once, whatever its number of continuations."""
    generation_tokens: int = 0
    """Of sampling, greedy and contrastive search, and of the beams returned."""
    work_tokens: int = 0
    """Computed for `Engine.run`."""
    prefix_cache_queries: int = 0
    """Tokens of prompts, and of windows that moved, that were looked up in the slots."""
    prefix_cache_hits: int = 0
    """Those that were found, and were not computed again."""
    cache_usage: float = 0.0
    """Share of the KV cache that running texts and work fill, 0 to 1."""
    steps: int = 0
    failed_steps: int = 0
    restarts: int = 0
    running: int = 0
    """Texts and works with slots."""
    waiting: int = 0
    """Those without."""


class RunningBatch:
    """Advances requests together.

    Args:
        decoder: All of its slots are used.
        prompt_tokens: See Stepper.
        clock: Measures times.
        counters: What happens is added to them.
        on_end: Receives the times of each request that has ended.

    Attributes:
        decoder: As passed.
        failures: Steps that failed since the last one that did not.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompt_tokens: int,
        clock: Clock,
        counters: EngineCounters,
        on_end: Callable[[RequestTimes], None],
    ) -> None:
        self.decoder = decoder
        self.failures = 0
        self._stepper = Stepper(decoder, prompt_tokens)
        self._clock = clock
        self._counters = counters
        self._on_end = on_end
        self._counted = PrefixCounts()
        self._now = clock()  # of the step
        self._jobs: dict[int, Job] = {}  # by number of the text
        self._touched: dict[RequestStream, Job] = {}  # whose readers have something new

    def __len__(self) -> int:
        """Number of texts that have not ended."""
        return len(self._jobs)

    @property
    def waiting(self) -> int:
        """Number of texts without slots, and of slots that are queued for."""
        return len(self._stepper.waiting)

    def borrow(self) -> int:
        """Queue for a slot; see Stepper."""
        return self._stepper.borrow()

    def borrowed(self, loan: int) -> int | None:
        """The borrowed slot; None while it is queued for."""
        return self._stepper.borrowed(loan)

    def give_back(self, loan: int) -> None:
        """Return a borrowed slot, or leave the queue."""
        self._stepper.cancel(loan)
        self._count()

    def check(self, job: Job) -> None:
        """Check that each text has enough slots; any thread may call it.

        Raises:
            DecoderError: a text needs more slots than there are.
        """
        for _, text in job.texts:
            self._stepper.check(text)

    def add(self, job: Job) -> None:
        """Queue a request that was checked."""
        for draft, text in job.texts:
            number = self._stepper.add(text)
            job.drafts[number] = draft
            self._jobs[number] = job

    def cancel(self, job: Job) -> None:
        """End a request whose reader has left; one that has ended is ignored."""
        if job.drafts:
            self._counters.cancelled += 1
            self._end(job)

    def step(self) -> None:
        """Advance all texts; an error of the decoder ends the requests that have slots."""
        self._expire()
        self._deliver()
        if self._jobs or self._stepper.waiting:
            self._counters.steps += bool(self._jobs)
            try:
                events = self._stepper.step()
            except Exception as error:  # whatever it is, waiting requests continue
                LOGGER.exception("a step of the decoder has failed")
                self.failures += 1
                self._counters.failed_steps += 1
                for job in self._running():
                    self._fail(job, _unexpected(error))
            else:
                if self._jobs:
                    self.failures = 0
                self._now = self._clock()
                for event in events:
                    self._take_safely(event)
                for job in self._running():
                    job.stream.times.start(self._now)
        self._count()
        self._deliver()

    def abandon(self, error_of: Callable[[], EngineError]) -> None:
        """End all requests with an error, without a call of the decoder; the last call."""
        for job in dict.fromkeys(self._jobs.values()):
            job.drafts.clear()
            self._counters.failed += 1
            self._end(job, error_of())
        self._jobs.clear()
        self._deliver()

    def _count(self) -> None:
        """Update the counters of the KV cache."""
        counts, before = self._stepper.prefix_counts, self._counted
        self._counters.prefix_cache_queries += counts.queries - before.queries
        self._counters.prefix_cache_hits += counts.hits - before.hits
        self._counted = counts
        self._counters.cache_usage = self._stepper.cache_usage

    def _running(self) -> list[Job]:
        """Requests of which a text has slots."""
        waiting = self._stepper.waiting
        found = {job: None for number, job in self._jobs.items() if number not in waiting}
        return list(found)

    def _expire(self) -> None:
        """End the texts without a token whose deadline has passed."""
        for number, job in list(self._jobs.items()):
            if number not in job.last and job.deadline.passed():
                self._stepper.cancel(number)
                draft = job.drafts[number]
                text = draft.end(job.deadline.reason())
                for place in range(draft.number, draft.number + draft.count):
                    self._put(job, Piece(place, text, None, draft.generation()))
                self._end_text(number, job)

    def _take_safely(self, event: Event) -> None:
        """Pass on what a step did to a text; an error of its tokenizer ends its request."""
        job = self._jobs.get(event.continuation)
        if job is None:  # ended earlier in this step
            return
        try:
            self._take(event, job)
        except Exception as error:  # noqa: BLE001  # whatever it is, other requests continue
            self._fail(job, error)

    def _take(self, event: Event, job: Job) -> None:
        if isinstance(event, Failed):
            self._fail(job, event.error)
            return
        number = event.continuation
        times = job.stream.times
        if times.first_token is None:
            times.start(self._now, token=True)
        last = job.last.get(number)
        if last != self._now:  # several tokens of one step come at once
            if last is not None:
                times.gaps.append(self._now - last)
            job.last[number] = self._now
        draft = job.drafts[number]
        if isinstance(event, Token):
            times.generation_tokens += 1
            self._counters.generation_tokens += 1
            text = draft.take(event)
            ended = draft.finish_reason is not None
            self._put(job, Piece(draft.number, text, event, draft.generation() if ended else None))
            if ended:
                self._stepper.cancel(number)  # where a stop string ended it
                self._end_text(number, job)
        elif isinstance(event, Hypotheses):
            for place, beam in enumerate(event.best, draft.number):
                generation = draft.of_beam(beam)
                times.generation_tokens += len(generation.ids)
                self._counters.generation_tokens += len(generation.ids)
                self._put(job, Piece(place, generation.text, None, generation))
            self._end_text(number, job)

    def _put(self, job: Job, piece: Piece) -> None:
        if (ended := piece.generation) is not None:
            if ended.finish_reason == "max_time":
                ended = replace(ended, finish_reason=job.deadline.reason())
            self._counters.finished[ended.finish_reason] += 1
            piece = piece._replace(generation=ended)
        job.stream.put(piece)
        self._touched[job.stream] = job

    def _end_text(self, number: int, job: Job) -> None:
        """Forget a text that has ended; the last one ends its request."""
        del self._jobs[number], job.drafts[number]
        job.count -= 1
        if not job.drafts:
            self._end(job)

    def _fail(self, job: Job, error: Exception) -> None:
        """End a request with an error."""
        self._counters.failed += 1
        self._end(job, as_ours(error))

    def _end(self, job: Job, error: Exception | None = None) -> None:
        """End a request; the slots of its texts are free."""
        for number in list(job.drafts):
            self._stepper.cancel(number)
            del self._jobs[number]
        job.drafts.clear()
        job.count = 0
        job.stream.times.ended = self._clock()
        job.stream.end(error)
        self._touched[job.stream] = job
        self._on_end(job.stream.times)

    def _deliver(self) -> None:
        """Wake the readers of all that is new; cancel requests that nobody can read any more."""
        touched, self._touched = self._touched, {}
        for stream in wake(touched):
            self.cancel(touched[stream])


def as_ours(error: Exception) -> OgptError:
    """An error of ogpt as it is; any other one is logged and becomes an EngineError."""
    if isinstance(error, OgptError):
        return error
    LOGGER.error("a request has failed", exc_info=error)
    return _unexpected(error)


def _unexpected(error: Exception) -> EngineError:
    found = EngineError(
        f"the request ended with {type(error).__name__}: {error}",
        hint="send it again; if it fails again, report it",
    )
    found.__cause__ = error
    return found
