"""Sequences with a common beginning as one sequence, so that a transformer computes it once.

After the beginning follows the rest of each sequence, which sees the beginning and itself alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.tasks.transforms import Ids


class CommonPrefix(NamedTuple):
    """Groups of sequences of which the common beginning stands once, as a batch."""

    ids: NDArray[np.int64]
    """(B, T): the beginning, then the rest of each sequence, then padding."""
    positions: NDArray[np.int64]
    """(B, T); each rest continues from the end of the beginning."""
    visible: NDArray[np.bool_]
    """(B, T, T): a query sees the beginning, and its own sequence."""
    places: list[list[NDArray[np.int64]]]
    """For each group and sequence, where its tokens are in the row of ids."""


def joined_length(sequences: Sequence[Ids]) -> int:
    """Tokens of the common beginning of all sequences, and of the rest of each."""
    prefix = _common(sequences)
    return prefix + sum(len(ids) - prefix for ids in sequences)


def with_common_prefix(groups: Sequence[Sequence[Ids]], pad_id: int) -> CommonPrefix:
    """Put each group of sequences into one sequence.

    Args:
        groups: The sequences of each group, of one token or more.
        pad_id: Token for padding.
    """
    B, T = len(groups), max(map(joined_length, groups))
    ids = np.full((B, T), pad_id, dtype=np.int64)
    positions = np.zeros((B, T), dtype=np.int64)
    visible: NDArray[Any] = np.zeros((B, T, T), dtype=bool)
    places: list[list[NDArray[np.int64]]] = []
    for row, sequences in enumerate(groups):
        prefix = _common(sequences)
        ids[row, :prefix] = sequences[0][:prefix]
        positions[row, :prefix] = np.arange(prefix)
        visible[row, :, :prefix] = True
        places.append([])
        at = prefix
        for sequence in sequences:
            end = at + len(sequence) - prefix
            ids[row, at:end] = sequence[prefix:]
            positions[row, at:end] = np.arange(prefix, len(sequence))
            visible[row, at:end, at:end] = True
            places[-1].append(np.r_[:prefix, at:end])
            at = end
        visible[row, at:, at:] = True  # a query that sees nothing would be NaN, and spread
    return CommonPrefix(ids, positions, visible, places)


def _common(sequences: Sequence[Ids]) -> int:
    """Tokens that all sequences begin with, without their last one."""
    shortest = min(map(len, sequences)) - 1
    first = sequences[0]
    for place in range(shortest):
        if any(ids[place] != first[place] for ids in sequences):
            return place
    return shortest
