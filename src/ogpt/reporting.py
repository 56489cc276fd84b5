"""What long work says while it runs: events with fields, given to a Reporter.

Kinds and their fields:
    progress   task, done, total (0: not known), unit       any work over two seconds
    plan       parameters, tokens_per_step, total_steps, ... before the first step
    train      step, total_steps, epoch, loss, learning_rate, grad_norm, tokens,
               tokens_per_s, mfu, eta_s
    eval       step, loss, perplexity, bits_per_byte, tokens
    checkpoint step, path, reason
    sample     step, text
    message    text                                          a line for people
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Protocol, TextIO

INTERVAL = 0.1
"""Seconds between two progress events of a task, at least."""


class Reporter(Protocol):
    """Receives the events of long work; must return quickly and never raise."""

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Take one event."""
        ...


def silent(kind: str, /, **fields: Any) -> None:
    """The Reporter of library calls that asked for none."""


class JsonLines:
    """A Reporter that writes each event as one JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()  # a signal is told from a thread of its own

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Write one event and flush it, so that a kill loses at most the line being written."""
        with self._lock:
            self.stream.write(json.dumps({"event": kind, **fields}) + "\n")
            self.stream.flush()


class Several:
    """A Reporter that passes each event on to several others."""

    def __init__(self, *reporters: Reporter) -> None:
        self.reporters = reporters

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Pass one event on."""
        for reporter in self.reporters:
            reporter(kind, **fields)


class Progress:
    """Tells a Reporter how far a task has come.

    Args:
        reporter: receives `progress` events.
        task: what is being done.
        total: units in all.
        unit: of done and total.
    """

    def __init__(self, reporter: Reporter, task: str, total: int, unit: str = "bytes") -> None:
        self.reporter = reporter
        self.task = task
        self.total = total
        self.unit = unit
        self._next = 0.0

    def __call__(self, done: int) -> None:
        """Report, unless the last report was a moment ago and this is not the end."""
        now = time.monotonic()
        if now >= self._next or done >= self.total:
            self._next = now + INTERVAL
            self.reporter("progress", task=self.task, done=done, total=self.total, unit=self.unit)
