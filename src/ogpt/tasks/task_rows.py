"""The user's own data: rows of a file become examples of a family."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ogpt.errors import ConfigError, DataError
from ogpt.tasks.example import Example, Family, Gold, Problem
from ogpt.tasks.tables import TableRow, read_rows

LABEL = "label"
CHOICES = "choices"

ROLES: dict[Family, tuple[str, ...]] = {
    "classification": ("text",),
    "entailment": ("premise", "hypothesis"),
    "similarity": ("sentence1", "sentence2"),
    "multiple-choice": ("context", "question", CHOICES),
}
"""The texts of an example by family, in the order of Example.texts."""

_NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "sentence"),
    "premise": ("premise", "question", "sentence1", "text1"),
    "hypothesis": ("hypothesis", "sentence", "sentence2", "text2"),
    "sentence1": ("sentence1", "question1", "text1"),
    "sentence2": ("sentence2", "question2", "text2"),
    "context": ("context", "premise", "article", "passage"),
    "question": ("question",),
    CHOICES: (CHOICES, "options", "answers", "endings"),
    LABEL: (LABEL, "score"),
}
"""Usual names of the columns, tried in order where none is given."""

_OPTIONAL = ("context", "question", LABEL)
_SEPARATOR = "|"
"""Between several labels in a cell of a table."""
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?\d+\.\d*(e-?\d+)?")


def column_roles(family: Family) -> tuple[str, ...]:
    """The roles that columns of a family have: its texts, and the label."""
    return (*ROLES[family], LABEL)


def parse_columns(family: Family, pairs: Sequence[str]) -> dict[str, str]:
    """Names of columns by role, from `role=name`.

    Raises:
        ConfigError: a pair without a name, or a role that the family does not have.
    """
    found = {}
    for pair in pairs:
        role, _, name = pair.partition("=")
        if role not in column_roles(family) or not name:
            raise ConfigError(
                f"--column is {pair!r}; allowed for {family}: ROLE=NAME with a role of "
                f"{', '.join(column_roles(family))}",
                hint="pass for example --column label=gold",
            )
        found[role] = name
    return found


def read_examples(
    path: Path,
    family: Family,
    columns: Mapping[str, str],
    problem: Problem | None = None,
    *,
    labelled: bool = False,
) -> tuple[list[Example], dict[str, str]]:
    """Read the examples of a file.

    Args:
        path: As in `read_rows`.
        family: Of the task.
        columns: Role -> name of its column; usual names are found. Choices may be one column with a
            list, or several, separated by commas.
        problem: What is predicted, where it is known; a cell then is split into several labels.
        labelled: Whether there must be a column of labels.

    Returns:
        The examples, and the columns of all roles that were found.

    Raises:
        DataError: a column is missing, a text is no text, or there are no rows.
    """
    examples: list[Example] = []
    resolved: dict[str, str] = dict(columns)
    for row in read_rows(path):
        if not examples:
            resolved = _resolved(family, columns, row)
            if labelled and resolved.get(LABEL) not in row.fields:
                raise _no_column(resolved.get(LABEL, LABEL), LABEL, row)
        examples.append(_example(row, family, resolved, problem))
    if not examples:
        raise DataError(
            f"{path} has no rows",
            hint="pass a file with examples; the first line of a .csv or .tsv is its header",
        )
    return examples, resolved


def example_of(
    fields: Mapping[str, Any], family: Family, columns: Mapping[str, str], place: str
) -> Example:
    """The example of one row, such as one that a program sends.

    Raises:
        DataError: a column is missing, or a text is no text.
    """
    row = TableRow(dict(fields), place)
    return _example(row, family, _resolved(family, columns, row), None)


def _resolved(family: Family, columns: Mapping[str, str], row: TableRow) -> dict[str, str]:
    """The column of each role: the given one, or the first usual name that the row has."""
    found: dict[str, str] = {}
    for role in column_roles(family):
        if role in columns:
            names = columns[role].split(",") if role == CHOICES else [columns[role]]
            missing = [name for name in names if name not in row.fields]
            if missing and role != LABEL:
                raise _no_column(missing[0], role, row)
            found[role] = columns[role]
            continue
        usual = [n for n in _NAMES[role] if n in row.fields and n not in found.values()]
        if usual:
            found[role] = usual[0]
        elif role not in _OPTIONAL:
            raise _no_column(_NAMES[role][0], role, row)
    if LABEL not in columns and "label_name" in row.fields and family != "multiple-choice":
        found[LABEL] = "label_name"  # the names of the classes, beside their numbers
    return found


def _no_column(name: str, role: str, row: TableRow) -> DataError:
    return DataError(
        f"{row.place} has no column {name!r} for the {role}; its columns are "
        f"{', '.join(row.fields)}",
        hint=f"rename the column in the file, or pass --column {role}=NAME when fine-tuning",
    )


def _example(
    row: TableRow, family: Family, columns: Mapping[str, str], problem: Problem | None
) -> Example:
    texts: list[str] = []
    for role in ROLES[family]:
        if role == CHOICES:
            texts += _choices(row, columns[role])
        elif role in columns:
            texts.append(_text(row, columns[role]))
        else:
            texts.append("")
    label = row.fields.get(columns[LABEL]) if LABEL in columns else None
    given = row.fields.get("id")
    name = "" if given is None else str(given)
    return Example(tuple(texts), _gold(label, row, problem), row.place, name)


def _choices(row: TableRow, column: str) -> Iterator[str]:
    names = column.split(",")
    if len(names) > 1:
        yield from (_text(row, name) for name in names)
        return
    choices = row.fields.get(column)
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(
            f"{column} of {row.place} is {choices!r}; allowed: a list of two or more texts",
            hint="in a table, name one column for each choice: --column choices=a,b,c",
        )
    for choice in choices:
        if not isinstance(choice, str):
            raise _no_text(column, choice, row)
        yield choice


def _text(row: TableRow, column: str) -> str:
    value = row.fields.get(column)
    if not isinstance(value, str):
        raise _no_text(column, value, row)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{column} of {row.place} has half a surrogate pair at character {error.start}",
            hint="write the file again with whole characters",
        ) from error
    return value


def _no_text(column: str, value: Any, row: TableRow) -> DataError:
    return DataError(
        f"{column} of {row.place} is {value!r}, {type(value).__name__}; allowed: a text",
        hint="remove the row or fill in its text; finetune --column names another column",
    )


def _gold(value: Any, row: TableRow, problem: Problem | None) -> Gold | None:
    """The label of a row; an empty cell is none, and a number in a table is a number."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        if problem == "multi_label_classification":
            return tuple(part.strip() for part in value.split(_SEPARATOR))
        if _WHOLE.fullmatch(value):
            return int(value)
        return float(value) if _DECIMAL.fullmatch(value) else value
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return tuple(map(str, value))
    raise DataError(
        f"the label of {row.place} is {value!r}; allowed: a text, a number, or a list of texts",
        hint="check the label column, which finetune --column label=NAME names",
    )
