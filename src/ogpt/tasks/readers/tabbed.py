"""Files of tab-separated columns without quoting: GLUE, SNLI, MultiNLI, SciTail, MRPC, STS-B, CoLA.

The default dialect of `csv` would merge rows wherever a field begins with a double quote, silently:
499 rows of SciTail, 114 of MRPC, 38 of STS-B. The module also refuses a carriage return inside a
field, which MultiNLI has. So lines are divided at tabs, and nothing else is special.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ogpt.errors import DataError
from ogpt.tasks.example import Example, Gold
from ogpt.tasks.readers.decoding_lines import (
    NO_GOLD,
    Drops,
    decoded_lines,
    place_of,
    without_empty,
)

BROKEN = "their columns are not those of the header"
NO_MAJORITY = "-"
"""Gold label of SNLI and MultiNLI rows on which most annotators do not agree."""
HIDDEN = "hidden"
"""Gold label in the test sets of MultiNLI."""


def read_tabbed(
    path: Path,
    drops: Drops,
    *,
    texts: Sequence[str],
    label: str = "label",
    names: Mapping[str, str] | None = None,
    columns: Sequence[str] = (),
    id: str = "",
    score: bool = False,
) -> Iterator[Example]:
    """Read the examples of a tab-separated file.

    Args:
        path: The file.
        drops: Counts rows without a gold label, and labelled rows that are broken or lack a text.
        texts: Names of the columns of the texts.
        label: Name of the column of the label; a file without it is an unlabelled test set.
        names: Label in the file -> name of the class; a row with another label is broken.
            None: the labels are the names.
        columns: Names of the columns of a file without a header. A first line that starts with
            "index" is a header still: of the three CoLA files of GLUE the test set alone has one.
        id: Name of the column of the id, or several separated by commas; "" or a name that is not
            there: rows have none.
        score: Whether the label is a number.

    Raises:
        DataError: the header lacks a column, a line is not UTF-8, or a row without label is broken.
    """
    return without_empty(_read(path, drops, texts, label, names, columns, id, score), drops)


def _read(
    path: Path,
    drops: Drops,
    texts: Sequence[str],
    label: str,
    names: Mapping[str, str] | None,
    columns: Sequence[str],
    id: str,
    score: bool,
) -> Iterator[Example]:
    header = list(columns)
    for number, line in enumerate(decoded_lines(path), 1):
        # no strip(): it would remove empty columns at the end of a line
        values = line.removesuffix("\n").removesuffix("\r").split("\t")
        if number == 1 and (not columns or values[0] == "index"):
            header = _checked(path, values, texts)
            continue
        if values == [""]:
            continue
        place = place_of(path, number)
        needed = [header.index(name) for name in texts]
        labelled = label in header
        if labelled:
            needed.append(header.index(label))
        if not max(needed) < len(values) <= len(header):
            if not labelled:
                raise DataError(
                    f"{place} has {len(values)} columns; allowed: {len(header)}, as the header has",
                    hint="download the file again: each row of a test set needs a prediction",
                )
            drops[BROKEN] += 1
            continue
        chosen = [values[column].strip() for column in needed]
        gold: Gold | None = chosen.pop() if labelled else None
        if gold == HIDDEN:
            gold = None
        if gold == NO_MAJORITY:
            drops[NO_GOLD] += 1
            continue
        if names is not None and gold is not None:
            if gold not in names:
                drops[BROKEN] += 1
                continue
            gold = names[str(gold)]
        if score and gold is not None:
            gold = _number(str(gold))
        known = [values[header.index(name)] for name in id.split(",") if name in header]
        yield Example(tuple(chosen), gold, place, " ".join(known))


def _checked(path: Path, header: list[str], texts: Sequence[str]) -> list[str]:
    missing = [name for name in texts if name not in header]
    if missing:
        raise DataError(
            f"the header of {path} has no column {missing[0]!r}; its columns are "
            f"{', '.join(header)[:200]}",
            hint="check that this is the file of the task, as downloaded",
        )
    return header


def _number(text: str) -> float | str:
    """A score; what is no number stays text, and is refused with the place of its row."""
    try:
        return float(text)
    except ValueError:
        return text
