"""How fast texts were written."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """How fast the generations of one call were written, without loading the model."""

    new_tokens: int
    seconds_to_first_token: float
    """From the first prompt token to the first new one."""
    seconds: float
    """From the first prompt token to the last new one."""
    texts: int = 1
    weight_bytes: int | None = None
    """Of the packed weights that a token reads; None: not known of this decoder."""

    @property
    def tokens_per_s(self) -> float:
        """New tokens over seconds."""
        return self.new_tokens / self.seconds

    @property
    def why_no_share(self) -> str | None:
        """Why a share of the bandwidth floor would say nothing; None where it says something."""
        if self.weight_bytes is None:
            return "only the native decoder tells its weights"
        if self.texts > 1:
            return "several texts share each reading of the weights"
        return "one token alone was written" if self.new_tokens == 1 else None

    def share_of_floor(self, bandwidth: float) -> float | None:
        """The time that reading the weights takes over the time taken, after the first token.

        Args:
            bandwidth: Of the memory, bytes a second.

        Returns:
            0 to about 1; None where `why_no_share`.
        """
        if self.weight_bytes is None or self.why_no_share is not None:
            return None
        taken = self.seconds - self.seconds_to_first_token
        return self.weight_bytes * (self.new_tokens - 1) / bandwidth / taken


class Stopwatch:
    """When the first new token came, and the last, since the watch was made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._first = self._last = 0.0

    def tick(self) -> None:
        """Take note of a token."""
        self._last = time.perf_counter() - self._begun
        self._first = self._first or self._last

    def statistics(self, new_tokens: int, texts: int, weights: int | None) -> Statistics:
        """What the times say."""
        return Statistics(new_tokens, self._first, self._last, texts, weights)
