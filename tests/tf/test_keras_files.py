"""Keras's own files of compiled and trained models, and the models inside functional ones."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.layout import H5_FILE
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.tf.keras_fit import TFTrainableModel
from ogpt.tf.outputs import TFCausalLMOutput
from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel
from ogpt.tf.transformer import TFOpenAIGPTMainLayer
from tests.model.small import Kind, config, draw_ids
from tests.tf.twins import TWINS, gap, tf_small

pytestmark = pytest.mark.slow
NONE = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "summary_first_dropout": 0.0}
LM, DOUBLE = OpenAIGPTLMHeadModel, OpenAIGPTDoubleHeadsModel
TRAINED = [kind for kind in TWINS if kind is not OpenAIGPTModel]
IDS = draw_ids(4, 6).numpy()


def examples(kind: Kind) -> tuple[Any, Any]:
    if kind is DOUBLE:
        ids = draw_ids(4, 2, 6).numpy()
        return ids, {"labels": ids, "mc_labels": np.array([0, 1, 1, 0])}
    return IDS, IDS if kind is LM else np.array([0, 1, 2, 1])


def trained(model: Any, kind: Kind) -> Any:
    model.compile(keras.optimizers.Adam(1e-2), metrics=["accuracy"], run_eagerly=True)
    model.fit(*examples(kind), batch_size=2, shuffle=False, verbose=0)
    return model


def loaded(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras would warn of a state that it cannot read
        return keras.models.load_model(file)


@pytest.mark.parametrize("kind", TRAINED)
def test_a_trained_model_goes_on_from_its_file(kind: Kind, tmp_path: Path) -> None:
    model = trained(tf_small(kind, **NONE), kind)
    model.save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    assert int(again.optimizer.iterations) == 2
    for one, two in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        assert np.array_equal(one, two)
    found, expected = (
        one.evaluate(*examples(kind), verbose=0, return_dict=True) for one in (again, model)
    )
    assert found == pytest.approx(expected)
    assert set(found) == {"loss", "accuracy"}
    histories = [
        one.fit(*examples(kind), batch_size=2, shuffle=False, epochs=2, verbose=0).history["loss"]
        for one in (again, model)
    ]
    assert histories[0] == pytest.approx(histories[1], rel=1e-5)
    # the planted fault: an optimizer that starts anew learns otherwise
    anew = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert not anew.compiled
    anew.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    other = anew.fit(*examples(kind), batch_size=2, shuffle=False, epochs=2, verbose=0).history
    assert other["loss"] != pytest.approx(histories[1], rel=1e-5)


def test_a_checkpoint_of_keras(tmp_path: Path) -> None:
    model = tf_small(**NONE)
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    kept = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="loss")
    model.fit(IDS, IDS, batch_size=2, verbose=0, callbacks=[kept])
    again = loaded(tmp_path / "best.keras")
    assert again.evaluate(IDS, IDS, verbose=0) == pytest.approx(model.evaluate(IDS, IDS, verbose=0))
    again.fit(IDS, IDS, batch_size=2, verbose=0)
    assert int(again.optimizer.iterations) == 4


def test_a_loss_of_keras_is_in_the_file(tmp_path: Path) -> None:
    kind = TRAINED[-1]
    model = tf_small(kind, **NONE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss=loss, run_eagerly=True)
    model.save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    assert not again.own_loss
    found, expected = (one.evaluate(*examples(kind), verbose=0) for one in (again, model))
    assert found == pytest.approx(expected)


def test_frozen_and_replaced_layers_are_in_the_file(tmp_path: Path) -> None:
    model = tf_small(DOUBLE, **NONE)
    model.resize_token_embeddings(44)
    head = keras.layers.Dense(44, use_bias=False)
    head.build((None, 16))
    model.set_output_embeddings(head)
    model.transformer.h[0].trainable = False
    trained(model, DOUBLE).save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    for one, two in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        assert np.array_equal(one, two)
    frozen, free = (again.transformer.h[layer].trainable_variables for layer in (0, 1))
    assert (len(frozen), len(free)) == (0, 12)


@keras.saving.register_keras_serializable("tests")
class OwnCompile(TFOpenAIGPTLMHeadModel):
    def compile(self, rate: float = 0.1, **options: Any) -> None:
        super().compile(keras.optimizers.SGD(rate), run_eagerly=True, **options)


def test_a_compile_of_the_callers_own_is_theirs_to_repeat(tmp_path: Path) -> None:
    model = OwnCompile(config())
    model.compile(rate=0.5)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="compile_from_config"):
        again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again).compile is not TFTrainableModel.compile
    again.compile(rate=0.5)
    assert again.evaluate(IDS, IDS, verbose=0) == pytest.approx(model.evaluate(IDS, IDS, verbose=0))


# functional models


@pytest.mark.parametrize("kind", TWINS)
def test_a_model_inside_a_functional_one(kind: Kind, tmp_path: Path) -> None:
    model = tf_small(kind)
    axes = (2, None) if kind is DOUBLE else (None,)
    given = {name: keras.Input(axes, dtype="int32", name=name) for name in ("input_ids", "mask")}
    out = model({"input_ids": given["input_ids"], "attention_mask": given["mask"]})
    ids = draw_ids(3, 2, 5).numpy() if kind is DOUBLE else draw_ids(3, 5).numpy()
    mask = np.ones_like(ids)
    mask[..., 3:] = 0
    expected = model(ids, mask)
    assert type(out) is type(expected)
    assert out.keys() == expected.keys()
    whole = keras.Model(given, out)
    found = whole({"input_ids": ids, "mask": mask})
    assert type(found) is type(expected)
    for name, value in expected.items():
        assert len(out[name].shape) == len(value.shape)
        assert gap(found[name], value) < 1e-5
    double = keras.Model(given, 2 * out[0])
    double.save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    assert gap(again({"input_ids": ids, "mask": mask}), 2 * expected[0]) < 1e-5


def test_a_head_of_keras_is_trained(tmp_path: Path) -> None:
    layer = TFOpenAIGPTMainLayer(config(**NONE))
    ids = keras.Input((6,), dtype="int32")
    hidden = layer(ids).last_hidden_state
    assert hidden.shape == (None, 6, 16)
    scores = keras.layers.Dense(2)(hidden[:, -1])
    model = keras.Model(ids, scores)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss=loss, run_eagerly=True)
    labels = IDS[:, 0] % 2
    losses = model.fit(IDS, labels, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    model.save(tmp_path / "model.keras")
    again = loaded(tmp_path / "model.keras")
    assert gap(again(IDS), model(IDS)) < 1e-6
    assert again.evaluate(IDS, labels, verbose=0) == pytest.approx(
        model.evaluate(IDS, labels, verbose=0), rel=1e-5
    )


def test_the_layer_takes_what_models_take() -> None:
    layer = TFOpenAIGPTMainLayer(config())
    mask = np.ones_like(IDS)
    mask[:, :2] = 0
    expected = layer(IDS, mask).last_hidden_state
    for given in ([IDS, mask], {"input_ids": IDS, "attention_mask": mask}):
        assert gap(layer(given).last_hidden_state, expected) == 0
    again = TFOpenAIGPTMainLayer.from_config(layer.get_config())
    assert again.config == layer.config
    assert [one.shape for one in again.weights] == [one.shape for one in layer.weights]


def test_keras_sees_the_fields_of_an_output() -> None:
    out = TFCausalLMOutput(logits=tf.ones((1, 2)), hidden_states=(tf.zeros(3), tf.zeros(3)))
    assert len(keras.tree.flatten(out)) == 3
    twice = keras.tree.map_structure(lambda x: 2 * x, out)
    assert type(twice) is TFCausalLMOutput
    assert twice.loss is None
    assert gap(twice.logits, 2 * out.logits) == 0


# classes of the caller's own


class Mine(TFOpenAIGPTLMHeadModel):
    """As Keras users do it for a train_step of their own."""


class Unknown(TFOpenAIGPTPreTrainedModel):
    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.transformer = TFOpenAIGPTMainLayer(config, name="transformer")
        self.built = True


@pytest.mark.parametrize("safe", [True, False])
def test_a_subclass_is_saved_as_the_model_that_it_extends(safe: bool, tmp_path: Path) -> None:
    model = Mine(config())
    model.save_pretrained(tmp_path, safe_serialization=safe)
    assert (tmp_path / H5_FILE).exists() != safe
    stored = OpenAIGPTConfig.from_pretrained(tmp_path)
    assert stored.architectures == ["OpenAIGPTLMHeadModel"]
    with collecting() as notices:
        again = Mine.from_pretrained(tmp_path)
    assert not notices
    assert gap(again(IDS).logits, model(IDS).logits) < 1e-6


def test_a_class_that_extends_no_model(tmp_path: Path) -> None:
    model = Unknown(config())
    with pytest.raises(ConfigError, match="the architecture is 'Unknown'; allowed: OpenAIGPTModel"):
        model.save_pretrained(tmp_path, safe_serialization=False)
    assert not [*tmp_path.iterdir()]
    model.save_pretrained(tmp_path)
    assert OpenAIGPTConfig.from_pretrained(tmp_path).architectures == ["Unknown"]
