"""The sequences of one example, by its family; needs no corpora, so that a server can use it."""

from __future__ import annotations

from collections.abc import Sequence

from ogpt.errors import DataError
from ogpt.tasks.example import Example, Family
from ogpt.tasks.transforms import Ids, Sequences, Transform


def example_sequences(
    example: Example, parts: Sequence[Ids], family: Family, transform: Transform
) -> Sequences:
    """Make the sequences of an example (paper, figure 1).

    Args:
        example: The example.
        parts: Ids of each of its texts.
        family: Of the task.
        transform: For the model.

    Raises:
        DataError: a text has no tokens; context and question of a choice may be empty.
    """
    check_texts(example, parts, family)
    match family:
        case "classification":
            return transform.classification(parts[0])
        case "entailment":
            return transform.entailment(parts[0], parts[1])
        case "similarity":
            return transform.similarity(parts[0], parts[1])
        case "multiple-choice":
            return transform.multiple_choice(parts[0], parts[1], parts[2:])


def check_texts(example: Example, parts: Sequence[Ids], family: Family) -> None:
    """Check that the texts of an example have tokens.

    Raises:
        DataError: one has none; context and question of a choice may be empty.
    """
    optional = 2 if family == "multiple-choice" else 0
    for number, (text, ids) in enumerate(zip(example.texts, parts, strict=True)):
        if not ids and (number >= optional or text.strip()):
            raise DataError(
                f"text {number + 1} of {example.place or 'an example'}, {text!r}, has no tokens",
                hint="remove the row, or fill in its text",
            )
