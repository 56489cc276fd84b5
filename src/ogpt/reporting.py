"""What long work reports while it runs: events with fields, passed to a Reporter.

Kinds and their fields:
    progress   task, done, total (0: not known), unit        any work over 2 seconds
    plan       task, step, parameters, total_steps, and tokens_per_step or examples_per_step:
               before the first step
    train      task, step, total_steps, epoch, learning_rate, grad_norm, tokens, tokens_per_s,
               mfu, eta_s, and measures by name
    eval       task, step, tokens (of a text), and measures by name
    probe      task, step, name, metric, value, normalized, rows: one zero-shot probe (paper,
               figure 2), after each evaluation; normalized is 0 at chance, 1 at the best known
    checkpoint task, step, path, reason
    message    text                                           a line for people

`task` names the work, such as "pretraining". Measures are what the objective is judged by: "loss"
always, and others with free names, such as "perplexity" or "accuracy". `measures` separates them
from the other fields.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

INTERVAL = 0.1
"""Minimum seconds between two progress events of a task."""

_NO_MEASURES = {
    "train": (
        *("task", "step", "total_steps", "epoch", "learning_rate", "grad_norm"),
        *("tokens", "tokens_per_s", "mfu", "eta_s"),
    ),
    "eval": ("task", "step", "tokens"),
}


class Reporter(Protocol):
    """Receives the events of long work; must return quickly and never raise."""

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Receive one event."""
        ...


def silent(kind: str, /, **fields: Any) -> None:
    """The Reporter of library calls that asked for none."""


def measures(kind: str, fields: Mapping[str, Any]) -> dict[str, float]:
    """The measures of a train or eval event by name, in their order; none for other kinds.

    Args:
        kind: Kind of the event.
        fields: Its fields.
    """
    if kind not in _NO_MEASURES:
        return {}
    named = {name: value for name, value in fields.items() if name not in _NO_MEASURES[kind]}
    return {name: value for name, value in named.items() if isinstance(value, int | float)}


class JsonLines:
    """A Reporter that writes each event as one JSON object per line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.Lock()  # a stop request is reported from a thread of its own

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Write one event and flush it, so that a kill loses at most the line being written."""
        with self._lock:
            self.stream.write(json.dumps({"event": kind, **fields}) + "\n")
            self.stream.flush()


class Several:
    """A Reporter that passes each event to several others, in order, and never raises.

    An event that one of them cannot write, because the reader of a pipe is gone or a disk is full,
    does not end the work. The others receive a message about it, once. The next event is passed to
    all again, as the disk may have space by then.

    Args:
        **reporters: The others. Their names appear in that message.
    """

    def __init__(self, **reporters: Reporter) -> None:
        self.reporters = reporters
        self._failed: set[str] = set()

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Pass one event to each."""
        for name, reporter in self.reporters.items():
            try:
                reporter(kind, **fields)
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self.failed(name, error)

    def failed(self, name: str, error: Exception) -> None:
        """Report once that `name` cannot be written."""
        if name not in self._failed:
            self._failed.add(name)
            self("message", text=f"{name} cannot be written, and the work continues: {error}")


class Progress:
    """Reports how far a task is, at most every INTERVAL seconds.

    Args:
        reporter: Receives `progress` events.
        task: Name of the work.
        total: Number of units in all; 0: not known.
        unit: Unit of done and total.
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
