"""Options of commands, built from the fields of settings classes.

Names, help texts, defaults and panels are those of the fields (`ogpt.config.described`), so that a
command offers what its function takes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.common_options import parse_biases
from ogpt.config.described import Description, descriptions
from ogpt.config.ranges import Bias, FileName, Number, Switch, Texts, Whole

Body = Callable[..., None]


def with_field_options(*kinds: type, only: Sequence[str] = ()) -> Callable[[Body], Body]:
    """Decorator: add an option to a command for each field of settings classes.

    The command's body receives the fields as keyword arguments, by their names. Typer reads the
    options from the signature that the decorated command shows.

    Args:
        *kinds: Settings classes.
        only: Names of the fields to offer; empty: all that have an option.
    """
    offered = {
        name: found
        for kind in kinds
        for name, found in descriptions(kind).items()
        if found.option is not None and (not only or name in only)
    }

    def decorate(body: Body) -> Body:
        @wraps(body)
        def command(**given: Any) -> None:
            named = dict(_values(offered, given))
            body(**{name: given[name] for name in given if name not in offered}, **named)

        own = signature(body, eval_str=True).parameters.values()
        items = {item.name: item for kind in kinds for item in fields(kind)}
        built = [_parameter(items[name], found) for name, found in offered.items()]
        # all by name, as Typer calls a command; fields first in `--help`, beside own options
        shown = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own if one.kind in _NAMED]
        arguments = [one for one in shown if _is_argument(one)]
        options = [one for one in shown if not _is_argument(one)]
        found = Signature([*arguments, *built, *options])
        command.__signature__ = found  # type: ignore[attr-defined]  # what inspect.signature reads
        command.__annotations__ = {one.name: one.annotation for one in found.parameters.values()}
        return command

    return decorate


_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _is_argument(parameter: Parameter) -> bool:
    return any(
        isinstance(one, typer.models.ArgumentInfo)
        for one in getattr(parameter.annotation, "__metadata__", ())
    )


def _parameter(item: Field[Any], found: Description) -> Parameter:
    """The option of a field, as a parameter that Typer reads."""
    assert found.option is not None
    flag = found.option.name or "--" + item.name.replace("_", "-")
    allowed = found.allowed
    kind: Any = str
    default = None if item.default is MISSING else item.default
    if isinstance(allowed, Texts | Bias):
        kind, default = list[str] | None, None
    elif isinstance(allowed, FileName):
        kind = Path | None
    elif isinstance(allowed, Switch):
        kind, default = bool, False
    elif isinstance(allowed, Whole):
        kind = int | None if allowed.optional else int
    elif isinstance(allowed, Number):
        kind = float | None if allowed.optional else float
    elif default is None:
        kind = str | None
    option = typer.Option(
        flag,
        help=found.option.switches_off or found.help,
        metavar=found.option.metavar,
        show_default=found.option.shown_default or True,
        rich_help_panel=None if found.option.panel == "Options" else found.option.panel,
    )
    annotation = Annotated[kind, option]
    return Parameter(item.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _values(offered: dict[str, Description], given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields' values, from those of the options; a field that is not set is omitted."""
    for name, found in offered.items():
        value = given[name]
        if found.option is not None and found.option.switches_off:
            if value:
                yield name, False
        elif isinstance(found.allowed, Bias):
            yield name, parse_biases(value or ())
        elif isinstance(found.allowed, Texts):
            yield name, value or ()
        else:
            yield name, value
