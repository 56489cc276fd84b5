"""Labels of examples: found in training data, and turned into numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DataError
from ogpt.tasks.example import Example, Family, Gold, Problem
from ogpt.tasks.task_spec import TaskSpec

MOST_CLASSES = 1_000
"""More distinct labels than this are no classes, but identifiers or free text."""

_SHOWN = 8


def infer_problem(examples: Iterable[Example], family: Family) -> Problem:
    """What the labels are: lists mean several labels at once, numbers of a pair a score.

    Numbers are scores for similarity, and where any of them is not whole; otherwise they are the
    numbers of classes. Multiple choice always is a choice of one.

    Raises:
        DataError: scores or lists, and a few labels that are neither: by these alone the task would
            become another.
    """
    if family == "multiple-choice":
        return "single_label_classification"
    kinds: dict[str, list[Example]] = {}
    for example in examples:
        if example.label is not None:
            kinds.setdefault(_kind(example.label), []).append(example)
    numbers = [example.label for example in kinds.get("a number", ())]
    scores = bool(numbers) and (
        family == "similarity" or any(isinstance(n, float) and not n.is_integer() for n in numbers)
    )
    if len(kinds) > 1 and ("a list" in kinds or scores):
        (_, most), *_, (kind, least) = sorted(kinds.items(), key=lambda one: -len(one[1]))
        total = sum(map(len, kinds.values()))
        raise DataError(
            f"the label of {_place(least[0])} is {least[0].label!r}, {kind}; {total - len(least)} "
            f"of {total} labels are of another kind, such as {most[0].label!r}",
            hint="correct the rows, or pass --problem to say what is predicted",
        )
    if "a list" in kinds:
        return "multi_label_classification"
    return "regression" if scores else "single_label_classification"


def infer_labels(examples: Iterable[Example], problem: Problem) -> tuple[str, ...]:
    """Names of the classes of training examples, sorted; numbers by their value.

    Raises:
        DataError: there are fewer than two, or more than MOST_CLASSES.
    """
    if problem == "regression":
        return ()
    names = {name for example in examples for name in _names(example.label)}
    least = 1 if problem == "multi_label_classification" else 2
    if not least <= len(names) <= MOST_CLASSES:
        few = "one class alone cannot be learned: add rows of another class"
        raise DataError(
            f"distinct values of the label column: {len(names)} ({_shown(names)}); allowed: "
            f"{least} to {MOST_CLASSES:,}",
            hint=f"{few if len(names) < least else 'check that it is the column of the labels'}; "
            "for scores instead of classes, pass --problem regression",
        )
    return tuple(sorted(names, key=_sort_key))


def label_array(examples: Sequence[Example], spec: TaskSpec) -> NDArray[Any] | None:
    """The gold labels as numbers, or None if no example has one.

    Returns:
        (N,) int64 classes or choices; (N,) float32 scores; (N, labels) float32 of 0 and 1.

    Raises:
        DataError: a label that the task does not have, or only some examples have labels.
    """
    missing = [example for example in examples if example.label is None]
    if len(missing) == len(examples):
        return None
    if missing:
        raise DataError(
            f"{_place(missing[0])} has no label; {len(missing)} of {len(examples)} rows have none",
            hint="fill in the label column, or remove these rows",
        )
    if spec.family == "multiple-choice":
        return np.array([_choice(example) for example in examples], dtype=np.int64)
    if spec.problem == "regression":
        return np.array([_score(example) for example in examples], dtype=np.float32)
    ids = {name: index for index, name in enumerate(spec.labels)}
    if spec.problem == "multi_label_classification":
        found = np.zeros((len(examples), len(ids)), dtype=np.float32)
        for row, example in zip(found, examples, strict=True):
            row[[_class(name, ids, example) for name in _names(example.label)]] = 1
        return found
    return np.array(
        [_class(_one_name(example), ids, example) for example in examples], dtype=np.int64
    )


def label_name(label: Gold) -> str:
    """The name of a class: the text of the file; a whole number without a fraction."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _names(label: Gold | None) -> tuple[str, ...]:
    if label is None:
        return ()
    return tuple(map(str, label)) if isinstance(label, tuple) else (label_name(label),)


def _one_name(example: Example) -> str:
    if isinstance(example.label, tuple):
        raise DataError(
            f"the label of {_place(example)} is the list {list(example.label)!r}; allowed: one "
            "class",
            hint="for several labels at once, fine-tune with --problem multi_label_classification",
        )
    assert example.label is not None  # checked for all
    return label_name(example.label)


def _class(name: str, ids: dict[str, int], example: Example) -> int:
    if name not in ids:
        raise DataError(
            f"the label of {_place(example)} is {name!r}; allowed: {_shown(ids)}",
            hint="use the labels of the training data, or correct the row",
        )
    return ids[name]


def _choice(example: Example) -> int:
    choices = len(example.texts) - 2
    label = example.label
    whole = isinstance(label, int) or (isinstance(label, float) and label.is_integer())
    if isinstance(label, bool) or not whole or not 0 <= int(label) < choices:  # type: ignore[arg-type]
        raise DataError(
            f"the label of {_place(example)} is {label!r}; allowed: the number of the right choice "
            f"from 0, at most {choices - 1}",
            hint="number the choices from 0 in the label column",
        )
    return int(label)  # type: ignore[arg-type]  # checked above


def _score(example: Example) -> float:
    try:
        value = float(example.label)  # type: ignore[arg-type]  # the error is handled
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"the label of {_place(example)} is {example.label!r}; allowed: a finite number",
            hint="check the label column; for classes, pass --problem single_label_classification",
        )
    return value


def _kind(label: Gold) -> str:
    if isinstance(label, tuple):
        return "a list"
    number = isinstance(label, int | float) and not isinstance(label, bool)
    return "a number" if number else "a text"


def _sort_key(name: str) -> tuple[bool, float, str]:
    try:
        number = float(name)
    except ValueError:
        number = math.nan
    # "nan" and "inf" are words: NaN has no place in an order
    return (False, number, name) if math.isfinite(number) else (True, 0.0, name)


def _shown(names: Iterable[str]) -> str:
    listed = sorted(names, key=_sort_key)
    more = f", ... ({len(listed)} in all)" if len(listed) > _SHOWN else ""
    return ", ".join(map(repr, listed[:_SHOWN])) + more or "none"


def _place(example: Example) -> str:
    return example.place or "an example"
