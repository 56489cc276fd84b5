"""What the settings of a workflow may be, as values that check and that errors quote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ogpt.errors import ConfigError


class Allowed(NamedTuple):
    """What a setting may be."""

    holds: Callable[[Any], bool]
    words: str
    """The same, for the error."""


def at_least(least: int) -> Allowed:
    """`least` or more; NaN is refused, as it compares False."""
    return Allowed(lambda value: value >= least, f"{least} or more")


def one_of(*values: str) -> Allowed:
    """One of several words."""
    return Allowed(lambda value: value in values, ", ".join(values))


def multiple_of(number: int, name: str) -> Allowed:
    """A multiple of another setting, which is 1 or more."""
    return Allowed(lambda value: value % number == 0, f"a multiple of {name} ({number})")


ABOVE_ZERO = Allowed(lambda value: value > 0, "above 0")
BELOW_ONE = Allowed(lambda value: 0 <= value < 1, "0 to below 1")
BETWEEN = Allowed(lambda value: 0 < value < 1, "above 0 and below 1")


def check(section: str, settings: object, rules: Mapping[str, Allowed]) -> None:
    """Check the settings of a section.

    Raises:
        ConfigError: a value is not allowed.
    """
    for name, allowed in rules.items():
        value = getattr(settings, name)
        if not allowed.holds(value):
            full = f"{section}.{name}"
            raise ConfigError(
                f"{full} is {value!r}; allowed: {allowed.words}",
                hint=f"change it: --set {full}=VALUE, a TOML file, or the command's own option",
            )
