"""Continuous batching: requests of many clients share the slots of one decoder.

A thread of the engine's own steps a Stepper. Between two steps requests join and leave, deadlines
are checked, and cancelled texts give up their slots. Without requests the thread sleeps. With a
bitwise decoder, a request has the same tokens alone and in any company.

What can fail, and what it ends:
- a rule or prompt: its request
- a call of the decoder: the requests that have slots; those that wait start in the next step
- `MAX_FAILURES` calls in a row, or the thread: all requests; the decoder is opened again
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from math import ceil
from typing import Literal

from ogpt.errors import ConfigError, EngineUnavailable, QueueFull
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.speculation import Clock
from ogpt.generation.searching.stepper import PROMPT_TOKENS
from ogpt.generation.texts.continuing import texts
from ogpt.generation.texts.request import Request
from ogpt.generation.texts.writer import TokenizerLike
from ogpt.serving.request_stream import RequestStream, RequestTimes
from ogpt.serving.running_batch import EngineCounters, Job, RunningBatch

MAX_FAILURES = 3
"""Steps that may fail in a row before the decoder is opened again."""

MAX_RETRY_AFTER = 60
"""Seconds: the most that a refused client is asked to wait."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 60.0  # seconds between two attempts to open the decoder

Health = Literal["ready", "dead", "draining", "closed"]
"""ready: accepts requests; dead: the decoder has failed and is being opened again; draining:
finishes what it has; closed: all has ended."""


class Engine:
    """Generates text for any number of clients. All methods may be called from any thread.

    Args:
        open_decoder: Opens the decoder: now, and again after it has failed.
        tokenizer: Of the model.
        max_queued: Number of texts that may be in the engine beyond the slots of the decoder.
        max_time: Seconds from `submit` after which a request ends, whatever it asks for; None: no
            limit.
        prompt_tokens: Number of prompt tokens in a step that running texts wait for.
        clock: Measures deadlines and times; in seconds.

    Raises:
        ConfigError: max_queued below 0.
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
        clock: Clock = time.monotonic,
    ) -> None:
        if max_queued < 0:
            raise ConfigError(
                f"max_queued is {max_queued}; allowed: 0 or more",
                hint="pass 0 to refuse what finds no slot",
            )
        self._open_decoder = open_decoder
        self._tokenizer = tokenizer
        self._max_queued = max_queued
        self._max_time = max_time
        self._prompt_tokens = prompt_tokens
        self._clock = clock
        self._counters = EngineCounters()
        self._health: Health = "ready"
        self._changed = threading.Condition()  # guards all below
        self._added: list[Job] = []
        self._cancelled: list[Job] = []
        self._ends = deque([clock()], maxlen=max_queued + 1)  # when busy, or the last texts ended
        self._open()
        self._thread = threading.Thread(target=self._live, name="ogpt-engine", daemon=True)
        self._thread.start()

    @property
    def health(self) -> Health:
        """Whether it accepts requests, and if not, why."""
        return self._health if self._thread.is_alive() or self._health == "closed" else "dead"

    def counters(self) -> EngineCounters:
        """A copy of the counters."""
        with self._changed:
            self._counters.running, self._counters.waiting = self._load()
            return deepcopy(self._counters)

    def submit(self, request: Request) -> RequestStream:
        """Queue a request; return its pieces as they come.

        `max_time` of its settings counts from now. At the deadline each text ends with the token
        that is being computed, and finish reason "max_time".

        Args:
            request: From `texts.request.prepare`.

        Raises:
            EngineUnavailable: the engine restarts, drains or is closed.
            QueueFull: too many texts wait.
            DecoderError: a text needs more slots than the decoder has.
            TokenOutOfRange: a setting has an id outside the vocabulary.
        """
        now = self._clock()
        limits = [each for each in (request.settings.max_time, self._max_time) if each is not None]
        deadline = now + min(limits, default=float("inf"))

        def late() -> bool:
            return self._clock() > deadline

        batch = self._batch
        stream = RequestStream(lambda: self._cancel(job), RequestTimes(now))
        job = Job(stream, list(texts(batch.decoder, self._tokenizer, request, late)), late)
        batch.check(job)
        with self._changed:
            if self._health != "ready" or batch is not self._batch:
                raise self._unavailable()
            self._require_room(now)
            self._counters.requests += 1
            self._counters.prompt_tokens += sum(len(prompt.ids) for prompt in request.prompts)
            self._added.append(job)
            self._changed.notify_all()
        return stream

    def drain(self, timeout: float | None = None) -> bool:
        """Accept no more requests, finish all there are, then close.

        Args:
            timeout: Seconds; what has not ended then, ends with an error. None: no limit.

        Returns:
            Whether all requests were finished.
        """
        with self._changed:
            if self._health != "closed":
                self._health = "draining"
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not sum(self._load()), timeout)
        self.close()
        return done

    def close(self) -> None:
        """End all requests with an error and close the decoder; a second call does nothing."""
        with self._changed:
            self._health = "closed"
            self._changed.notify_all()
        self._thread.join()

    def _require_room(self, now: float) -> None:
        load, most = sum(self._load()), self._batch.decoder.slots + self._max_queued
        if not load:
            self._ends = deque([now], maxlen=self._max_queued + 1)
        if load >= most:
            self._counters.refused += 1
            error = QueueFull(
                f"{load} texts run or wait; allowed: {most}", hint="send the request again later"
            )
            since = now - self._ends[0]  # in which about max_queued texts ended
            error.retry_after = max(1, min(ceil(since), MAX_RETRY_AFTER))
            raise error

    def _load(self) -> tuple[int, int]:
        """Texts that run and that wait."""
        added = sum(len(job.texts) for job in self._added)
        waiting = self._batch.waiting
        return max(0, len(self._batch) - waiting), waiting + added

    def _unavailable(self) -> EngineUnavailable:
        return EngineUnavailable(
            f"the engine is {self._health}; allowed: ready",
            hint="send the request again later, or to another server",
        )

    def _cancel(self, job: Job) -> None:
        with self._changed:
            self._cancelled.append(job)
            self._changed.notify_all()

    def _open(self) -> None:
        decoder = self._open_decoder()
        self._batch = RunningBatch(decoder, self._prompt_tokens, self._clock, self._counters)

    def _live(self) -> None:
        """The thread: serve; after a failure end all requests and open the decoder again."""
        while True:
            # whatever has failed, no reader may wait for ever
            with suppress(BaseException):
                self._serve()
            with self._changed:
                if self._health == "ready":
                    self._health = "dead"
                self._add()
                self._batch.abandon(self._unavailable)
                self._changed.notify_all()
            with suppress(Exception):
                self._batch.decoder.close()
            if not self._reopen():
                return

    def _serve(self) -> None:
        """Step until the engine is closed or the decoder has failed."""
        batch = self._batch
        while batch.failures < MAX_FAILURES:
            with self._changed:
                if not len(batch):
                    self._changed.notify_all()  # `drain` waits for this
                self._changed.wait_for(
                    lambda: len(batch) or self._added or self._cancelled or self._closed
                )
                if self._closed:
                    return
                self._add()
                cancelled, self._cancelled = self._cancelled, []
            for job in cancelled:
                batch.cancel(job)
            before = len(batch)
            batch.step()
            self._ends.extend([self._clock()] * (before - len(batch)))

    @property
    def _closed(self) -> bool:
        return self._health == "closed"

    def _add(self) -> None:
        """Hand new requests to the Stepper; the lock is held, so that none is uncounted."""
        for job in self._added:
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
            except Exception:  # noqa: BLE001  # health says that it is dead
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
