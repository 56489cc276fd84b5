"""What a fine-tuned model predicts, as people and programs read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ogpt.evaluation.task_scores import Array, check_numbers, decided, named, probabilities
from ogpt.tasks.example import Example
from ogpt.tasks.task_spec import TaskSpec


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model predicts for one example."""

    label: Any
    """Name of the class, names of all that apply, number of the choice from 0, or the score; None
    for an example that was skipped."""
    scores: Any
    """Probability by name of the class, or of each choice in order; None for a score."""
    id: str = ""
    """Of the row, where it has one."""


def task_predictions(
    spec: TaskSpec, examples: Sequence[Example], kept: Sequence[int], logits: Array
) -> list[Prediction]:
    """The predictions for examples, in their order.

    Args:
        spec: The task.
        examples: All of them.
        kept: Indices of those that were not skipped.
        logits: (N, labels), (N, K) or (N, 1), of those that were not skipped; -inf for a choice
            that an example does not have.

    Raises:
        DataError: logits that are NaN or infinite.
    """
    found = [Prediction(None, None, example.id) for example in examples]
    if not len(kept):  # all are skipped
        return found
    check_numbers(logits)
    shown = probabilities(spec, logits)
    for best, row, index in zip(decided(spec, logits), shown, kept, strict=True):
        scores = _scores(spec, row, examples[index])
        found[index] = replace(found[index], label=named(spec, best), scores=scores)
    return found


def _scores(spec: TaskSpec, row: Any, example: Example) -> Any:
    if spec.problem == "regression":
        return None
    if spec.family == "multiple-choice":
        return [float(value) for value in row[: len(example.texts) - 2]]
    return dict(zip(spec.labels, map(float, row), strict=True))
