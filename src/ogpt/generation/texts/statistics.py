"""Generation speed: tokens per second, and the share of what memory bandwidth allows."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """Speed of the generations of one call, without the time to load the model."""

    new_tokens: int
    seconds_to_first_token: float
    """From the first prompt token to the first new one."""
    seconds: float
    """From the first prompt token to the last new one."""
    texts: int = 1
    weight_bytes: int | None = None
    """Packed weights that a token reads; None: this decoder does not report them."""

    @property
    def tokens_per_s(self) -> float:
        """New tokens per second."""
        return self.new_tokens / self.seconds

    @property
    def why_no_share(self) -> str | None:
        """Why a share of the bandwidth floor has no meaning here; None if it has one."""
        if self.weight_bytes is None:
            return "only the native decoder reports the size of its weights"
        if self.texts > 1:
            return "several texts share each pass over the weights"
        return "only one token was generated" if self.new_tokens == 1 else None

    def share_of_floor(self, bandwidth: float) -> float | None:
        """Time to read the weights over the time taken, after the first token.

        Args:
            bandwidth: Memory bandwidth in bytes per second.

        Returns:
            0 to about 1; None if there is a `why_no_share`.
        """
        if self.weight_bytes is None or self.why_no_share is not None:
            return None
        taken = self.seconds - self.seconds_to_first_token
        return self.weight_bytes * (self.new_tokens - 1) / bandwidth / taken


class Stopwatch:
    """Times of the first and of the last new token, from the start of the watch."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._first = self._last = 0.0

    def tick(self) -> None:
        """Note the time of a token."""
        self._last = time.perf_counter() - self._start
        self._first = self._first or self._last

    def statistics(self, new_tokens: int, texts: int, weights: int | None) -> Statistics:
        """The statistics of the noted times."""
        return Statistics(new_tokens, self._first, self._last, texts, weights)
