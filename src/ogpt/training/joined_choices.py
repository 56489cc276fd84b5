"""Choices to score as rows of batches, without a framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.likelihood import Choices, Scorer, check_finite
from ogpt.training.common_prefix import joined_length, with_common_prefix


class JoinedBatch(NamedTuple):
    """A batch of choices as arrays; those of one context share a row."""

    ids: NDArray[np.int64]
    """(B, T)."""
    positions: NDArray[np.int64]
    """(B, T)."""
    visible: NDArray[np.bool_]
    """(B, T, T): which keys a query sees."""
    rows: NDArray[np.int64]
    """(N,), the row of each state that predicts a token of a choice."""
    places: NDArray[np.int64]
    """(N,), its position in the row."""
    targets: NDArray[np.int64]
    """(N,), the token."""


def scorer_in_batches(
    log_probs: Callable[[JoinedBatch], NDArray[np.float32]], longest: int, budget: int
) -> Scorer:
    """A scorer of choices that computes them in batches.

    Args:
        log_probs: Computes the log-probability of each target of a batch, (N,).
        longest: Maximum number of tokens of choices that share a row; 0: each has one of its own.
        budget: Maximum number of tokens of a batch, with its padding.
    """

    def score(parts: Sequence[Choices]) -> list[list[NDArray[np.float32]]]:
        found: dict[int, NDArray[np.float32]] = {}
        for batch in _batches(_joined(parts, longest), budget):
            numbers = [group.first + nth for group in batch for nth in range(len(group.targets))]
            scores = log_probs(_arrays(batch))
            check_finite(scores)
            ends = np.cumsum([len(ids) for group in batch for ids in group.targets])[:-1]
            found.update(zip(numbers, np.split(scores, ends), strict=True))
        in_order = (found[number] for number in range(len(found)))
        return [[next(in_order) for _ in part.ids] for part in parts]

    return score


class _JoinedChoices(NamedTuple):
    """Choices that are one row of a batch."""

    first: int
    """Number of the first one, counted over all."""
    inputs: list[list[int]]
    """Context and choice, without the last token, which is only predicted."""
    targets: list[list[int]]


def _joined(parts: Sequence[Choices], longest: int) -> Iterator[_JoinedChoices]:
    """The choices of a context together, so that it is computed once; if too long, each alone."""
    number = 0
    for part in parts:
        inputs = [[*part.context, *ids[:-1]] for ids in part.ids]
        size = len(inputs) if joined_length(inputs) <= longest else 1
        for start in range(0, len(inputs), size):
            chosen = slice(start, start + size)
            yield _JoinedChoices(number + start, inputs[chosen], part.ids[chosen])
        number += len(inputs)


def _batches(groups: Iterable[_JoinedChoices], budget: int) -> Iterator[list[_JoinedChoices]]:
    """Batches of similar lengths, of at most `budget` tokens with their padding."""
    batch: list[_JoinedChoices] = []
    for group in sorted(groups, key=lambda group: joined_length(group.inputs)):
        if batch and (len(batch) + 1) * joined_length(group.inputs) > budget:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _arrays(batch: Sequence[_JoinedChoices]) -> JoinedBatch:
    made = with_common_prefix([group.inputs for group in batch], pad_id=0)
    choices = [choice for group in batch for choice in group.targets]
    inputs = [(row, where) for row, each in enumerate(made.places) for where in each]
    # the tokens of a choice are predicted by the last of its inputs
    places = [where[-len(ids) :] for (_, where), ids in zip(inputs, choices, strict=True)]
    return JoinedBatch(
        made.ids,
        made.positions,
        made.visible,
        rows=np.repeat([row for row, _ in inputs], list(map(len, choices))),
        places=np.concatenate(places),
        targets=np.array([token for ids in choices for token in ids]),
    )
