"""Metrics and losses of Keras compare what the model's own loss does."""

from typing import Any

import keras
import numpy as np
import pytest

from ogpt.errors import ConfigError
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.notices import collecting
from tests.model.small import draw_ids
from tests.tf.twins import gap, tf_small

pytestmark = pytest.mark.slow
DOUBLE, CLASSIFIER = OpenAIGPTDoubleHeadsModel, OpenAIGPTForSequenceClassification


def evaluated(model: Any, *given: Any, **options: Any) -> dict[str, float]:
    how = {} if "jit_compile" in options else {"run_eagerly": True}
    model.compile(**{**how, **options})
    with collecting():  # the notice of XLA
        found: dict[str, float] = model.evaluate(*given, verbose=0, return_dict=True)
    return found


@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"jit_compile": True}])
def test_a_language_model_is_right_about_the_next_token(how: dict[str, bool]) -> None:
    model = tf_small()
    ids = draw_ids(4, 6).numpy()
    labels = ids.copy()
    labels[0, 3:] = -100
    guessed = model(ids).logits.numpy().argmax(-1)
    labels[1:3, 1:] = guessed[1:3, :-1]  # that some are right
    counts = labels[:, 1:] != -100
    right = (guessed[:, :-1] == labels[:, 1:])[counts].mean()
    # the planted faults: not shifted, and -100 counted
    assert abs((guessed == labels).mean() - right) > 0.1
    assert abs((guessed[:, :-1] == labels[:, 1:]).mean() - right) > 0.05
    entropy = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")
    found = evaluated(model, ids, labels, metrics=["accuracy"], weighted_metrics=[entropy], **how)
    assert set(found) == {"loss", "accuracy", "entropy"}
    assert found["accuracy"] == pytest.approx(right)
    assert found["entropy"] == pytest.approx(found["loss"], rel=1e-5)


def test_double_heads_are_right_about_the_choice() -> None:
    model = tf_small(DOUBLE)
    ids = draw_ids(3, 2, 3).numpy()  # as many examples as tokens: the logits of tokens fit too
    out = model(ids)
    labels = out.mc_logits.numpy().argmax(-1)
    labels[0] = 1 - labels[0]
    targets = {"labels": ids, "mc_labels": labels}
    for y in (labels, targets):
        found = evaluated(model, ids, y, metrics=["accuracy"], run_eagerly=False)
        assert found["accuracy"] == pytest.approx(2 / 3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = model(ids, mc_labels=labels).mc_loss
    tuples = tf_small(DOUBLE, return_dict=False)
    for one in (model, tuples):
        for y in (labels, targets):
            found = evaluated(one, ids, y, loss=loss, metrics=["accuracy"])
            assert gap(found["loss"], expected) < 1e-5
            assert found["accuracy"] == pytest.approx(2 / 3)


def test_metrics_without_their_labels() -> None:
    model = tf_small(DOUBLE)
    ids = draw_ids(3, 2, 4).numpy()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for options in ({"metrics": ["accuracy"]}, {"loss": loss}):
        with pytest.raises(ConfigError, match="the batch has no mc_labels") as caught:
            evaluated(model, ids, {"labels": ids}, **options)
        assert "mc_logits" in str(caught.value)
    assert evaluated(model, ids, {"labels": ids}, metrics=[])["loss"] > 0


def test_labels_that_a_classifier_ignores() -> None:
    model = tf_small(CLASSIFIER)
    ids = draw_ids(4, 6).numpy()
    labels = model(ids).logits.numpy().argmax(-1)
    labels[:2] = -100
    found = evaluated(model, ids, labels[:, None], metrics=["accuracy"])
    assert found["accuracy"] == 1


def test_numbers_and_several_labels_all_count() -> None:
    ids = draw_ids(4, 6).numpy()
    numbers = tf_small(CLASSIFIER, num_labels=1)
    far = np.array([-100, 3, 1, 0])
    found = evaluated(numbers, ids, far, metrics=["mean_squared_error"])
    assert found["mean_squared_error"] == pytest.approx(found["loss"], rel=1e-5)
    assert found["loss"] > 1000
    several = tf_small(CLASSIFIER, problem_type="multi_label_classification")
    binary = keras.metrics.BinaryCrossentropy(from_logits=True, name="entropy")
    found = evaluated(several, ids, np.eye(4, 3, dtype="int64"), metrics=[binary])
    assert found["entropy"] == pytest.approx(found["loss"], rel=1e-5)


def test_targets_of_a_loss_of_keras_belong_to_their_position() -> None:
    model = tf_small()
    ids = draw_ids(4, 6).numpy()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = evaluated(model, ids[:, :-1], ids[:, 1:], loss=loss, metrics=["accuracy"])
    assert gap(found["loss"], model(ids, labels=ids).loss) < 1e-5
    guessed = model(ids).logits.numpy().argmax(-1)
    assert found["accuracy"] == pytest.approx((guessed[:, :-1] == ids[:, 1:]).mean())
