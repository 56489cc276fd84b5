"""A batch holds arrays that fit each other."""

import numpy as np
import pytest

from ogpt.data.batch import Batch, document_positions
from ogpt.errors import DataError

WINDOWS = np.zeros((2, 4), np.int64)
CHOICES = np.zeros((2, 3, 4), np.int64)


def test_what_a_batch_counts() -> None:
    assert len(Batch(CHOICES)) == len(Batch(WINDOWS)) == 2
    assert Batch(WINDOWS).n_tokens == 8
    documents = np.array([[0, 0, 1, -1], [0, -1, -1, -1]])
    assert Batch(WINDOWS, documents=documents).n_tokens == 4
    assert Batch(CHOICES, attention_mask=CHOICES > -1).n_tokens == 24


def test_every_array_of_a_batch_with_choices() -> None:
    batch = Batch(
        CHOICES,
        CHOICES,
        attention_mask=CHOICES == 0,
        labels=np.zeros(2, np.int64),
        places=np.zeros((2, 3), np.int64),
    )
    assert batch.places is not None
    Batch(WINDOWS, labels=np.zeros((2, 5), np.float32), places=np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("ids", "arrays", "message"),
    [
        (np.zeros(4, np.int64), {}, r"ids have shape \(4,\); allowed: \(B, T\) or \(B, K, T\)"),
        (WINDOWS, {"targets": WINDOWS[:1]}, r"targets have shape \(1, 4\) for ids of shape"),
        (CHOICES, {"attention_mask": WINDOWS == 0}, r"attention_mask have .* allowed: \(2, 3, 4\)"),
        (WINDOWS, {"labels": np.zeros(3)}, r"labels have shape \(3,\) .* allowed: \(2,\)"),
        (CHOICES, {"places": np.zeros(2)}, r"places have shape \(2,\) .* allowed: \(2, 3\)"),
        (WINDOWS, {"documents": CHOICES}, r"documents have shape \(2, 3, 4\)"),
    ],
)
def test_arrays_that_do_not_fit(ids: np.ndarray, arrays: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Batch(ids, **arrays)
    assert caught.value.hint.startswith("pass ")


def test_positions_count_from_each_documents_start() -> None:
    documents = np.array([[0, 0, 1, 1, 1, -1], [0, 1, 1, 2, -1, -1]])
    expected = [[0, 1, 0, 1, 2, 0], [0, 0, 1, 0, 0, 1]]
    assert document_positions(documents).tolist() == expected
