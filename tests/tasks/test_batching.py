"""Batches: each example once an epoch, padding that nothing counts, resumable order."""

import numpy as np
import pytest

from ogpt.data.batch import IGNORED
from ogpt.tasks.batching import TaskBatches, padded
from ogpt.tasks.encoded_examples import EncodedExamples

PAD = 99


def encoded(count: int = 45) -> EncodedExamples:
    """Example i has the label i, and a sequence of 2 to 12 tokens."""
    rng = np.random.default_rng(0)
    sequences = [[[7] * n] for n in rng.integers(2, 13, count)]
    return EncodedExamples(sequences, np.arange(count), np.arange(count), 0, 0)


def batches(count: int = 45, **options) -> TaskBatches:
    return TaskBatches(encoded(count), PAD, **({"batch_size": 4, "seed": 3} | options))


def test_padding_targets_and_places():
    batch = padded([[[1, 2, 3]], [[4, 5, 6, 7], [8, 9]]], PAD)
    assert batch.ids.tolist() == [
        [[1, 2, 3, PAD], [PAD] * 4],
        [[4, 5, 6, 7], [8, 9, PAD, PAD]],
    ]
    assert batch.targets.tolist() == [
        [[2, 3, IGNORED, IGNORED], [IGNORED] * 4],
        [[5, 6, 7, IGNORED], [9, IGNORED, IGNORED, IGNORED]],
    ]
    assert batch.places.tolist() == [[2, 0], [3, 1]]
    assert batch.attention_mask.sum((1, 2)).tolist() == [3, 6]


@pytest.mark.parametrize("bucketed", [True, False])
@pytest.mark.parametrize("count", [4, 44, 45, 401])
def test_every_example_once_an_epoch(bucketed, count):
    source = batches(count, bucketed=bucketed)
    for epoch in range(3):
        seen = source.batch(epoch * count, count).labels
        assert sorted(seen) == list(range(count))


def test_epochs_and_seeds_have_other_orders():
    source = batches()
    orders = [source.batch(epoch * 45, 45).labels.tolist() for epoch in range(2)]
    orders.append(batches(seed=4).batch(0, 45).labels.tolist())
    assert len({tuple(order) for order in orders}) == 3


def test_a_batch_depends_on_its_index_alone():
    whole = batches().batch(0, 180).labels
    again = batches()
    for first in (176, 12, 88):
        assert np.array_equal(again.batch(first, 4).labels, whole[first : first + 4])


def test_buckets_save_padding_in_every_epoch():
    def padding(bucketed: bool) -> int:
        source = batches(403, bucketed=bucketed)
        steps = [source.batch(first, 4) for first in range(0, 403 * 3, 4)]
        return sum(batch.ids.size - batch.n_tokens for batch in steps)

    assert padding(True) < padding(False) / 5


def test_all_examples_in_order_and_by_length():
    source = batches()
    assert np.concatenate([b.labels for b in source.sequential(4)]).tolist() == list(range(45))
    parts = list(source.by_length(4))
    assert all(np.array_equal(indices, batch.labels) for indices, batch in parts)
    widths = [batch.ids.shape[-1] for _, batch in parts]
    assert widths == sorted(widths, reverse=True)
    assert sorted(np.concatenate([indices for indices, _ in parts])) == list(range(45))
