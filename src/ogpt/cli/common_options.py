"""Options and arguments of several commands, each with one spelling and one help text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ogpt.errors import ConfigError

Model = Annotated[
    Path, typer.Argument(help="Model folder, run or sweep folder (its best checkpoint) or Hub id.")
]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="SOURCE...",
        help="Text: a file, a folder, a glob, builtin:python-docs or builtin:python-code.",
    ),
]
More = Annotated[list[str] | None, typer.Argument(hidden=True, metavar="SOURCE")]
Valid = Annotated[
    list[str] | None,
    typer.Option("--valid", metavar="SOURCE", help="Text of the validation set; repeatable."),
]
Encoding = Annotated[str, typer.Option(help="Encoding of text files.")]
TextField = Annotated[
    str, typer.Option(help="Field or column of .jsonl and .parquet files with the text.")
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Split of the paper's data set in a folder, such as valid or test/matched.",
    ),
]
Config = Annotated[Path | None, typer.Option(help="TOML file with settings.")]
Backend = Annotated[
    str | None,
    typer.Option(help="What computes: torch or tensorflow.", show_default="torch"),
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint.")]
Plan = Annotated[bool, typer.Option("--plan", help="Estimate cost and exit without training.")]
TOO_LONG_HELP = "Examples that are too long: truncate, error or skip."
TooLong = Annotated[str, typer.Option(help=TOO_LONG_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def sources(data: Sequence[str], more: Sequence[str] | None) -> list[str]:
    """All sources of `--data A B C`: the value of the option, and the words after it."""
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
            f"--ids is {text!r}; allowed: whole numbers separated by commas",
            hint="pass for example --ids 1,2,3",
        ) from error


def parse_biases(pairs: Sequence[str]) -> dict[str, float]:
    """The number to add for each text, from `TEXT=NUMBER`.

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
                hint="pass for example --bias 'the cat=2.5'",
            )
    return found


def read_prompt(text: str) -> str:
    """The text; `-` is all of standard input, without the line break at its end.

    Raises:
        DataError: standard input is closed, or is not UTF-8.
    """
    from ogpt.reading import read_stdin

    return read_stdin().removesuffix("\n") if text == "-" else text
