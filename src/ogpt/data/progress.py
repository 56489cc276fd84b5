"""Progress events, at most ten a second."""

from __future__ import annotations

import time

from ogpt.reporting import Reporter

INTERVAL = 0.1  # seconds


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
