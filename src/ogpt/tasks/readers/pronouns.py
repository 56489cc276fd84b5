"""Sentences whose pronoun may refer to either of two nouns, for the zero-shot probes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ogpt.errors import DamagedData, DataError
from ogpt.reading import shown
from ogpt.tasks.readers.decoding_lines import decoded_lines, place_of

WSC273 = 273
"""Schemas of the set that papers report on: the first ones of the collection."""


class PronounCase(NamedTuple):
    """A sentence around a pronoun, and what the pronoun may refer to."""

    before: str
    after: str
    candidates: tuple[str, ...]
    label: int
    """Index of the right candidate."""
    place: str


def read_dpr(path: Path) -> Iterator[PronounCase]:
    """The definite pronoun resolution set: sentence, pronoun, two candidates, the right one.

    The first occurrence of the pronoun as a whole word is meant.

    Raises:
        DataError: a group of lines is not of this form.
    """
    group: list[str] = []
    number = 0
    for number, line in enumerate(decoded_lines(path), 1):
        if line.strip():
            group.append(line.strip())
        elif group:
            yield _case(group, place_of(path, number - len(group)))
            group = []
    if group:
        yield _case(group, place_of(path, number - len(group) + 1))


def read_winograd(path: Path) -> Iterator[PronounCase]:
    """The Winograd schemas of WSCollection.xml.

    Raises:
        DamagedData: the file is not XML.
        DataError: a schema lacks an element.
    """
    try:
        # as bytes: the file declares ISO-8859-1
        schemas = ElementTree.fromstring(path.read_bytes()).findall("schema")
    except ElementTree.ParseError as error:
        raise DamagedData(f"{path} is not XML: {error}", hint="download the file again") from error
    for number, schema in enumerate(schemas[:WSC273], 1):
        place = f"schema {number} of {path}"
        before, after = (_plain(schema.findtext(f"text/{name}")) for name in ("txt1", "txt2"))
        candidates = tuple(_plain(answer.text) for answer in schema.findall("answers/answer"))
        right = re.search("[AB]", schema.findtext("correctAnswer") or "")
        if right is None or len(candidates) != 2 or schema.find("text/pron") is None:
            raise DataError(
                f"{place} lacks its pronoun, two answers, or A or B as the correct answer",
                hint="download the file again",
            )
        yield PronounCase(before, after, candidates, "AB".index(right[0]), place)


def _case(group: list[str], place: str) -> PronounCase:
    if len(group) == 4:
        sentence, pronoun, listed, right = group
        candidates = tuple(candidate.strip() for candidate in listed.split(","))
        found = re.search(rf"(?<!\w){re.escape(pronoun)}(?!\w)", sentence)
        if found and len(candidates) == 2 and right in candidates:
            before, after = sentence[: found.start()].rstrip(), sentence[found.end() :].lstrip()
            return PronounCase(before, after, candidates, candidates.index(right), place)
    raise DataError(
        f"the case at {place} is {shown(group)}; allowed: a sentence, its pronoun, two candidates "
        "with a comma between them, and the right one",
        hint="download the file again",
    )


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())
