"""Files with real quoting: Story Cloze, and Quora's own question pairs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from ogpt.errors import DataError
from ogpt.tasks.example import Example
from ogpt.tasks.readers.decoding_lines import Drops, decoded_lines, place_of, without_empty
from ogpt.tasks.readers.tabbed import BROKEN


def read_story_cloze(path: Path, drops: Drops) -> Iterator[Example]:
    """Stories of four sentences, joined by a space as in the 2018 code, and two endings.

    The columns are found by position: id, four sentences, two endings, and the number of the right
    ending from 1, which the test set of 2018 lacks. Its last column thus is no label.
    """
    for place, values in _records(path, ","):
        if len(values) not in (7, 8):
            raise DataError(
                f"{place} has {len(values)} columns; allowed: 8, or 7 in a test set without labels",
                hint="download the file again, or write it with its quotes",
            )
        story, *sentences = (value.strip() for value in values[:7])
        context = " ".join(sentences[:4])
        label = _whole(values[7], place) - 1 if len(values) == 8 else None
        yield Example((context, "", *sentences[4:]), label, place, story)


def read_quora(path: Path, drops: Drops, *, names: Mapping[str, str]) -> Iterator[Example]:
    """Question pairs in Quora's own file, whose fields may contain line breaks.

    Args:
        path: quora_duplicate_questions.tsv.
        drops: Counts pairs that are broken or lack a question.
        names: Value of is_duplicate -> name of the class.
    """
    return without_empty(_read_quora(path, drops, names), drops)


def _read_quora(path: Path, drops: Drops, names: Mapping[str, str]) -> Iterator[Example]:
    for place, values in _records(path, "\t"):
        if len(values) != 6 or values[5] not in names:
            drops[BROKEN] += 1
            continue
        yield Example((values[3].strip(), values[4].strip()), names[values[5]], place, values[0])


def _records(path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """The rows below the header, with their places."""
    try:
        reader = csv.reader(decoded_lines(path), delimiter=delimiter, strict=True)
        next(reader, None)
        for values in reader:
            if values:
                yield place_of(path, reader.line_num), values
    except csv.Error as error:
        raise DataError(
            f"{place_of(path, reader.line_num)} cannot be read: {error}",
            hint="download the file again; a spreadsheet program may have changed its quotes",
        ) from error


def _whole(text: str, place: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise DataError(
            f"the right ending of {place} is {text!r}; allowed: 1 or 2",
            hint="download the file again",
        ) from error
