"""Continuous batching: requests of many clients share the slots of one decoder.

A thread of the engine's own steps a Stepper. Between two steps requests join and leave, deadlines
are checked, cancelled texts give up their slots, and other work has its turn (`Engine.run`).
Without requests the thread sleeps. With a bitwise decoder, a request has the same tokens alone and
in any company.

What can fail, and what it ends:
- a rule or prompt, or work: its request
- a call of the decoder: the requests that have slots; those that wait start in the next step
- `MAX_FAILURES` calls in a row, or the thread: all requests; the decoder is opened again
- a call that does not return: nothing can be done but to say so (`Engine.health`)
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from copy import deepcopy
from math import ceil
from typing import Any, Literal

from ogpt.errors import ConfigError, EngineUnavailable, QueueFull
from ogpt.generation.protocol.decoder import Abilities, Decoder
from ogpt.generation.searching.speculation import Clock
from ogpt.generation.searching.text import ScoringOf
from ogpt.generation.texts.continuing import texts
from ogpt.generation.texts.request import Request
from ogpt.generation.texts.writer import TokenizerLike
from ogpt.serving.deadline import Deadline
from ogpt.serving.request_stream import RequestStream, RequestTimes, T, WorkStream
from ogpt.serving.running_batch import EngineCounters, Job, RunningBatch
from ogpt.serving.running_work import RunningWork, Work

LOGGER = logging.getLogger(__name__)
MAX_FAILURES = 3
"""Steps that may fail in a row before the decoder is opened again."""

PROMPT_TOKENS = 128
"""Of prompts in a step: running texts wait for them between two tokens (docs/log.md)."""

STEP_TIMEOUT = 60.0
"""Seconds: the longest step, a chunk of a prompt beside texts, takes a small part of that."""

MAX_RETRY_AFTER = 60
"""Seconds: the most that a refused client is asked to wait."""

LAST_STEP = 3.0
"""Seconds that texts have to end with their newest token when they are not drained in time."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 60.0  # seconds between two attempts to open the decoder
_LOOK = 0.5  # seconds between two looks at a thread that may hang

Health = Literal["ready", "dead", "draining", "closed"]
"""ready: accepts requests; dead: the decoder has failed and is being opened again, or does not
return; draining: finishes what it has; closed: all has ended."""

OnEnd = Callable[[RequestTimes], None]
"""Receives the times of each request that has ended, in the engine's thread. It must not raise."""


class Engine:
    """Generates text for any number of clients. All methods may be called from any thread.

    A text, and work for `run`, counts as one of those in the engine.

    Args:
        open_decoder: Opens the decoder: now, and again after it has failed.
        tokenizer: Of the model.
        max_queued: Number of texts that may be in the engine beyond the slots of the decoder. A
            request of more texts is accepted when there are no others.
        max_time: Seconds from `submit` after which a request ends, whatever it asks for; None: no
            limit.
        prompt_tokens: Number of prompt tokens in a step, and of tokens of work between two steps.
        step_timeout: Seconds after which a call of the decoder that has not returned counts as one
            that will not.
        counters: What happens is added to them; None: new ones.
        on_end: Receives the times of each request that has ended.
        clock: Measures deadlines and times; in seconds.

    Raises:
        ConfigError: max_queued below 0, or a step_timeout that is not above 0.
        OgptError: as `open_decoder`.
    """

    def __init__(
        self,
        open_decoder: Callable[[], Decoder],
        tokenizer: TokenizerLike,
        *,
        max_queued: int = 64,
        max_time: float | None = None,
        prompt_tokens: int = PROMPT_TOKENS,
        step_timeout: float = STEP_TIMEOUT,
        counters: EngineCounters | None = None,
        on_end: OnEnd = lambda times: None,
        clock: Clock = time.monotonic,
    ) -> None:
        if max_queued < 0:
            raise ConfigError(
                f"max_queued is {max_queued}; allowed: 0 or more",
                hint="pass 0 to refuse what finds no slot",
            )
        if not step_timeout > 0:
            raise ConfigError(
                f"step_timeout is {step_timeout}; allowed: above 0", hint="pass inf for no limit"
            )
        self._open_decoder = open_decoder
        self._tokenizer = tokenizer
        self._max_queued = max_queued
        self._max_time = max_time
        self._prompt_tokens = prompt_tokens
        self._step_timeout = step_timeout
        self._on_end = on_end
        self._clock = clock
        self._counters = counters or EngineCounters()
        self._health: Health = "ready"
        self._drained = threading.Event()
        self._changed = threading.Condition()  # guards all below
        self._added: list[Job | Work[Any]] = []
        self._cancelled: list[Job | Work[Any]] = []
        self._step_began: float | None = None  # None: the thread waits for requests
        self._ends = deque([clock()], maxlen=max_queued + 1)  # when busy, or the last texts ended
        self._open()
        self._thread = threading.Thread(target=self._live, name="ogpt-engine", daemon=True)
        self._thread.start()

    @property
    def health(self) -> Health:
        """Whether it accepts requests, and if not, why."""
        if self._health == "closed":
            return "closed"
        return self._health if self._thread.is_alive() and not self._hangs() else "dead"

    @property
    def abilities(self) -> Abilities:
        """What its decoder offers."""
        return self._batch.decoder.abilities

    def counters(self) -> EngineCounters:
        """A copy of the counters."""
        with self._changed:
            found = deepcopy(self._counters)  # they outlive the engine, its load does not
            found.running, found.waiting = self._load()
        return found

    def submit(self, request: Request, scoring: ScoringOf | None = None) -> RequestStream:
        """Queue a request; return its pieces as they come.

        `max_time` of its settings counts from now. At the deadline each text ends with the token
        that is being computed, and finish reason "max_time".

        Args:
            request: From `texts.request.prepare`.
            scoring: Scores its prompts, in the engine's thread; see `texts.continuing.texts`.

        Raises:
            EngineUnavailable: the engine restarts, drains or is closed.
            QueueFull: too many texts wait.
            DecoderError: a text needs more slots than the decoder has.
            TokenOutOfRange: a setting has an id outside the vocabulary.
        """
        now, batch = self._clock(), self._batch
        deadline = self._deadline(request.settings.max_time)
        tokens = sum(len(prompt.ids) for prompt in request.prompts)
        n = len(request.prompts) * request.settings.num_return_sequences
        stream = RequestStream(lambda: self._cancel(job), RequestTimes(now, tokens, n))
        made = texts(batch.decoder, self._tokenizer, request, deadline.passed, scoring=scoring)
        job = Job(stream, list(made), deadline)
        batch.check(job)
        with self._changed:
            self._require_ready(batch)
            self._require_room(now, job.count)
            self._counters.prompt_tokens += tokens
            self._queue(job)
        return stream

    def run(
        self, work: Callable[[Decoder], Iterator[T]], max_time: float | None = None
    ) -> WorkStream[T]:
        """Queue work that calls the decoder: scores, hidden states, whatever is not a text.

        Functions for any decoder can be used as they are, such as `likelihood.score_choices`. Their
        calls are cut into chunks of `prompt_tokens` tokens, and all texts take a step between two
        of them. `work` runs in the engine's thread, and in a copy of the caller's context.

        Args:
            work: Yields results of a decoder of one empty slot, number 0; an error ends it alone.
            max_time: Seconds from now after which it ends, with the error DeadlineExceeded.

        Raises:
            EngineUnavailable: the engine restarts, drains or is closed.
            QueueFull: too many texts wait.
        """
        now = self._clock()
        stream = WorkStream[T](lambda: self._cancel(one), RequestTimes(now))
        one = Work(stream, work, self._deadline(max_time), copy_context())
        with self._changed:
            self._require_ready(self._batch)
            self._require_room(now, one.count)
            self._queue(one)
        return stream

    def drain(self, timeout: float | None = None) -> bool:
        """Accept no more requests, finish all there are, then close.

        Args:
            timeout: Seconds; texts that have not ended then end as they are, with finish reason
                "abort", and work with an error. None: no limit.

        Returns:
            Whether all requests were finished in time.
        """
        with self._changed:
            if self._health != "closed":
                self._health = "draining"
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not sum(self._load()), timeout)
            self._drained.set()
            self._changed.wait_for(lambda: not sum(self._load()), LAST_STEP)
        self.close()
        return done

    def close(self) -> None:
        """End all requests with an error and close the decoder; a second call does nothing."""
        with self._changed:
            self._health = "closed"
            self._changed.notify_all()
        while self._thread.is_alive():
            self._thread.join(_LOOK)
            if self._hangs():  # the thread ends with the process
                self._abandon()
                break

    def _hangs(self) -> bool:
        """Whether a call of the decoder does not return."""
        began = self._step_began
        return began is not None and self._clock() - began > self._step_timeout

    def _deadline(self, max_time: float | None) -> Deadline:
        return Deadline(self._clock, (max_time, self._max_time), self._drained)

    def _require_ready(self, batch: RunningBatch) -> None:
        """Check, under the lock, that requests are accepted by this batch."""
        if self.health != "ready" or batch is not self._batch:
            raise self._unavailable()

    def _queue(self, job: Job | Work[Any]) -> None:
        """Hand a request to the thread; the lock is held."""
        self._counters.requests += 1
        self._added.append(job)
        self._changed.notify_all()

    def _require_room(self, now: float, count: int) -> None:
        load = sum(self._load()) - sum(job.count for job in self._cancelled)  # those are leaving
        most = self._batch.decoder.slots + self._max_queued
        if not load:
            self._ends = deque([now], maxlen=self._max_queued + 1)
        if load and load + count > most:  # alone, a request may be larger
            self._counters.refused += 1
            seen = f"{load} texts run or wait; allowed: {most}, with the {count} of this request"
            error = QueueFull(seen, hint="send the request again later")
            since = now - self._ends[0]  # in which about max_queued texts ended
            error.retry_after = max(1, min(ceil(since), MAX_RETRY_AFTER))
            raise error

    def _load(self) -> tuple[int, int]:
        """Texts and works that run, and that wait."""
        added = sum(job.count for job in self._added)
        waiting = self._batch.waiting + self._work.waiting
        return max(0, len(self._batch) + len(self._work) - waiting), waiting + added

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"the engine is {self.health}; allowed: ready",
            hint="send the request again later, or to another server",
        )

    def _cancel(self, job: Job | Work[Any]) -> None:
        with self._changed:
            self._cancelled.append(job)
            self._changed.notify_all()

    def _open(self) -> None:
        decoder = self._open_decoder()
        shared = (self._clock, self._counters, self._ended)
        self._batch = RunningBatch(decoder, self._prompt_tokens, *shared)
        self._work = RunningWork(self._batch, self._prompt_tokens, self._step_texts, *shared)

    def _ended(self, times: RequestTimes) -> None:
        self._ends.extend([self._clock()] * max(1, times.n))
        self._on_end(times)

    def _live(self) -> None:
        """The thread: serve; after a failure end all requests and open the decoder again."""
        while True:
            try:
                self._serve()
            except BaseException:  # whatever has failed, no reader may wait for ever
                LOGGER.exception("the engine has failed")
            with self._changed:
                if self._health == "ready":
                    self._health = "dead"
                self._step_began = None
            self._abandon()
            with suppress(Exception):
                self._batch.decoder.close()
            if not self._reopen():
                return

    def _abandon(self) -> None:
        """End all requests with an error."""
        with self._changed:
            self._add()
        self._work.abandon(self._unavailable)
        self._batch.abandon(self._unavailable)
        with self._changed:
            self._counters.cache_usage = 0.0
            self._changed.notify_all()

    def _serve(self) -> None:
        """Step until the engine is closed or the decoder has failed."""
        while not self._failed:
            with self._changed:
                self._step_began = None
                if not self._busy:
                    self._changed.notify_all()  # `drain` waits for this
                self._changed.wait_for(
                    lambda: self._busy or self._added or self._cancelled or self._health == "closed"
                )
            if self._health == "closed":
                return
            self._take_step()
            self._work.advance()

    def _take_step(self) -> None:
        """Add new requests, end cancelled ones, and advance all texts."""
        with self._changed:
            self._step_began = self._clock()
            self._add()
            cancelled, self._cancelled = self._cancelled, []
        for one in cancelled:
            if isinstance(one, Work):
                self._work.cancel(one)
            else:
                self._batch.cancel(one)
        self._batch.step()

    def _step_texts(self) -> None:
        """The step between two calls of the decoder for work."""
        self._take_step()
        if self._failed or self._health == "closed":
            raise self._unavailable()

    @property
    def _busy(self) -> bool:
        """Whether there is a text or work."""
        return bool(len(self._batch) or len(self._work))

    @property
    def _failed(self) -> bool:
        """Whether the decoder shall be opened again."""
        return self._batch.failures >= MAX_FAILURES

    def _add(self) -> None:
        """Take in new requests; the lock is held, so that none is uncounted."""
        for job in self._added:
            if isinstance(job, Work):
                self._work.add(job)
            else:
                self._batch.add(job)
        self._added = []

    def _reopen(self) -> bool:
        """Open the decoder again, at once and then after longer and longer pauses.

        Returns:
            False if the engine drains or is closed.
        """
        pause = _FIRST_PAUSE
        while self._health == "dead":
            try:
                self._open()
            except Exception:  # health says that it is dead
                LOGGER.exception("the decoder cannot be opened again; next attempt in %g s", pause)
                with self._changed:
                    self._changed.wait_for(lambda: self._health != "dead", pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            with self._changed:
                self._counters.restarts += 1
                if self._health == "dead":
                    self._health = "ready"
            return True
        return False
