"""Output of commands on stdout: facts as a table, or as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import typer

from ogpt.cli.figures import table


def answer(facts: Any, *, as_json: bool) -> None:
    """Print a mapping or dataclass of facts on stdout."""
    if dataclasses.is_dataclass(facts) and not isinstance(facts, type):
        facts = dataclasses.asdict(facts)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, default=_plain))
    else:
        typer.echo(table(facts))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value.item()
