"""Options that several commands take, each with one spelling and one help text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ogpt.errors import ConfigError, DataError

Model = Annotated[
    Path, typer.Argument(help="A model folder, a run folder (its best model), or a Hub id.")
]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="SOURCE...",
        help="Text: builtin:python-docs, builtin:python-code, a file, a folder or a glob.",
    ),
]
More = Annotated[list[str] | None, typer.Argument(hidden=True, metavar="SOURCE")]
Valid = Annotated[
    list[str] | None,
    typer.Option("--valid", metavar="SOURCE", help="Text held out for validation."),
]
Encoding = Annotated[str, typer.Option(help="Encoding of text files.")]
DecoderName = Annotated[
    str,
    typer.Option(
        "--decoder", help="native (C++, on the CPU), torch, or auto: torch on a GPU, else native."
    ),
]
DtypeName = Annotated[
    str,
    typer.Option(
        "--dtype", help="Of the weights: auto (as stored), float32, bfloat16, int8 or int4."
    ),
]
CacheDtypeName = Annotated[
    str,
    typer.Option(
        "--cache-dtype",
        help="Of keys and values in the native decoder: float32 or bfloat16.",
        rich_help_panel="Running",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        help="The same bits alone or in any batch, which costs time on a GPU; native always is so.",
        rich_help_panel="Running",
    ),
]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def sources(data: Sequence[str], more: Sequence[str] | None) -> list[str]:
    """All of `--data A B C`: the value of the option and the words that follow it."""
    return [*data, *(more or ())]


def parse_ids(text: str) -> list[int]:
    """Token ids from `1,2,3`.

    Raises:
        ConfigError: something between the commas is not a whole number.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--ids is {text!r}; allowed: whole numbers with commas between them",
            hint="for example --ids 1,2,3",
        ) from error


def parse_biases(pairs: Sequence[str]) -> dict[str, float]:
    """What to add for each text, from `TEXT=NUMBER`.

    Raises:
        ConfigError: no text, or no number after the last `=`.
    """
    found = {}
    for pair in pairs:
        text, _, number = pair.rpartition("=")
        try:
            found[text] = float(number)
        except ValueError:
            text = ""
        if not text:
            raise ConfigError(
                f"--bias is {pair!r}; allowed: a text, = and a number",
                hint="for example --bias 'the cat=2.5'",
            )
    return found


def read_prompt(text: str) -> str:
    """The text; `-` stands for all of standard input.

    Raises:
        DataError: standard input is no text.
    """
    if text != "-":
        return text
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input is not {error.encoding}: byte {error.start} is "
            f"0x{error.object[error.start]:02x}",
            hint="convert it first, for example with iconv -t utf-8",
        ) from error
