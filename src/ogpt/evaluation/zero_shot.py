"""The paper's zero-shot heuristics (section 5, figure 2, right): tasks scored without fine-tuning.

A heuristic turns an example into candidates: texts to score in their contexts. Their mean
log-probabilities per token decide what is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.tasks.example import Example
from ogpt.tasks.readers.pronouns import PronounCase

_NO_SPACE_BEFORE = tuple(".,;:!?'\u2019")


class Candidate(NamedTuple):
    """A text to score in its context."""

    context: str
    """May be ""; then the first token of the text has no context and is not scored."""
    text: str


def acceptability(example: Example) -> list[Candidate]:
    """CoLA: the sentence alone; `acceptable` judges it."""
    return [Candidate("", example.texts[0])]


def sentiment(example: Example, words: Sequence[str] = ("negative", "positive")) -> list[Candidate]:
    """SST-2: "very" is appended to the sentence, and each class is a word after it.

    Args:
        example: Classification.
        words: The word of each class, in the order of the classes.
    """
    return [Candidate(f"{example.texts[0]} very", f" {word}") for word in words]


def answers(example: Example) -> list[Candidate]:
    """RACE: each answer after document and question."""
    document, question, *choices = example.texts
    context = " ".join(part for part in (document, question) if part)
    return [Candidate(context, f" {choice}") for choice in choices]


def referents(case: PronounCase) -> list[Candidate]:
    """DPRD, Winograd: the rest of the sentence after each referent in place of the pronoun.

    The rest is what follows the pronoun; the referent itself does not count, since a rare name
    would lose whatever follows.
    """
    rest = case.after if case.after.startswith(_NO_SPACE_BEFORE) else f" {case.after}"
    return [Candidate(f"{case.before} {name}".strip(), rest) for name in case.candidates]


def most_probable(means: NDArray[np.float64]) -> NDArray[np.int64]:
    """The candidate with the highest mean of each example, (N,), from means (N, K)."""
    best: NDArray[np.int64] = means.argmax(-1)
    return best


def acceptable(means: NDArray[np.float64], gold: NDArray[np.int64]) -> NDArray[np.int64]:
    """A sentence is acceptable where its mean log-probability exceeds a threshold.

    The paper does not say how it chose the threshold. Here, no sentence is judged by a threshold
    that was chosen with its own label: the threshold with the best accuracy on one half of the
    sentences decides the other half, and the reverse. Each class is divided evenly: files may have
    acceptable and unacceptable sentences in turn.

    Args:
        means: (N,), 2 or more.
        gold: (N,), 1 for acceptable sentences.

    Returns:
        1 for each sentence that is found acceptable, (N,).
    """
    first = np.empty(len(means), dtype=np.bool_)
    for label in (0, 1):
        of_class = np.flatnonzero(gold == label)
        first[of_class] = np.arange(len(of_class)) % 2 == label  # neither half is ever empty
    found = np.empty(len(means), dtype=np.int64)
    for half in (first, ~first):
        found[half] = means[half] > best_threshold(means[~half], gold[~half])
    return found


def best_threshold(values: NDArray[np.float64], gold: NDArray[np.int64]) -> float:
    """The threshold for which `value > threshold` agrees best with `gold`; of equals, the lowest.

    Candidates are -inf, the midpoints between neighbouring values, and inf.
    """
    ordered = np.unique(values)
    candidates = np.concatenate([[-np.inf], (ordered[:-1] + ordered[1:]) / 2, [np.inf]])
    agreements = ((values[None, :] > candidates[:, None]) == (gold[None, :] > 0)).mean(1)
    return float(candidates[agreements.argmax()])


def normalized(value: float, chance: float, best: float) -> float:
    """Figure 2's scale: 0 is chance, 1 the best known single model."""
    return (value - chance) / (best - chance)
