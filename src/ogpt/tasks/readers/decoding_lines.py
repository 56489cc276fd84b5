"""Lines of the official files: UTF-8, divided at line feeds alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ogpt.errors import DataError
from ogpt.reading import unreadable
from ogpt.tasks.example import Example

Drops = Counter[str]
"""Reason -> rows that a reader left out."""

Reader = Callable[[Path, Drops], Iterator[Example]]
"""Reads the examples of one file."""

NO_GOLD = "they have no gold label"
EMPTY = "a text is empty"
GAP = "_"
"""The sign of RACE for a gap. It stands for the empty texts of rows that must stay: an empty text
is refused elsewhere."""


def decoded_lines(path: Path) -> Iterator[str]:
    """The lines of a file, each with its line end; a byte-order mark is removed.

    `str.splitlines` and text files of Python would also divide at U+2028 or a carriage return,
    which stand inside some sentences.

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        with open(path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"line {number} of {path} is not UTF-8: byte {error.start + 1} of it is "
                        f"0x{line[error.start]:02x}",
                        hint="download the file again, or convert it: iconv -f cp1252 -t utf-8",
                    ) from error
                yield text.removeprefix("\ufeff") if number == 1 else text
    except OSError as error:
        raise unreadable(path, error) from error


def place_of(path: Path, number: int) -> str:
    """File and line, for messages."""
    return f"line {number} of {path}"


def without_empty(examples: Iterator[Example], drops: Drops) -> Iterator[Example]:
    """Leave out labelled examples with an empty text: nothing can be learned from them.

    Rows without labels all stay, with GAP in place of an empty text, as a submission needs a
    prediction for each.
    """
    for example in examples:
        if all(example.texts):
            yield example
        elif example.label is None:
            yield replace(example, texts=tuple(text or GAP for text in example.texts))
        else:
            drops[EMPTY] += 1
