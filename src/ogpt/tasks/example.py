"""One labelled example of a task, and the four families of tasks (paper, figure 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Family = Literal["classification", "entailment", "similarity", "multiple-choice"]
"""How the texts of an example become sequences (paper, figure 1)."""

FAMILIES: tuple[Family, ...] = get_args(Family)

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
"""What is predicted, by Hugging Face's names (`config.problem_type`)."""

Gold = str | int | float | tuple[str, ...]
"""A gold label: the name of a class, the index of the right choice from 0, a score, or the names of
all labels that apply."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Args:
        texts: Of classification (text,); of entailment (premise, hypothesis); of similarity the two
            texts in any order; of multiple choice (context, question, choice, choice, ...), where
            context or question may be "".
        label: The gold label; None: the row has none, as in the test set of a shared task.
        place: File and line, for messages.
        id: Of the row, where its file has one; submissions repeat it.
    """

    texts: tuple[str, ...]
    label: Gold | None = None
    place: str = ""
    id: str = ""
