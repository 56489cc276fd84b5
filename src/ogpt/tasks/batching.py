"""Batches of examples: shuffled and bucketed by length for training, in order for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ogpt.data.batch import IGNORED, Batch
from ogpt.tasks.encoded_examples import EncodedExamples
from ogpt.tasks.transforms import Ids

_POOL = 50
"""Batches of a pool whose examples are sorted by length. Sorting the whole epoch would make each
batch the same every time; within a pool the batches differ from epoch to epoch."""


class TaskBatches:
    """Encoded examples as batches; a BatchSource of the training loop.

    The order is a pure function of (seed, epoch), so that a run can resume: the examples are
    permuted, sorted by length within pools of _POOL batches, and the batches are permuted.

    Args:
        encoded: The examples.
        pad_id: Token for padding, on the right.
        seed: Of the order.
        batch_size: Examples of an optimizer step.
        bucketed: Whether a batch holds examples of similar lengths, which saves padding.
    """

    def __init__(
        self,
        encoded: EncodedExamples,
        pad_id: int,
        *,
        seed: int = 0,
        batch_size: int = 32,
        bucketed: bool = True,
    ) -> None:
        self.encoded = encoded
        self.pad_id = pad_id
        self.seed = seed
        self.batch_size = batch_size
        self.bucketed = bucketed
        self.lengths = np.array([max(map(len, ids)) for ids in encoded.sequences], dtype=np.int64)
        self._order = lru_cache(maxsize=2)(self._order_of_epoch)

    @property
    def n_windows(self) -> int:
        """Examples in one epoch."""
        return len(self.encoded)

    def batch(self, first: int, count: int) -> Batch:
        """Examples first to first + count of the endless sequence of epochs."""
        places = range(first, first + count)
        n = self.n_windows
        return self.of([int(self._order(place // n)[place % n]) for place in places])

    def sequential(self, count: int) -> Iterator[Batch]:
        """All examples once, in order."""
        for first in range(0, self.n_windows, count):
            yield self.of(range(first, min(first + count, self.n_windows)))

    @property
    def longest_first(self) -> NDArray[np.int64]:
        """(N,) indices of all examples, as `by_length` yields them."""
        return np.argsort(-self.lengths, kind="stable")

    def by_length(self, count: int) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """All examples once, longest first, with their indices.

        There is little padding, and a batch that needs too much memory fails at once.
        """
        order = self.longest_first
        for first in range(0, self.n_windows, count):
            chosen = order[first : first + count]
            yield chosen, self.of(chosen.tolist())

    def of(self, indices: Sequence[int]) -> Batch:
        """The batch of these examples."""
        chosen = [self.encoded.sequences[index] for index in indices]
        batch = padded(chosen, self.pad_id)
        labels = self.encoded.labels
        return batch if labels is None else replace(batch, labels=labels[list(indices)])

    def _order_of_epoch(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng(np.random.SeedSequence((self.seed, epoch)))
        order = random.permutation(self.n_windows)
        if not self.bucketed:
            return order
        size = self.batch_size
        # the last step of the epoch before needs this many examples more to be full
        head = -epoch * self.n_windows % size
        batches: list[NDArray[np.int64]] = []
        for first in range(head, len(order), _POOL * size):
            pool = order[first : first + _POOL * size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += np.split(pool, range(size, len(pool), size))
        # a short batch stays last: elsewhere it would shift the ones after it against the steps
        short = [batches.pop()] if batches and len(batches[-1]) < size else []
        shuffled = [batches[index] for index in random.permutation(len(batches))]
        return np.concatenate([order[:head], *shuffled, *short])


def padded(sequences: Sequence[Sequence[Ids]], pad_id: int) -> Batch:
    """A batch of examples, padded on the right; a choice that an example lacks is all padding.

    Args:
        sequences: For each example its sequences.
        pad_id: Token for padding.
    """
    K = max(map(len, sequences))
    T = max(len(ids) for rows in sequences for ids in rows)
    ids = np.full((len(sequences), K, T), pad_id, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    targets = np.full_like(ids, IGNORED)
    places = np.zeros((len(sequences), K), dtype=np.int64)
    for example, rows in enumerate(sequences):
        for choice, row in enumerate(rows):
            n = len(row)
            ids[example, choice, :n] = row
            mask[example, choice, :n] = True
            targets[example, choice, : n - 1] = row[1:]
            places[example, choice] = n - 1
    return Batch(ids, targets=targets, attention_mask=mask, places=places)
