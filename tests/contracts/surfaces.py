"""Compares the public names and arguments of transformers' classes with those of ours."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.golden.tokenizer_surface import Surface, arguments

GOLDEN = Path(__file__).parents[1] / "golden"
UPLOAD = "push to the Hub with huggingface_hub for this"
"""Why push_to_hub has none of transformers' arguments for it."""

_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Reasons = Mapping[str, str]
"""Why ours do not have a name."""


def named(*functions: Any) -> set[str]:
    """The names of the arguments of functions."""
    return {name for function in functions for name in inspect.signature(function).parameters}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The surface of transformers, part by part, and what serves in its place."""

    file: str
    """Of version 4.57.6, in tests/golden, without the version."""
    ours: Mapping[str, Sequence[Any]]
    """The classes that serve for a part; each has all of its names."""
    absent: Mapping[str, Reasons]
    """Names of a part that ours do not have."""
    absent_arguments: Mapping[str, Mapping[str, Reasons]]
    """Arguments of the methods of a part that ours do not have."""
    passed_on: Mapping[str, Collection[str]]
    """What a method hands on to another one, or takes as an extra, by name."""
    has: Callable[[Any, str], bool] = hasattr
    """Whether a class of ours, or its instances, have a name."""

    def recorded(self) -> dict[str, Surface]:
        """The surface of version 4.57.6."""
        text = (GOLDEN / f"{self.file}_4.57.6.json").read_text("utf-8")
        found: dict[str, Surface] = json.loads(text)
        return found

    def lacking(self, theirs: Mapping[str, Surface]) -> list[str]:
        """Names and arguments of theirs that are neither ours nor listed."""
        return [
            f"{kind.__name__}.{gap}"
            for part, names in theirs.items()
            for kind in self.ours[part]
            for name, signatures in names.items()
            if name not in self.absent.get(part, ())
            for gap in self._gaps(part, kind, name, signatures)
        ]

    def outdated(self) -> list[str]:
        """Names and arguments that are listed and ours all the same."""
        found = []
        for part, kinds in self.ours.items():
            for kind in kinds:
                found += [name for name in self.absent.get(part, ()) if self.has(kind, name)]
                for name, listed in self.absent_arguments.get(part, {}).items():
                    taken = {*(arguments(getattr(kind, name)) or ()), *self._passed_on(name)}
                    found += [f"{name}({each})" for each in listed if each in taken]
        return found

    def _passed_on(self, name: str) -> Collection[str]:
        return self.passed_on.get(name, ())

    def _gaps(
        self, part: str, kind: Any, name: str, signatures: list[list[str]] | None
    ) -> Iterator[str]:
        if not self.has(kind, name):
            yield name
            return
        member = getattr(kind, name, None)
        if signatures is None:
            if inspect.isroutine(member):
                yield f"{name}, a method"
            return
        if not callable(member):
            yield f"{name}, no method"
            return
        listed = self.absent_arguments.get(part, {}).get(name, {})
        extra = {*self._passed_on(name), *listed}
        taken = arguments(member)
        for theirs in signatures if taken is not None else ():
            yield from (f"{name}({each})" for each in unknown(member, theirs, extra))


def unknown(ours: Any, theirs: Sequence[str], extra: Collection[str]) -> list[str]:
    """Arguments that a function of ours does not take, or takes by position in another order.

    Args:
        ours: The function.
        theirs: Names of the arguments, in order; those that begin with * do not count.
        extra: Allowed besides those in the signature.
    """
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = inspect.signature(ours).parameters.values()
    kinds = {one.name: one.kind for one in found if one.kind not in _REST}
    plain = [each for each in theirs if not each.startswith("*")]
    placed = [name for name, kind in kinds.items() if kind is positional and name in plain]
    shared = [each for each in plain if each in placed]
    lost = [each for each in plain if each not in kinds and each not in extra]
    return lost + [each for each, other in zip(shared, placed, strict=True) if each != other]
