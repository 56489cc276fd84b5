"""Keras habits: compile() without a loss, fit, evaluate, predict, XLA, mixed precision."""

import json
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from ogpt.errors import ConfigError
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.tf.double_heads import LM_COEF
from tests.contracts.sources import ROOT
from tests.model.small import Kind, config, draw_ids
from tests.tf.twins import TWINS, gap, tf_small

pytestmark = pytest.mark.slow
NONE = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "summary_first_dropout": 0.0}
DOUBLE, CLASSIFIER = OpenAIGPTDoubleHeadsModel, OpenAIGPTForSequenceClassification


def batch(kind: Kind) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and labels of eight examples."""
    ids = (draw_ids(8, 2, 6) if kind is DOUBLE else draw_ids(8, 6)).numpy()
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    first = ids[..., 0]  # what is to be learned
    if kind is DOUBLE:
        return inputs, {"labels": ids, "mc_labels": first.argmax(-1)}
    return inputs, {"labels": first % 3 if kind is CLASSIFIER else ids}


def dataset(kind: Kind, size: int = 4) -> tf.data.Dataset:
    inputs, labels = batch(kind)
    return tf.data.Dataset.from_tensor_slices({**inputs, **labels}).batch(size)


@pytest.mark.parametrize("kind", [OpenAIGPTLMHeadModel, DOUBLE, CLASSIFIER])
def test_the_models_own_loss(kind: Kind) -> None:
    model = tf_small(kind, **NONE)
    inputs, labels = batch(kind)
    out = model({**inputs, **labels})
    expected = out.mc_loss + LM_COEF * out.loss if kind is DOUBLE else out.loss
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    assert gap(model.evaluate(dataset(kind, 8), verbose=0), expected) < 1e-5
    history = model.fit(dataset(kind), shuffle=False, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


def test_labels_as_targets() -> None:
    inputs, labels = batch(DOUBLE)
    model = tf_small(DOUBLE, **NONE)
    model.compile(jit_compile=False)
    out = model({**inputs, **labels})
    found = model.evaluate(inputs, labels["mc_labels"], verbose=0)
    assert gap(found, out.mc_loss) < 1e-5
    both = model.evaluate(inputs, labels, verbose=0, batch_size=8)
    assert gap(both, out.mc_loss + LM_COEF * out.loss) < 1e-5
    only = model.evaluate(inputs, {"labels": labels["labels"]}, verbose=0, batch_size=8)
    assert gap(only, out.loss) < 1e-5


def test_metrics_see_labels_and_logits() -> None:
    model = tf_small(CLASSIFIER, **NONE)
    model.compile(
        keras.optimizers.Adam(1e-2),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=False,
    )
    model.fit(dataset(CLASSIFIER), shuffle=False, epochs=20, verbose=0)
    found = model.evaluate(dataset(CLASSIFIER), verbose=0, return_dict=True)
    inputs, labels = batch(CLASSIFIER)
    right = model(inputs).logits.numpy().argmax(-1) == labels["labels"]
    assert found["accuracy"] == pytest.approx(right.mean())
    assert right.mean() > 0.9


def test_a_loss_of_keras() -> None:
    model = tf_small(CLASSIFIER, **NONE)
    inputs, labels = batch(CLASSIFIER)
    expected = model({**inputs, **labels}).loss
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss=loss, jit_compile=False)
    assert gap(model.evaluate(inputs, labels["labels"], verbose=0), expected) < 1e-5
    weighted = model.evaluate(inputs, labels["labels"], sample_weight=np.zeros(8), verbose=0)
    assert weighted == 0
    tuples = tf_small(CLASSIFIER, **NONE, return_dict=False)
    tuples.compile(loss=loss, jit_compile=False)
    assert gap(tuples.evaluate(inputs, labels["labels"], verbose=0), expected) < 1e-5


@pytest.mark.parametrize("kind", TWINS)
def test_predict(kind: Kind) -> None:
    model = tf_small(kind)
    inputs, labels = batch(kind)
    given = inputs if kind is OpenAIGPTModel else {**inputs, **labels}  # labels are not returned
    model.compile(jit_compile=False)
    found, expected = model.predict(given, batch_size=3, verbose=0), model(inputs)
    assert type(found) is type(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert isinstance(found[name], np.ndarray)
        assert gap(found[name], value) < 1e-5
    tuples = tf_small(kind, return_dict=False)
    assert gap(tuples.predict(inputs, verbose=0)[0], expected[0]) < 1e-5


def test_predict_with_hidden_states() -> None:
    model = tf_small(output_hidden_states=True)
    inputs, _ = batch(OpenAIGPTLMHeadModel)
    found = model.predict(inputs, batch_size=4, verbose=0)
    assert [one.shape for one in found.hidden_states] == [(8, 6, 16)] * 3


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_xla_and_mixed_precision(dtype: str) -> None:
    keras.utils.set_random_seed(0)
    kind = TWINS[OpenAIGPTLMHeadModel]
    model = kind(config(), dtype=dtype)
    optimizer = keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2)
    model.compile(optimizer, jit_compile=True)
    losses = model.fit(dataset(OpenAIGPTLMHeadModel), shuffle=False, epochs=12, verbose=0).history[
        "loss"
    ]
    assert losses[-1] < losses[0]
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}


def test_two_replicas_learn_what_one_does() -> None:
    command = [sys.executable, "-m", "tests.tf.two_replicas"]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = json.loads(out.splitlines()[-1])
    assert found["its_losses"] == pytest.approx(found["losses"], rel=1e-5)
    assert found["moved"] > 0.01
    assert found["apart"] < 1e-5


def test_frozen_layers_stay() -> None:
    model = tf_small(**NONE)
    model.transformer.h[0].trainable = False
    names = ("transformer.h.0.mlp.c_fc.weight", "transformer.h.1.mlp.c_fc.weight")
    before = [model.stored_variables()[name].array().data.copy() for name in names]
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    model.fit(dataset(OpenAIGPTLMHeadModel), shuffle=False, verbose=0)
    after = [model.stored_variables()[name].array().data for name in names]
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])


def test_batches_without_what_the_loss_needs() -> None:
    inputs, labels = batch(CLASSIFIER)
    model = tf_small(CLASSIFIER)
    model.compile(run_eagerly=True)
    with pytest.raises(ConfigError, match="the batch has no labels") as caught:
        model.fit(inputs, verbose=0)
    assert "compile(loss=...)" in caught.value.hint
    with pytest.raises(ConfigError, match="sample weights were passed") as caught:
        model.fit(inputs, labels["labels"], sample_weight=np.ones(8), verbose=0)
    assert "-100" in caught.value.hint


def test_the_summary_names_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    tf_small(CLASSIFIER).summary()
    shown = capsys.readouterr().out
    assert "TFOpenAIGPTMainLayer" in shown
    assert "score (Dense)" in shown


# resizing


@pytest.mark.parametrize("tied", [True, False])
def test_resized_embeddings(tied: bool) -> None:
    model = tf_small(tie_word_embeddings=tied)
    given, ids = model.config, draw_ids(2, 5).numpy()
    before = model(ids).logits.numpy()
    table = model.get_input_embeddings().embeddings.numpy()
    assert model.resize_token_embeddings(42, pad_to_multiple_of=8) is model.get_input_embeddings()
    assert (model.config.vocab_size, given.vocab_size) == (48, 40)
    after = model(ids).logits.numpy()
    assert gap(after[..., :40], before) < 1e-6
    new = model.get_input_embeddings().embeddings.numpy()
    assert np.allclose(new[40:], table.mean(0), atol=1e-6)
    assert gap(after[..., 47], before.mean(-1)) < 1e-5  # a mean row's logit
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    losses = model.fit(dataset(OpenAIGPTLMHeadModel), shuffle=False, epochs=4, verbose=0).history[
        "loss"
    ]
    assert losses[-1] < losses[0]
    model.resize_token_embeddings(30)
    assert model.stored_variables()["transformer.tokens_embed.weight"].shape == (30, 16)
    assert model(ids % 30).logits.shape[-1] == 30
    assert model.get_output_embeddings() is (
        model.get_input_embeddings() if tied else model.lm_head
    )


def test_new_rows_at_random_and_heads_that_there_are_not() -> None:
    model = tf_small(CLASSIFIER)
    assert model.get_output_embeddings() is None
    model.resize_token_embeddings(1040, mean_resizing=False)
    new = model.get_input_embeddings().embeddings.numpy()[40:]
    assert 0.28 < new.std() < 0.32
    with pytest.raises(ConfigError):
        model.resize_token_embeddings(0)
