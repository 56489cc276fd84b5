"""Settings whose fields describe themselves: help text, allowed values, place on the command line.

The command line is built from these descriptions, and a server can build its request from them, so
that a function, its command and the documentation cannot differ.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, cleandoc, signature
from typing import Any, TypeVar

from ogpt.config.ranges import Range
from ogpt.errors import ConfigError, OgptError, UnknownArgument

_KEY = "description"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting appears on the command line."""

    name: str = ""
    """With its dashes; empty: the field's name."""
    panel: str = "Options"
    """Heading in `--help`."""
    metavar: str | None = None
    shown_default: str | None = None
    """Printed in place of the default."""
    switches_off: str = ""
    """Help of an option without a value that sets the field to False."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a field says of itself."""

    help: str
    """One line, as `--help` prints it."""
    allowed: Range
    hint: str
    """What to do about a value outside the range."""
    option: Option | None
    """None: the command line does not offer it."""


def described(
    default: Any, help: str, allowed: Range, hint: str, option: Option | None = None
) -> Any:
    """A field of a settings class, with its description."""
    metadata = {_KEY: Description(help, allowed, hint, option)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def descriptions(kind: type) -> dict[str, Description]:
    """Name of each field of a settings class -> its description."""
    return {item.name: item.metadata[_KEY] for item in dataclasses.fields(kind)}


def with_field_docs(kind: type[T]) -> type[T]:
    """Class decorator: list the fields and their help in the docstring, before what it raises."""
    lines = [f"    {name}: {found.help}" for name, found in descriptions(kind).items()]
    text, heading, rest = cleandoc(kind.__doc__ or "").partition("\n\nRaises:")
    kind.__doc__ = "\n".join([text, "", "Args:", *lines]) + heading + rest
    return kind


def keep_fields(settings: Any, error: type[OgptError]) -> None:
    """Check each field of new frozen settings, and put it into the form in which it is stored.

    Raises:
        OgptError: of the class `error`, for a value outside its range.
    """
    for name, found in descriptions(type(settings)).items():
        value = getattr(settings, name)
        try:
            kept = found.allowed.keep(value)
        except ValueError:
            raise error(f"{name} is {value!r}; allowed: {found.allowed}", hint=found.hint) from None
        object.__setattr__(settings, name, kept)


def whole_or_named(kind: type[T], whole: T | None, named: Mapping[str, Any]) -> T:
    """Settings given as one value, or by the names of their fields; names override the value.

    Args:
        kind: A settings class.
        whole: The settings; None: its defaults.
        named: Keyword arguments, of which those that are fields count.

    Raises:
        ConfigError: `whole` is not of this class.
    """
    own = {name: named[name] for name in descriptions(kind) if name in named}
    if whole is None:
        return kind(**own)
    if not isinstance(whole, kind):
        raise ConfigError(
            f"settings are {whole!r}; allowed: {kind.__name__}",
            hint=f"pass ogpt.{kind.__name__}(...), or its fields as keyword arguments",
        )
    return dataclasses.replace(whole, **own) if own else whole  # type: ignore[type-var]  # a dataclass


def derived(settings: T, **values: Any) -> T:
    """A copy with values that follow from the model: they are valid, and not checked again.

    Args:
        settings: Settings that were checked when they were made.
        **values: Fields in the form in which they are stored.
    """
    made = copy.copy(settings)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def check_names(function: Callable[..., Any], named: Mapping[str, Any], *kinds: type) -> None:
    """Check that keyword arguments are fields of these settings classes.

    Args:
        function: The function that accepts them, beside its own arguments.
        named: The keyword arguments.
        *kinds: Dataclasses.

    Raises:
        UnknownArgument: one is not.
    """
    arguments = signature(function).parameters.values()
    own = (one.name for one in arguments if one.kind is not Parameter.VAR_KEYWORD)
    fields = (item.name for kind in kinds for item in dataclasses.fields(kind))
    known = list(dict.fromkeys((*own, *fields)))
    for name in named:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.6)
            raise UnknownArgument(
                f"{function.__name__} has no argument {name}; allowed: {', '.join(known)}",
                hint=f"did you mean {near[0]}?" if near else "omit it",
            )
