"""The framework-free half of the fine-tuning objective: names, coefficients and counts."""

import numpy as np
import pytest

from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import DataError
from ogpt.training.task_objective import LM_LOSS, TASK_LOSS, TaskObjective


def a_batch(**changes) -> Batch:
    ids = np.arange(12).reshape(2, 2, 3)
    targets = np.where(ids < 5, ids + 1, IGNORED)
    arrays = {"targets": targets, "labels": np.array([0, 1]), "places": np.full((2, 2), 2)}
    return Batch(ids, **(arrays | changes))


def test_examples_and_predicted_tokens_are_counted():
    objective = TaskObjective("multiple-choice", "single_label_classification")
    assert objective.coefficients == {TASK_LOSS: 1.0, LM_LOSS: 0.5}
    assert objective.counts(a_batch()) == {TASK_LOSS: 2, LM_LOSS: 5}


def test_without_the_language_loss_nothing_of_it_is_counted():
    objective = TaskObjective("similarity", "regression", lm_coef=0)
    assert objective.coefficients == {TASK_LOSS: 1.0}
    assert objective.counts(a_batch()) == {TASK_LOSS: 2}


@pytest.mark.parametrize("name", ["labels", "places", "targets"])
def test_a_missing_array_is_named(name):
    objective = TaskObjective("classification", "single_label_classification")
    with pytest.raises(DataError, match=f"the batch has no {name}") as error:
        objective.counts(a_batch(**{name: None}))
    assert "ogpt.tasks.batching" in error.value.hint
