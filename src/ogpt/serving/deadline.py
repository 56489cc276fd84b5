"""When a request of an engine ends at the latest."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from math import inf

from ogpt.errors import DeadlineExceeded, EngineError, EngineUnavailable
from ogpt.generation.searching.speculation import Clock
from ogpt.generation.searching.text import FinishReason


class Deadline:
    """Passes when the time of a request is over, or that of its engine.

    Args:
        clock: In seconds; the time of the request begins now.
        limits: Seconds that the request and the engine allow: the fewest count. None: no limit.
        drained: Set when the time of the engine is over.
    """

    def __init__(
        self, clock: Clock, limits: Iterable[float | None], drained: threading.Event
    ) -> None:
        self._clock = clock
        self._seconds = min((each for each in limits if each is not None), default=inf)
        self._end = clock() + self._seconds
        self._drained = drained

    def passed(self) -> bool:
        """Whether the request has to end."""
        return self._drained.is_set() or self._is_late()

    def reason(self) -> FinishReason:
        """Finish reason of a text that ends at the deadline."""
        return "max_time" if self._is_late() else "abort"

    def error(self) -> EngineError:
        """What ends work at the deadline."""
        if self._is_late():
            return DeadlineExceeded(
                f"the request did not end in {self._seconds:g} s, the time allowed",
                hint="raise max_time, or send less in one request",
            )
        return EngineUnavailable(
            "the engine is drained, and the request did not end in time; allowed: ready",
            hint="send the request again later, or to another server",
        )

    def _is_late(self) -> bool:
        return self._clock() > self._end
