"""What is asked of a generation: frozen values, checked once, before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real

from ogpt.errors import SamplingError

MAX_SEED = 2**64 - 1
"""Seeds are one 64-bit word of the random key."""


def require(condition: bool, name: str, seen: object, allowed: str, hint: str) -> None:
    """Check a decoding setting.

    Raises:
        SamplingError: `condition` does not hold.
    """
    if not condition:
        raise SamplingError(f"{name} is {seen!r}; allowed: {allowed}", hint=hint)


def require_temperature(value: float) -> None:
    """Check a temperature: a finite number above 0."""
    require(
        isinstance(value, Real) and isfinite(value) and value > 0,
        "temperature",
        value,
        "a finite number above 0",
        "for the most likely token at every step, switch sampling off (do_sample=False, --greedy)",
    )


def require_top_p(value: float) -> None:
    """Check a nucleus mass: above 0, at most 1."""
    require(
        isinstance(value, Real) and 0 < value <= 1,
        "top_p",
        value,
        "above 0 and at most 1",
        "1.0 keeps every token; 0.9 is a common choice",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """How tokens are chosen and when a continuation ends (Hugging Face's names)."""

    max_new_tokens: int = 50
    """Most tokens to write, 1 or more."""
    min_new_tokens: int = 0
    """Tokens to write before anything but max_new_tokens may end the text."""
    do_sample: bool = True
    """Draw from the distribution; False takes the most likely token (greedy)."""
    temperature: float = 1.0
    """Logits are divided by it; above 0."""
    top_k: int = 0
    """Draw among the k most likely tokens; 0 for all."""
    top_p: float = 1.0
    """Draw among the fewest tokens that hold this mass; above 0, at most 1."""
    seed: int = 0
    """Key of the random numbers, 0 to MAX_SEED."""
    num_return_sequences: int = 1
    """Continuations of each prompt."""
    stop_ids: tuple[int, ...] = ()
    """Tokens that end the text, such as the model's eos_token_id."""
    banned_ids: tuple[int, ...] = ()
    """Tokens that are never written."""

    def __post_init__(self) -> None:
        self._require_integer("max_new_tokens", 1, "1 or more", "ask for at least one token")
        self._require_integer("min_new_tokens", 0, "0 or more", "0 sets no minimum")
        require(
            self.min_new_tokens <= self.max_new_tokens,
            "min_new_tokens",
            self.min_new_tokens,
            f"at most max_new_tokens ({self.max_new_tokens})",
            "lower min_new_tokens or raise max_new_tokens",
        )
        require_temperature(self.temperature)
        require_top_p(self.top_p)
        self._require_integer("top_k", 0, "0 or more", "0 keeps every token")
        self._require_integer("seed", 0, f"0 to {MAX_SEED}", "choose a seed in that range")
        require(
            self.seed <= MAX_SEED,
            "seed",
            self.seed,
            f"0 to {MAX_SEED}",
            "choose a seed in that range",
        )
        name = "num_return_sequences"
        self._require_integer(name, 1, "1 or more", "ask for at least one continuation")
        require(
            self.do_sample or self.num_return_sequences == 1,
            name,
            self.num_return_sequences,
            "1 without sampling, as greedy continuations are all equal",
            "sample (do_sample=True) for different continuations",
        )

    def _require_integer(self, name: str, least: int, allowed: str, hint: str) -> None:
        value = getattr(self, name)
        require(isinstance(value, Integral) and int(value) >= least, name, value, allowed, hint)
