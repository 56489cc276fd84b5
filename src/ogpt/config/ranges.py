"""The values that a setting may have: what is allowed, in words and as numbers.

`keep` returns a value in the form in which it is stored, or raises ValueError; `str` says what is
allowed, for an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from math import inf, isfinite, isnan
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol

MAX_SEED = 2**64 - 1
"""Maximum value of a random seed: they are one 64-bit word of a key."""


def _refused(value: object, allowed: object) -> ValueError:
    return ValueError(f"{value!r}; allowed: {allowed}")


class Range(Protocol):
    """The values that a setting may have."""

    def keep(self, value: Any) -> Any:
        """The value as it is stored; ValueError if it is not allowed."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole numbers from `least` to `most`."""

    least: int = 0
    most: int | None = None
    optional: bool = False
    """None is allowed too."""

    def keep(self, value: Any) -> int | None:
        """The value as Python's int."""
        if value is None and self.optional:
            return None
        if isinstance(value, Integral) and not isinstance(value, bool):
            number = int(value)
            if number >= self.least and (self.most is None or number <= self.most):
                return number
        raise _refused(value, self)

    def __str__(self) -> str:
        words = f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"
        return words + (", or None" if self.optional else "")


@dataclass(frozen=True, slots=True)
class Number:
    """Finite numbers from `least` to `most`."""

    least: float
    most: float | None = None
    above: bool = False
    """`least` itself is not allowed."""
    below: bool = False
    """`most` itself is not allowed."""
    optional: bool = False
    """None is allowed too."""

    def keep(self, value: Any) -> float | None:
        """The value as Python's float."""
        if value is None and self.optional:
            return None
        if isinstance(value, Real) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                raise _refused(value, self) from None
            if isfinite(number) and self._within(number):
                return number
        raise _refused(value, self)

    def _within(self, number: float) -> bool:
        if number < self.least or (self.above and number == self.least):
            return False
        return self.most is None or number < self.most or (number == self.most and not self.below)

    def __str__(self) -> str:
        if self.most is None:
            words = f" above {self.least:g}" if self.above else f", {self.least:g} or more"
            return f"a finite number{words}" + (", or None" if self.optional else "")
        if self.above:
            return f"above {self.least:g} and {'below' if self.below else 'at most'} {self.most:g}"
        return f"{self.least:g} to {'below ' if self.below else ''}{self.most:g}"


@dataclass(frozen=True, slots=True)
class Multiple:
    """Multiples of a number, which is another setting."""

    number: int
    name: str

    def keep(self, value: Any) -> int:
        """The value itself."""
        if value % self.number == 0:
            return int(value)
        raise _refused(value, self)

    def __str__(self) -> str:
        return f"a multiple of {self.name} ({self.number})"


@dataclass(frozen=True, slots=True)
class OneOf:
    """A few values."""

    choices: tuple[Any, ...]

    def keep(self, value: Any) -> Any:
        """The value itself; 1 is not True here."""
        if any(type(value) is type(choice) and value == choice for choice in self.choices):
            return value
        raise _refused(value, self)

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


class Switch(OneOf):
    """True or False."""

    def __init__(self) -> None:
        OneOf.__init__(self, (True, False))


class FileName:
    """A path, or None."""

    def keep(self, value: Any) -> Path | None:
        """The value as a path; an empty one would be the current folder."""
        if value is None or isinstance(value, Path):
            return value
        if isinstance(value, str) and value:
            return Path(value)
        raise _refused(value, self)

    def __str__(self) -> str:
        return "a path, or None"


class String:
    """A text of at least `least` characters."""

    def __init__(self, least: int = 1, optional: bool = False) -> None:
        self.least = least
        self.optional = optional

    def keep(self, value: Any) -> str | None:
        """The text itself."""
        if value is None and self.optional:
            return None
        if isinstance(value, str) and len(value) >= self.least:
            return value
        raise _refused(value, self)

    def __str__(self) -> str:
        words = "a text" if not self.least else "a text of one character or more"
        return words + (", or None" if self.optional else "")


class Texts:
    """A text, or several; none of them empty."""

    def keep(self, value: Any) -> tuple[str, ...]:
        """The texts as a tuple."""
        texts = (value,) if isinstance(value, str) else value
        if isinstance(texts, Iterable):
            found = tuple(texts)
            if all(isinstance(text, str) and text for text in found):
                return found
        raise _refused(value, self)

    def __str__(self) -> str:
        return "texts of one character or more"


class Networks(Texts):
    """An IP address or network, or several."""

    def keep(self, value: Any) -> tuple[str, ...]:
        """The addresses and networks as a tuple."""
        found = super().keep(value)
        for each in found:
            ip_network(each)
        return found

    def __str__(self) -> str:
        return "IP addresses and networks"


class TokenIds:
    """A sequence of token ids."""

    def keep(self, value: Any) -> tuple[int, ...]:
        """The ids as a tuple."""
        if not isinstance(value, Iterable):
            raise _refused(value, self)
        one = Whole()
        return tuple(int(one.keep(token_id) or 0) for token_id in value)

    def __str__(self) -> str:
        return "token ids, each 0 or more"


class TokenWords:
    """A sequence of sequences of token ids."""

    def keep(self, value: Any) -> tuple[tuple[int, ...], ...]:
        """The words as tuples."""
        if not isinstance(value, Iterable):
            raise _refused(value, self)
        words = tuple(TokenIds().keep(word) for word in value)
        if not all(words):
            raise _refused(value, self)
        return words

    def __str__(self) -> str:
        return "a list of words, each a list of one token id or more"


class Decay:
    """A pair of a start and a factor, or None."""

    def keep(self, value: Any) -> tuple[int, float] | None:
        """The pair as a tuple of Python's numbers."""
        if value is None:
            return None
        if isinstance(value, Iterable):
            pair = tuple(value)
            if len(pair) == 2:
                return int(Whole().keep(pair[0]) or 0), float(Number(0).keep(pair[1]) or 0)
        raise _refused(value, self)

    def __str__(self) -> str:
        return "(a whole number, 0 or more; a finite number, 0 or more), or None"


class Function:
    """A function, or None."""

    def keep(self, value: Any) -> Any:
        """The function itself."""
        if value is None or callable(value):
            return value
        raise _refused(value, self)

    def __str__(self) -> str:
        return "a function, or None"


class Bias:
    """Numbers to add, by what they are added to."""

    def __init__(self, keys: Texts | TokenIds, words: str) -> None:
        self.keys = keys
        self.words = words

    def keep(self, value: Any) -> dict[Any, float]:
        """The numbers as Python's floats, by key."""
        if not isinstance(value, Mapping):
            raise _refused(value, self)
        found = {}
        for key, number in value.items():
            if not isinstance(number, Real) or isnan(number) or number == inf or not key:
                raise _refused(value, self)
            if isinstance(self.keys, Texts) != isinstance(key, str):
                raise _refused(value, self)
            kept = self.keys.keep(key)
            found[key if isinstance(key, str) else kept] = float(number)
        return found

    def __str__(self) -> str:
        return f"numbers (-inf bans) for {self.words}"
