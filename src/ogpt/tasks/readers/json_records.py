"""Files of JSON objects: SNLI, MultiNLI, SciTail (one object per line) and RACE (one per file)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ogpt.errors import DamagedData, DataError
from ogpt.reading import parse_json, shown
from ogpt.tasks.example import Example
from ogpt.tasks.readers.decoding_lines import (
    GAP,
    NO_GOLD,
    Drops,
    decoded_lines,
    place_of,
    without_empty,
)
from ogpt.tasks.readers.tabbed import HIDDEN, NO_MAJORITY

_LETTERS = "ABCD"


def read_pairs(
    path: Path, drops: Drops, *, names: Mapping[str, str] | None = None
) -> Iterator[Example]:
    """Sentence pairs, one JSON object per line: sentence1, sentence2 and gold_label.

    Args:
        path: The file.
        drops: Counts rows whose gold label is "-", and rows that lack a text.
        names: Label in the file -> name of the class, where they differ.

    Raises:
        DataError: a line is not UTF-8, or lacks a field.
        DamagedData: a line is not JSON.
    """
    return without_empty(_read_pairs(path, drops, names or {}), drops)


def _read_pairs(path: Path, drops: Drops, names: Mapping[str, str]) -> Iterator[Example]:
    for number, line in enumerate(decoded_lines(path), 1):
        if not line.strip():
            continue
        place = place_of(path, number)
        fields = _object(line, place)
        label = fields.get("gold_label")
        if label == NO_MAJORITY:
            drops[NO_GOLD] += 1
            continue
        first, second = (_text(fields, name, place) for name in ("sentence1", "sentence2"))
        gold = None if label in (None, HIDDEN) else names.get(str(label), str(label))
        yield Example((first, second), gold, place, str(fields.get("pairID", "")))


def read_race(path: Path, drops: Drops) -> Iterator[Example]:
    """The questions of one RACE passage, four options each.

    Raises:
        DataError: the lists of the passage do not have the same length, or a field is missing.
        DamagedData: the file is not JSON.
    """
    fields = _object("".join(decoded_lines(path)), str(path))
    article = _text(fields, "article", str(path))
    lists: list[Any] = [fields.get(name) for name in ("questions", "options", "answers")]
    lengths = {len(one) if isinstance(one, list) else -1 for one in lists}
    if len(lengths) != 1 or -1 in lengths:
        raise DataError(
            f"{path} does not have lists of one length in questions, options and answers",
            hint="download the archive again",
        )
    for number, (question, options, answer) in enumerate(zip(*lists, strict=True), 1):
        place = f"question {number} of {path}"
        if answer not in tuple(_LETTERS) or not isinstance(options, list):
            raise DataError(
                f"the answer of {place} is {shown(answer)}; allowed: A, B, C or D, and a list of "
                "options",
                hint="download the archive again",
            )
        # to leave out the few questions with an empty option would change the test set
        choices = [str(option).strip() or GAP for option in options]
        texts = (article, str(question).strip(), *choices)
        yield Example(texts, _LETTERS.index(answer), place, f"{path.name}:{number}")


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        fields = parse_json(text)
    except ValueError as error:
        raise DamagedData(f"{place} is not JSON: {error}", hint="download it again") from error
    if not isinstance(fields, dict):
        raise DamagedData(
            f"{place} is {shown(fields)}; allowed: a JSON object", hint="download it again"
        )
    return fields


def _text(fields: dict[str, Any], name: str, place: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise DataError(
            f"{name} of {place} is {shown(value)}; allowed: a text",
            hint="check that this is the file of the task, as downloaded",
        )
    return value.strip()
