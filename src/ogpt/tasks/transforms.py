"""The paper's figure 1: how an example becomes token sequences, and where each one is read.

    classification    start, text, extract
    entailment        start, premise, delimiter, hypothesis, extract
    similarity        start, first, delimiter, second, extract, and the same in the other order
    multiple choice   start, context and question, delimiter, choice, extract, for each choice

The classifier reads the hidden state of the extract token, which alone sees the whole sequence.
The names of the three tokens are those of the 2018 code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

START, DELIMITER, EXTRACT = "_start_", "_delimiter_", "_classify_"

Ids = list[int]


class TaskTokens(NamedTuple):
    """Ids of the three tokens that fine-tuning adds to the vocabulary."""

    start: int
    delimiter: int
    extract: int


class Sequences(NamedTuple):
    """The sequences of one example; each ends with the extract token."""

    ids: list[Ids]
    cut: int
    """Number of tokens of the texts that were cut off, each text counted once."""


@dataclass(frozen=True, slots=True)
class Transform:
    """Makes the sequences of examples for one model.

    A sequence that is too long for the model is cut as in the 2018 code (train.py, transform_roc):
    every text keeps its first n_positions // 2 - 2 tokens, or n_positions - 2 if it stands alone.

    Args:
        tokens: Ids of start, delimiter and extract.
        n_positions: Longest sequence that the model takes.
        always_cut: Cut texts beyond the limit even where the whole sequence would fit, as the 2018
            code does; otherwise only sequences that do not fit are cut.
    """

    tokens: TaskTokens
    n_positions: int
    always_cut: bool = False

    def classification(self, text: Ids) -> Sequences:
        """start, text, extract."""
        kept = text[: max(0, self.n_positions - 2)]
        ids = [self.tokens.start, *kept, self.tokens.extract]
        return Sequences([ids], len(text) - len(kept))

    def entailment(self, premise: Ids, hypothesis: Ids) -> Sequences:
        """start, premise, delimiter, hypothesis, extract."""
        first, second = self._cut_pair(premise, hypothesis)
        cut = len(premise) - len(first) + len(hypothesis) - len(second)
        return Sequences([self._joined(first, second)], cut)

    def similarity(self, first: Ids, second: Ids) -> Sequences:
        """Both orders: similarity has none of its own (paper, section 3.3)."""
        (forward,), cut = self.entailment(first, second)
        (backward,), _ = self.entailment(second, first)
        return Sequences([forward, backward], cut)

    def multiple_choice(self, context: Ids, question: Ids, choices: Sequence[Ids]) -> Sequences:
        """start, context and question, delimiter, choice, extract: one sequence for each choice.

        Where context and question must be cut, the context gives way: the question comes last.
        """
        # cut alike for all choices, so that they differ in the choice alone
        longest = max(choices, key=len)
        limit = len(self._cut_pair(context + question, longest)[0])
        prompt = _cut_context(context, question, limit)
        kept = [self._cut_pair(prompt, choice)[1] for choice in choices]
        lost = len(context) + len(question) - len(prompt)
        lost += sum(len(whole) - len(part) for whole, part in zip(choices, kept, strict=True))
        return Sequences([self._joined(prompt, part) for part in kept], lost)

    def _joined(self, first: Ids, second: Ids) -> Ids:
        start, delimiter, extract = self.tokens
        return [start, *first, delimiter, *second, extract]

    def _cut_pair(self, first: Ids, second: Ids) -> tuple[Ids, Ids]:
        if not self.always_cut and len(first) + len(second) + 3 <= self.n_positions:
            return first, second
        limit = max(0, self.n_positions // 2 - 2)
        return first[:limit], second[:limit]


def _cut_context(context: Ids, question: Ids, limit: int) -> Ids:
    """Context and question in `limit` tokens; the question is cut only where it alone is longer."""
    kept = question[:limit]
    return context[: limit - len(kept)] + kept
