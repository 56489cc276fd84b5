"""Keras habits: compile() without a loss, fit, evaluate, predict, XLA, mixed precision."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from ogpt.errors import ConfigError, OgptError, TokenOutOfRange
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from ogpt.tf.double_heads import LM_COEF
from ogpt.workflows.add_pad_token import add_pad_token
from tests.contracts.sources import ROOT
from tests.model.small import Kind, config, draw_ids, small
from tests.tasks.small import tokenizer
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
    tuples.compile(jit_compile=False)
    assert gap(tuples.predict(inputs, verbose=0)[0], expected[0]) < 1e-5


def test_predict_with_hidden_states() -> None:
    model = tf_small(output_hidden_states=True)
    model.compile(jit_compile=False)
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
    data, losses = dataset(OpenAIGPTLMHeadModel), []
    with collecting() as notices:
        for epochs in (2, 10):
            losses += model.fit(data, shuffle=False, epochs=epochs, verbose=0).history["loss"]
    assert [notice.message.partition(":")[0] for notice in notices] == [
        "compiling fit(), evaluate() and predict() with XLA"
    ]
    assert losses[-1] < losses[0]
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}


def test_ids_without_an_embedding_are_refused_before_a_compiled_step() -> None:
    inputs, labels = batch(CLASSIFIER)
    classes = labels["labels"]
    model = tf_small(CLASSIFIER, **NONE)
    model.compile(jit_compile=True)
    far = np.full((8, 6), 16)
    ids = inputs["input_ids"].copy()
    ids[7, 5] = 40
    for bad, found in (
        (ids, "token id 40 was passed; allowed: 0 to 39"),
        (tf.constant(-ids), "token id -40 was passed"),
        ([ids, inputs["attention_mask"]], "token id 40"),
        ({**inputs, "input_ids": ids}, "token id 40"),
        ({**inputs, "token_type_ids": ids}, "token type id 40"),
        ({**inputs, "position_ids": far}, "position id 16 was passed; allowed: 0 to 15"),
    ):
        with pytest.raises(TokenOutOfRange, match=found):
            model.fit(bad, classes, verbose=0)
        with pytest.raises(TokenOutOfRange, match=found):
            model.evaluate(bad, classes, verbose=0)
        with pytest.raises(TokenOutOfRange, match=found):
            model.predict(bad, verbose=0)
    with pytest.raises(TokenOutOfRange, match="token id 40"):
        model.fit(inputs, classes, validation_data=(ids, classes), verbose=0)


def wrong_values(kind: Kind) -> list[tuple[str, Any, str]]:
    """Arguments, a wrong value for each, and the error of it."""
    _, labels = batch(kind)
    far = {name: values.copy() for name, values in labels.items()}
    for values in far.values():
        values[..., -1] = 99  # the last row, choice or token
    if kind is CLASSIFIER:
        return [("labels", far["labels"], "labels holds 99; allowed: 0 to 2, or -100")]
    wrong = [("labels", far["labels"], "label 99 was passed; allowed: 0 to 39")]
    if kind is DOUBLE:
        places = np.full((8, 2), 5)
        places[7, 1] = 6
        wrong += [
            ("mc_labels", far["mc_labels"], "mc_labels holds 99; allowed: 0 to 1, or -100"),
            ("mc_token_ids", places, "mc_token_ids holds 6; allowed: 0 to 5"),
        ]
    return wrong


def weights_of(model: Any) -> list[Any]:
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.parametrize("kind", [OpenAIGPTLMHeadModel, DOUBLE, CLASSIFIER])
def test_labels_are_checked_before_a_compiled_step(kind: Kind) -> None:
    """In memory, among the inputs and as targets: as in PyTorch, and no weight changes."""
    model, theirs = tf_small(kind, **NONE), small(kind, **NONE)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    inputs, labels = batch(kind)
    before = weights_of(model)
    for name, values, message in wrong_values(kind):
        given = {**inputs, **labels, name: values}
        with pytest.raises(OgptError, match=message) as expected:
            theirs(**{key: torch.from_numpy(one) for key, one in given.items()})
        for run in (
            lambda given: model.fit(given, verbose=0),
            lambda given: model.evaluate({k: tf.constant(v) for k, v in given.items()}, verbose=0),
            lambda given: model.predict(given, verbose=0),
            lambda given: model.fit(inputs, labels, validation_data=(given,), verbose=0),
            model.train_on_batch,
            model.test_on_batch,
            model.predict_on_batch,
        ):
            with pytest.raises(OgptError) as caught:
                run(given)
            assert str(caught.value) == str(expected.value)
            assert type(caught.value) is type(expected.value)
        targets = {**labels, name: values}
        for run in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
            with pytest.raises(OgptError, match=message):
                run(inputs, targets)
        if name == model.label_name:
            with pytest.raises(OgptError, match=message):
                model.fit(inputs, values, verbose=0)
    assert all(map(np.array_equal, before, weights_of(model)))
    ignored = {name: np.full_like(values, -100) for name, values in labels.items()}
    with collecting():  # XLA
        assert model.test_on_batch(inputs, ignored) == 0  # labels of -100 pass


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_batches_of_a_data_set_are_checked(jit_compile: bool) -> None:
    """The first batch is right, so one step is made; the second ends fit() before its step."""
    inputs, labels = batch(CLASSIFIER)
    far = {"labels": labels["labels"].copy()}
    far["labels"][7] = 7
    ids = inputs["input_ids"].copy()
    ids[6, 2] = 40
    data = tf.data.Dataset.from_tensor_slices
    cases = [
        (data({**inputs, **far}), ConfigError, "labels holds 7; allowed: 0 to 2"),
        (data((inputs, far["labels"])), ConfigError, "labels holds 7"),
        (data((inputs["input_ids"], far["labels"])), ConfigError, "labels holds 7"),
        (data((ids, labels["labels"])), TokenOutOfRange, "token id 40 was passed"),
    ]
    unused = [bad for bad, _, _ in cases[1:3]]  # by predict(): an unlabelled set may hold -1
    model = tf_small(CLASSIFIER, **NONE)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    with collecting():  # XLA
        for bad, kind, message in cases[:1] if jit_compile else cases:
            with pytest.raises(kind, match=message):
                model.fit(bad.batch(4), shuffle=False, verbose=0)
            assert all(np.isfinite(one).all() for one in weights_of(model))
            with pytest.raises(kind, match=message):
                model.evaluate(bad.batch(4), verbose=0)
            if bad in unused:
                assert len(model.predict(bad.batch(4), verbose=0)["logits"]) == 8
            else:
                with pytest.raises(kind, match=message):
                    model.predict(bad.batch(4), verbose=0)
            with pytest.raises(kind, match=message):
                model.fit(inputs, labels, validation_data=bad.batch(4), verbose=0)
        right = dataset(CLASSIFIER)
        model.fit(right, validation_data=right, shuffle=False, verbose=0)


def test_errors_of_a_data_set_stay_as_they_are() -> None:
    model = tf_small(CLASSIFIER, **NONE)
    model.compile(jit_compile=False)
    broken = dataset(CLASSIFIER).map(lambda x: {**x, "labels": tf.ensure_shape(x["labels"], [3])})
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="shape"):
        model.fit(broken, shuffle=False, verbose=0)


def test_targets_of_a_loss_of_keras_are_not_classes() -> None:
    """Such as probabilities, or classes of a head of the user's."""
    inputs, _ = batch(CLASSIFIER)
    model = tf_small(CLASSIFIER, **NONE)
    model.compile(loss="mse", jit_compile=False)
    assert np.isfinite(model.evaluate(inputs, np.full((8, 3), 7), verbose=0))


def test_what_a_tokenizer_returns() -> None:
    words = tokenizer()
    model = tf_small(CLASSIFIER, vocab_size=len(words), n_positions=32, **NONE)
    add_pad_token(words, model)
    given = words(["a film", "the end of this story"], padding=True, return_tensors="np")
    labels = np.array([0, 2])
    expected = model(given, labels=labels)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    assert gap(model.predict(given, verbose=0).logits, expected.logits) < 1e-5
    assert gap(model.evaluate(given, labels, verbose=0), expected.loss) < 1e-5
    history = model.fit(given, labels, validation_data=(given, labels), verbose=0).history
    assert gap(history["loss"][0], expected.loss) < 1e-5
    assert gap(history["val_loss"][0], expected.loss) < 1e-5


def test_two_replicas_learn_what_one_does() -> None:
    command = [sys.executable, "-m", "tests.tf.two_replicas"]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = json.loads(out.splitlines()[-1])
    for name in ("loss", "accuracy"):
        assert found["its_history"][name] == pytest.approx(found["history"][name], rel=1e-5)
    assert found["history"]["accuracy"][-1] > 0.1
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


@pytest.mark.parametrize("steps", [1, 2])
def test_gradient_accumulation_is_one_step_of_a_larger_batch(steps: int) -> None:
    once, parts = tf_small(CLASSIFIER, **NONE), tf_small(CLASSIFIER, **NONE)
    once.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    accumulating = {"gradient_accumulation_steps": steps} if steps > 1 else {}
    parts.compile(keras.optimizers.SGD(0.5, **accumulating), jit_compile=False)
    once.fit(dataset(CLASSIFIER, 8), shuffle=False, verbose=0)
    parts.fit(dataset(CLASSIFIER, 4), shuffle=False, verbose=0)
    far = gap(parts.score.kernel, once.score.kernel)
    assert (far < 1e-5) == (steps == 2)  # the planted fault: two steps instead of one


def test_callbacks_stop_and_keep_the_best(tmp_path: Path) -> None:
    model = tf_small(**NONE)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "best.weights.h5"),
        monitor="loss",
        save_best_only=True,
        save_weights_only=True,
    )
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=1)
    history = model.fit(
        dataset(OpenAIGPTLMHeadModel), epochs=9, verbose=0, shuffle=False, callbacks=[best, stop]
    )
    assert len(history.epoch) == 2  # nothing is learned at a rate of 0
    other = tf_small(**NONE)
    for stored in other.stored_variables().values():
        stored.variable.assign(keras.ops.zeros_like(stored.variable))
    other.load_weights(tmp_path / "best.weights.h5")
    inputs, _ = batch(OpenAIGPTLMHeadModel)
    assert gap(other(inputs).logits, model(inputs).logits) < 1e-6


def test_rows_become_batches() -> None:
    model = tf_small(CLASSIFIER, **NONE)
    inputs, labels = batch(CLASSIFIER)
    rows = [
        {"input_ids": ids, "label": int(label), "text": "is dropped"}
        for ids, label in zip(inputs["input_ids"].tolist(), labels["labels"], strict=True)
    ]
    data = model.prepare_tf_dataset(rows, batch_size=3, shuffle=False)
    batches = list(data)
    assert [len(y) for _, y in batches] == [3, 3, 2]
    assert set(batches[0][0]) == {"input_ids"}
    assert np.array_equal(np.concatenate([y for _, y in batches]), labels["labels"])
    shuffled = model.prepare_tf_dataset(rows, batch_size=3, prefetch=False)
    seen = [np.concatenate([y for _, y in shuffled]) for _ in range(4)]
    assert {len(one) for one in seen} == {6}  # the smaller batch is dropped
    assert len({tuple(one) for one in seen}) > 1
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    history = model.fit(data, shuffle=False, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]
    assert model.predict(data, verbose=0).logits.shape == (8, 3)


def test_rows_of_different_lengths_are_filled_up() -> None:
    words = tokenizer()
    model = tf_small(CLASSIFIER, vocab_size=len(words), n_positions=32)
    add_pad_token(words, model)
    texts = ["a film", "the end of this story"]
    rows = [dict(words(text)) for text in texts]
    with pytest.raises(ConfigError, match="rows of input_ids have the shapes") as caught:
        model.prepare_tf_dataset(rows, shuffle=False)
    assert "tokenizer=" in caught.value.hint
    (made,) = model.prepare_tf_dataset(rows, shuffle=False, tokenizer=words)
    expected = words(texts, padding=True, return_tensors="np")
    assert np.array_equal(made["input_ids"], expected["input_ids"])
    assert np.array_equal(made["attention_mask"], expected["attention_mask"])

    def collate(rows: list[dict[str, Any]], most: int) -> dict[str, Any]:
        ids = np.stack([np.asarray(row["input_ids"])[:most] for row in rows])
        return {"input_ids": ids, "labels": ids, "mc_labels": ids[:, 0]}

    (inputs, labels) = next(
        iter(
            model.prepare_tf_dataset(
                rows, batch_size=2, collate_fn=collate, collate_fn_args={"most": 1}
            )
        )
    )
    assert (set(inputs), set(labels)) == ({"input_ids"}, {"labels", "mc_labels"})


def test_rows_without_anything_for_the_model() -> None:
    model = tf_small()
    with pytest.raises(ConfigError, match="the data set has no rows"):
        model.prepare_tf_dataset([])
    with pytest.raises(ConfigError, match="the columns are text; allowed: input_ids"):
        model.prepare_tf_dataset([{"text": "a film"}])


def test_a_model_is_pushed_as_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, _ = batch(OpenAIGPTLMHeadModel)
    model = tf_small()

    def push_folder(folder: str, repo_id: str, **options: object) -> str:
        again = type(model).from_pretrained(folder)
        assert gap(again(inputs).logits, model(inputs).logits) < 1e-6
        assert (Path(folder) / "README.md").exists()
        return f"{repo_id} {options}"

    monkeypatch.setattr("ogpt.tf.pretrained.push_folder", push_folder)
    assert model.push_to_hub("me/mine", private=True) == "me/mine {'private': True}"


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


@pytest.mark.parametrize("kind", TWINS)
def test_the_summary_names_the_parts_and_their_shapes(
    kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    tf_small(kind).summary()
    shown = capsys.readouterr().out
    assert "TFOpenAIGPTMainLayer" in shown
    assert "(None, None, 16)" in shown
    assert "?" not in shown


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


@pytest.mark.parametrize("tied", [True, False])
def test_another_head(tied: bool, tmp_path: Path) -> None:
    model = tf_small(tie_word_embeddings=tied)
    given, ids = model.config, draw_ids(2, 5).numpy()
    head = keras.layers.Dense(40, use_bias=False)
    head.build((None, 16))
    model.set_output_embeddings(head)
    assert model.get_output_embeddings() is head
    assert (given.tie_word_embeddings, model.config.tie_word_embeddings) == (tied, False)
    out = model(ids).logits
    hidden = model.transformer(ids).last_hidden_state
    assert gap(out, hidden @ head.kernel) < 1e-5
    assert any(variable is head.kernel for variable in model.trainable_variables)
    model.save_pretrained(tmp_path)
    for kind in (OpenAIGPTLMHeadModel, type(model)):
        again = kind.from_pretrained(tmp_path)
        logits = again(draw_ids(2, 5) if kind is OpenAIGPTLMHeadModel else ids).logits
        found = logits.detach() if kind is OpenAIGPTLMHeadModel else logits
        assert gap(found, out) < 1e-5
    wide, biased = keras.layers.Dense(41, use_bias=False), keras.layers.Dense(40)
    for wrong in (wide, biased):
        wrong.build((None, 16))
    for wrong, message in (
        (wide, r"the shape \(16, 41\); allowed: \(16, 40\), no bias"),
        (biased, r"the shape \(16, 40\) and a bias; allowed"),
        (keras.layers.Embedding(40, 16), "the shape None; allowed"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.set_output_embeddings(wrong)
    assert model.get_output_embeddings() is head


@pytest.mark.parametrize("tied", [True, False])
def test_another_token_embedding(tied: bool) -> None:
    model, theirs = (one(tie_word_embeddings=tied) for one in (tf_small, small))
    given, ids = model.config, draw_ids(2, 5)
    values = torch.randn(48, 16, generator=torch.Generator().manual_seed(1))
    table = keras.layers.Embedding(48, 16)
    with pytest.raises(ConfigError, match=r"has the shape None; allowed: \(rows, 16\)") as caught:
        model.set_input_embeddings(table)  # without weights yet
    assert "keras.layers.Embedding(rows, n_embd)" in caught.value.hint
    table.build()
    table.embeddings.assign(values.numpy())
    theirs.set_input_embeddings(torch.nn.Embedding(48, 16, _weight=values))
    model.set_input_embeddings(table)
    assert model.get_input_embeddings() is table
    assert (given.vocab_size, model.config.vocab_size) == (40, 48)
    found, expected = model(ids.numpy(), labels=ids.numpy()), theirs(ids, labels=ids)
    assert gap(found.logits, expected.logits.detach()) < 1e-5
    assert gap(found.loss, expected.loss.detach()) < 1e-5
    assert {name: one.shape for name, one in model.stored_variables().items()} == {
        name: tuple(one.shape) for name, one in theirs.stored_tensors().items()
    }
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    model.fit(dataset(OpenAIGPTLMHeadModel), shuffle=False, verbose=0)
    assert gap(table.embeddings, values) > 1e-4  # it is trained
    for wrong in (keras.layers.Embedding(40, 15), keras.layers.Dense(16)):
        wrong.build((None, 16))
        with pytest.raises(ConfigError, match="the embedding has the shape"):
            model.set_input_embeddings(wrong)


def test_pruned_heads(tmp_path: Path) -> None:
    """As in PyTorch: outputs, weights, training, files, and once more."""
    model, theirs = tf_small(**NONE), small(**NONE)
    given, ids = model.config, draw_ids(2, 5)
    model.transformer.h[1].trainable = False
    for heads in ({0: [1], 1: [0, -1]}, {0: [1, 3]}):
        model.prune_heads(heads)
        theirs.prune_heads(heads)
        expected = theirs(ids, output_attentions=True)
        found = model(ids.numpy(), output_attentions=True)
        assert gap(found.logits, expected.logits.detach()) < 1e-5
        for one, two in zip(found.attentions, expected.attentions, strict=True):
            assert gap(one, two.detach()) < 1e-5
    assert (given.pruned_heads, model.config.pruned_heads) == ({}, {0: [1, 3], 1: [0, 3]})
    stored = model.stored_variables()
    assert stored["transformer.h.0.attn.c_attn.weight"].shape == (16, 24)
    assert len({id(one) for one in model.variables}) == len(model.variables)
    assert not model.transformer.h[1].attn.c_attn.weight.trainable
    trained = {id(variable) for variable in model.trainable_variables}
    assert id(stored["transformer.h.0.attn.c_attn.weight"].variable) in trained
    assert len(trained) == len(stored) - 12  # those of the frozen block
    model.save_pretrained(tmp_path / "folder")
    again = OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "folder")
    assert gap(again(ids).logits.detach(), found.logits) < 1e-5
    model.save(tmp_path / "pruned.keras")
    again = keras.models.load_model(tmp_path / "pruned.keras")
    assert gap(again(ids.numpy()).logits, found.logits) < 1e-6
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    losses = model.fit(dataset(OpenAIGPTLMHeadModel), shuffle=False, epochs=4, verbose=0).history
    assert losses["loss"][-1] < losses["loss"][0]
    with pytest.raises(ConfigError, match="all 4 heads of layer 0 cannot be pruned"):
        model.prune_heads({0: [0, 2]})


@pytest.mark.parametrize("kind", TWINS)
def test_dummy_inputs(kind: Kind) -> None:
    model = tf_small(kind)
    assert model(model.dummy_inputs)[0].shape[0] == 3


def test_new_rows_at_random_and_heads_that_there_are_not() -> None:
    model = tf_small(CLASSIFIER)
    assert model.get_output_embeddings() is None
    model.resize_token_embeddings(1040, mean_resizing=False)
    new = model.get_input_embeddings().embeddings.numpy()[40:]
    assert 0.28 < new.std() < 0.32
    with pytest.raises(ConfigError):
        model.resize_token_embeddings(0)
