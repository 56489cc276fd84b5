"""Model folders serve both frameworks: every format is read, what is written loads anywhere."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, OgptError, WeightsError
from ogpt.folders.model_folder import ModelFolder
from ogpt.layout import H5_FILE, WEIGHTS_FILE
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from ogpt.tf.classification import TFOpenAIGPTForSequenceClassification
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.tf.loading import load_weights
from ogpt.tf.tensors import check_backend
from ogpt.tf.transformer import TFOpenAIGPTMainLayer, TFOpenAIGPTModel
from ogpt.weights.arrays import Array
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from ogpt.weights.shapes import weight_shapes
from tests.model.golden import golden_model, recorded
from tests.model.small import Kind, draw_ids, quietly, small
from tests.openai_folder import openai_folder
from tests.tf.twins import TOLERANCE, TWINS, gap, parts, tf_small

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "golden" / "transformers_4.57.6"
LM = TFOpenAIGPTLMHeadModel
IDS = draw_ids(2, 6)


def loaded(kind: Any, folder: Path, **options: Any) -> Any:
    """A load without a notice."""
    with collecting() as notices:
        model = kind.from_pretrained(folder, **options)
    assert [notice.message for notice in notices] == []
    return model


def told(kind: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, Any], str]:
    """A load with exactly one notice."""
    with collecting() as notices:
        model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    assert len(notices) == 1
    return model, info, notices[0].message


def assert_same(model: Any, other: Any) -> None:
    with torch.no_grad():
        expected = parts(model(IDS))
    found = parts(other(IDS.numpy()))
    for name, value in expected.items():
        assert gap(found[name], value) < TOLERANCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# between the frameworks


@pytest.mark.parametrize("shard", ["5GB", 4000])
@pytest.mark.parametrize("kind", TWINS)
def test_what_pytorch_saves_loads_here_and_back(kind: Kind, shard: Any, tmp_path: Path) -> None:
    model = small(kind)
    model.save_pretrained(tmp_path / "torch", max_shard_size=shard)
    other = loaded(TWINS[kind], tmp_path / "torch")
    assert_same(model, other)
    other.save_pretrained(tmp_path / "tf", max_shard_size=shard)
    again = quietly(kind, tmp_path / "tf")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert again.config.architectures == [kind.__name__]
    assert again.config.dtype == "float32"
    assert [*(tmp_path / "torch").iterdir()]
    for file in (tmp_path / "torch").iterdir():
        assert file.read_bytes() == (tmp_path / "tf" / file.name).read_bytes()


@pytest.mark.parametrize("kind", TWINS)
def test_h5_is_written_and_read(kind: Kind, tmp_path: Path) -> None:
    other = tf_small(kind)
    other.save_pretrained(tmp_path)
    other.save_pretrained(tmp_path, safe_serialization=False)
    assert (tmp_path / H5_FILE).exists()
    assert not (tmp_path / WEIGHTS_FILE).exists()  # of the earlier save
    assert_same(small(kind), loaded(TWINS[kind], tmp_path))
    assert_same(quietly(kind, tmp_path), other)


@pytest.mark.parametrize("name", ["base", "lm", "double", "classifier"])
def test_h5_of_transformers(name: str) -> None:
    folder = {"double": "double_heads", "classifier": "sequence_classification"}.get(name, name)
    expected = golden_model("tensorflow", name)
    kind = TWINS[type(expected)]
    model = loaded(kind, GOLDEN / "tf" / folder)
    assert recorded("tensorflow")[name]["class"] == kind.__name__
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    with torch.no_grad():
        wanted = parts(expected(ids))
    assert all(gap(parts(model(ids.numpy()))[key], wanted[key]) < TOLERANCE for key in wanted)


@pytest.mark.parametrize("folder", ["zip_lm", "sharded_lm", "legacy_bare_2019"])
def test_bin_files(folder: str) -> None:
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        wanted = OpenAIGPTLMHeadModel.from_pretrained(GOLDEN / "bin" / folder)(ids).logits
    model = loaded(LM, GOLDEN / "bin" / folder)
    assert gap(model(ids.numpy()).logits, wanted) < TOLERANCE


def test_files_of_openai(tmp_path: Path) -> None:
    folder, model = openai_folder(tmp_path)
    with collecting() as notices:
        other = LM.from_pretrained(folder, n_head=1)
    assert {notice.kind for notice in notices} <= {"heads-assumed"}
    ids = torch.tensor([[1, 2, 0]])
    assert gap(other(ids.numpy()).logits, model(ids).logits.detach()) < TOLERANCE


def test_pruned_heads() -> None:
    model = loaded(LM, GOLDEN / "pruned")
    expected = OpenAIGPTLMHeadModel.from_pretrained(GOLDEN / "pruned")
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        wanted = expected(ids, output_attentions=True)
    found = model(ids.numpy(), output_attentions=True)
    assert model.config.pruned_heads
    for one, two in zip(found.attentions, wanted.attentions, strict=True):
        assert gap(one, two) < TOLERANCE


LOADING = """
import sys
import numpy, ogpt
for folder in sys.argv[1:]:
    with ogpt.notices.collecting():  # OpenAI's files do not say how many heads there are
        model = ogpt.TFOpenAIGPTLMHeadModel.from_pretrained(folder)
    model(numpy.array([[1, 2]]))
    model.save_pretrained(folder + "/again")
assert "torch" not in sys.modules
"""


def test_loading_imports_no_pytorch(folder: Path, tmp_path: Path) -> None:
    """Of safetensors, .bin in both formats of torch.save, .h5 and .npy."""
    openai, _ = openai_folder(tmp_path)
    folders = [folder, openai]
    for name in ("bin/zip_lm", "bin/legacy_bare_2019", "tf/lm"):
        folders.append(shutil.copytree(GOLDEN / name, tmp_path / name))
    program = [sys.executable, "-c", LOADING, *map(str, folders)]
    subprocess.run(program, check=True, capture_output=True)
    for one in folders:
        assert (one / "again" / WEIGHTS_FILE).exists()


# names


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize("tied", [True, False])
def test_names_and_shapes_are_those_of_the_configuration(kind: Kind, tied: bool) -> None:
    model = tf_small(kind, tie_word_embeddings=tied, classifier_bias=not tied)
    stored = {name: one.shape for name, one in model.stored_variables().items()}
    assert stored == weight_shapes(model.config, kind.__name__)
    assert model.num_parameters() == small(kind, **vars_of(tied)).num_parameters()
    inside = {id(one.variable) for one in model.stored_variables().values()}
    assert inside == {id(variable) for variable in model.trainable_variables}
    model.transformer.trainable = False
    assert model.num_parameters(only_trainable=True) < model.num_parameters()


def vars_of(tied: bool) -> dict[str, Any]:
    return {"tie_word_embeddings": tied, "classifier_bias": not tied}


def test_initial_weights_follow_the_paper() -> None:
    keras.utils.set_random_seed(0)
    config = OpenAIGPTConfig(vocab_size=90, n_embd=64, n_layer=2, n_head=2, initializer_range=0.5)
    stored = LM(config).stored_variables()
    for name, one in stored.items():
        values = one.array().data
        if name.endswith("bias"):
            assert not values.any()
        elif ".ln_" in name:
            assert (values == 1).all()
        else:
            assert 0.45 < values.std() < 0.55
            assert np.abs(values).max() > 1.2  # not cut off at two standard deviations
    one, two = (stored[f"transformer.h.{layer}.mlp.c_fc.weight"] for layer in (0, 1))
    assert not np.array_equal(one.array().data, two.array().data)


# what does not fit


def test_a_head_that_the_file_lacks(folder: Path) -> None:
    model, info, message = told(TFOpenAIGPTForSequenceClassification, folder)
    assert info["missing_keys"] == ["score.weight"]
    assert "randomly initialized, needs training: score.weight" in message
    assert np.abs(model.score.kernel.numpy()).max() > 0


def test_an_untied_head_that_the_file_lacks_is_a_copy(folder: Path) -> None:
    model, info, _ = told(LM, folder, tie_word_embeddings=False)
    assert info["missing_keys"] == ["lm_head.weight"]
    assert np.array_equal(
        model.lm_head.kernel.numpy().T, model.get_input_embeddings().embeddings.numpy()
    )
    assert model.get_output_embeddings() is model.lm_head


def test_shapes_of_another_configuration(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"tokens_embed.weight has shape \(40, 16\)"):
        LM.from_pretrained(folder, vocab_size=41)
    model, info, _ = told(LM, folder, vocab_size=41, ignore_mismatched_sizes=True)
    wanted = ("transformer.tokens_embed.weight", (40, 16), (41, 16))
    assert info["mismatched_keys"] == [wanted]
    assert model(IDS.numpy()).logits.shape[-1] == 41


def test_more_blocks_than_are_stored(folder: Path) -> None:
    with pytest.raises(WeightsError, match="2 of the configuration's 3 blocks are stored"):
        LM.from_pretrained(folder, n_layer=3)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(odd: float, folder: Path) -> None:
    arrays = dict(open_safetensors(folder / WEIGHTS_FILE).items())
    name = "transformer.h.0.ln_1.weight"
    arrays[name].data[2:4] = odd
    write_arrays(folder / WEIGHTS_FILE, arrays)
    with pytest.raises(WeightsError, match=f"{name} holds 2 numbers that are NaN or infinite"):
        LM.from_pretrained(folder)


def test_arrays_of_integers(folder: Path) -> None:
    arrays = dict(open_safetensors(folder / WEIGHTS_FILE).items())
    name = "transformer.h.0.ln_1.weight"
    arrays[name] = Array("int8", np.ones(16, np.int8))
    write_arrays(folder / WEIGHTS_FILE, arrays)
    with pytest.raises(WeightsError, match=f"{name} is of int8; allowed: floating-point"):
        LM.from_pretrained(folder)


@pytest.mark.parametrize("dtype", ["int32", "flat32", 3, "mixed_int8"])
def test_dtypes_that_there_are_not(dtype: Any, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"allowed: float32, .*mixed_bfloat16") as caught:
        LM.from_pretrained(folder, dtype=dtype)
    assert "mixed_bfloat16" in caught.value.hint


def test_dtypes(folder: Path) -> None:
    small().double().save_pretrained(folder)
    model, _, message = told(LM, folder)
    assert message == "the file stores float64: rounding the weights to float32"
    assert model(IDS.numpy()).logits.dtype == "float32"
    assert loaded(LM, folder, dtype="float64")(IDS.numpy()).logits.dtype == "float64"
    half, _, _ = told(LM, folder, dtype="bfloat16")
    half.save_pretrained(folder / "half")
    stored = json.loads((folder / "half" / "config.json").read_text())
    assert stored["dtype"] == "bfloat16"
    again = OpenAIGPTLMHeadModel.from_pretrained(folder / "half")
    assert again.dtype == torch.bfloat16
    name = "transformer.h.0.mlp.c_fc.weight"
    assert np.array_equal(half.stored_variables()[name].array().data.view(np.int16), bits(again))
    mixed, _, _ = told(LM, folder, dtype="mixed_bfloat16")
    out = mixed(IDS.numpy(), labels=IDS.numpy())
    assert (out.logits.dtype, out.loss.dtype) == ("bfloat16", "float32")
    assert mixed.transformer.tokens_embed.embeddings.dtype == "float32"


def bits(model: Any) -> Any:
    return model.transformer.h[0].mlp.c_fc.weight.detach().view(torch.int16).numpy()


# arguments


def test_an_open_folder_a_config_and_fields_of_it(folder: Path) -> None:
    opened = ModelFolder.open(folder)
    model = LM.from_pretrained(opened, attn_pdrop=0.0)
    assert model.config.attn_pdrop == 0.0
    assert opened.config.attn_pdrop == 0.1
    config = OpenAIGPTConfig.from_pretrained(folder)
    assert LM.from_pretrained(folder, config=config).config is config


def test_arguments_of_transformers_without_effect(folder: Path) -> None:
    with collecting() as notices:
        LM.from_pretrained(folder, from_pt=True)
    assert [notice.kind for notice in notices] == ["setting-without-effect"]


def test_what_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="the configuration is a dict; allowed: ogpt"):
        LM({"n_layer": 2})
    broken = OpenAIGPTConfig()
    broken.n_layer = 0
    with pytest.raises(ConfigError, match="n_layer"):
        TFOpenAIGPTModel(broken)


def test_folders_of_other_networks(folder: Path) -> None:
    sizes = {"vocab_size": 40, "n_positions": 16, "n_embd": 16, "lstm_units": 8}
    with collecting():  # other libraries cannot load it
        OpenAIGPTLMHeadModel(LSTMConfig(**sizes)).save_pretrained(folder / "lstm")
    with pytest.raises(ConfigError, match="the configuration is a LSTMConfig; allowed") as caught:
        LM.from_pretrained(folder / "lstm")
    assert "PyTorch" in caught.value.hint


def changed_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}))


def cut_weights(folder: Path) -> None:
    file = folder / WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-100])


def other_weights(folder: Path) -> None:
    write_arrays(folder / WEIGHTS_FILE, {"wte.weight": Array("float32", np.ones(3, np.float32))})


BAD_FOLDERS: dict[str, Any] = {
    "missing": shutil.rmtree,
    "another architecture": partial(changed_config, model_type="gpt2"),
    "other sizes": partial(changed_config, vocab_size=41),
    "more blocks": partial(changed_config, n_layer=3),
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "damaged configuration": lambda folder: (folder / "config.json").write_text("{"),
    "no weights": lambda folder: (folder / WEIGHTS_FILE).unlink(),
    "cut off": cut_weights,
    "weights of another model": other_weights,
}


@pytest.mark.parametrize("fault", BAD_FOLDERS)
def test_folders_that_are_refused_as_in_pytorch(fault: str, folder: Path) -> None:
    BAD_FOLDERS[fault](folder)
    with pytest.raises(OgptError) as theirs, collecting():
        OpenAIGPTLMHeadModel.from_pretrained(folder)
    with pytest.raises(OgptError) as ours, collecting():
        LM.from_pretrained(folder)
    assert type(ours.value) is type(theirs.value)
    assert (str(ours.value), ours.value.hint) == (str(theirs.value), theirs.value.hint)


def test_keras_on_another_framework() -> None:
    with pytest.raises(ConfigError, match="Keras computes with 'jax'") as caught:
        check_backend("jax")
    assert "KERAS_BACKEND=tensorflow" in caught.value.hint


def test_weights_of_another_model() -> None:
    with pytest.raises(WeightsError, match="the weights do not fit: missing transformer"):
        load_weights(tf_small().stored_variables(), {"wte.weight": Array("float32", np.ones(3))})


def test_what_other_libraries_cannot_load_is_told_once(tmp_path: Path) -> None:
    model = tf_small(OpenAIGPTForSequenceClassification, classifier_bias=True)
    with collecting() as notices:
        model.save_pretrained(tmp_path)
        model.save_pretrained(tmp_path)
    assert [notice.kind for notice in notices] == ["only-ogpt"]


# Keras's own files


@pytest.mark.parametrize("kind", TWINS)
def test_keras_files(kind: Kind, tmp_path: Path) -> None:
    other = tf_small(kind, summary_activation="tanh")
    other.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is TWINS[kind]
    assert again.config == other.config
    assert_same(small(kind, summary_activation="tanh"), again)


READING = """
import sys
import keras, numpy
import ogpt.tf.keras_files
for file in sys.argv[1:]:
    model = keras.models.load_model(file)
    print(type(model).__name__, model(numpy.ones((1, 2, 3), "int32"))[0].shape[0])
"""


def test_one_import_reads_the_keras_files_of_all_classes(tmp_path: Path) -> None:
    files = []
    for kind in TWINS:
        files.append(str(tmp_path / f"{kind.__name__}.keras"))
        tf_small(kind).save(files[-1])
    program = [sys.executable, "-c", READING, *files]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [word for kind in TWINS.values() for word in (kind.__name__, "1")]
    without = [sys.executable, "-c", READING.replace("keras_files", "heads"), *files]
    assert subprocess.run(without, check=False, capture_output=True).returncode  # its reason


def test_keras_files_with_code_are_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="unsafe"):
        keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("kind", TWINS)
def test_a_saved_model_runs_in_tensorflow_alone(kind: Kind, tmp_path: Path) -> None:
    other = tf_small(kind)
    other.save_pretrained(tmp_path, saved_model=True)
    served = tf.saved_model.load(tmp_path / "saved_model" / "1").signatures
    choices = kind is OpenAIGPTDoubleHeadsModel
    ids = draw_ids(2, 3, 5) if choices else draw_ids(3, 5)
    mask = torch.ones_like(ids)
    mask[..., 3:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    if choices:
        given["mc_token_ids"] = torch.tensor([[2, 1, 0], [1, 2, 2]])
    assert list(other.input_signature) == list(given)
    with torch.no_grad():
        expected = small(kind)(**given)
    for endpoint, dtype in (("serving_default", tf.int32), ("int64_serving", tf.int64)):
        arrays = {name: tf.constant(one.numpy(), dtype) for name, one in given.items()}
        found = served[endpoint](**arrays)
        assert set(found) == {name for name in dict(expected.items()) if name != "past_key_values"}
        for name, value in found.items():
            assert gap(value, expected[name]) < TOLERANCE


# Google's own words on the interpreter; its successor is a package of its own
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("kind", TWINS)
def test_a_saved_model_becomes_one_of_tensorflow_lite(kind: Kind, tmp_path: Path) -> None:
    other = tf_small(kind)
    other.export_saved_model(tmp_path / "served")
    converted = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "served")).convert()
    run = tf.lite.Interpreter(model_content=converted).get_signature_runner("serving_default")
    choices = kind is OpenAIGPTDoubleHeadsModel
    ids = (draw_ids(2, 3, 5) if choices else draw_ids(3, 5)).int().numpy()
    mask = np.ones_like(ids)
    mask[..., 3:] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    if choices:
        given["mc_token_ids"] = np.array([[2, 1, 0], [1, 2, 2]], np.int32)
    found, expected = run(**given), other(**given)
    assert set(found) == set(expected)
    for name, value in found.items():
        assert gap(value, expected[name]) < TOLERANCE


SERVING = """
import json, sys
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
ids = tf.constant([[1, 2, 3]])
logits = serve(input_ids=ids, attention_mask=tf.ones_like(ids))["logits"]
assert "ogpt" not in sys.modules
print(json.dumps(logits.numpy().tolist()))
"""


def test_a_saved_model_runs_in_a_process_without_ogpt(tmp_path: Path) -> None:
    other = tf_small()
    other.export_saved_model(tmp_path / "served")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = [sys.executable, "-c", SERVING, str(tmp_path / "served")]
    done = subprocess.run(
        program, check=True, capture_output=True, text=True, cwd=tmp_path, env=clean
    )
    logits = json.loads(done.stdout.splitlines()[-1])
    assert gap(logits, other(np.array([[1, 2, 3]])).logits) < TOLERANCE


def test_options_of_from_pretrained(folder: Path, tmp_path: Path) -> None:
    """A configuration by its folder or file; what the Hub's client no longer takes."""
    small(afn="relu").save_pretrained(tmp_path / "other")
    for config in (tmp_path / "other", str(tmp_path / "other" / "config.json")):
        model = loaded(LM, folder, config=config)
        assert model.config.afn == "relu"
    assert_same(small(afn="relu"), model)
    with collecting() as notices:
        model = LM.from_pretrained(folder, proxies=None)
    assert [notice.message for notice in notices] == [
        "proxies has no effect: the environment variable HTTPS_PROXY names one"
    ]
    assert_same(small(), model)


def test_h5_is_always_one_file(tmp_path: Path) -> None:
    with collecting() as notices:
        tf_small().save_pretrained(tmp_path, safe_serialization=False, max_shard_size="5KB")
    assert [notice.message for notice in notices] == [
        "max_shard_size has no effect: tf_model.h5 is always one file"
    ]
    assert_same(small(), loaded(LM, tmp_path))


def test_options_of_transformers_that_there_are_not(tmp_path: Path) -> None:
    for option in ({"version": 2}, {"signatures": {}}):
        with pytest.raises(TypeError, match=next(iter(option))):
            tf_small().save_pretrained(tmp_path, saved_model=True, **option)
    assert not [*tmp_path.iterdir()]


def test_the_transformer_as_a_layer() -> None:
    layer = TFOpenAIGPTMainLayer(small().config)
    model = tf_small(OpenAIGPTModel)
    for one, two in zip(layer.weights, model.transformer.weights, strict=True):
        one.assign(two)
    expected = model(IDS.numpy()).last_hidden_state
    assert gap(layer(IDS.numpy()).last_hidden_state, expected) == 0


def test_kinds_with_and_without_a_prefix(tmp_path: Path) -> None:
    """A bare model's file serves a model with a head, and the other way round."""
    tf_small(OpenAIGPTModel).save_pretrained(tmp_path / "bare")
    assert "tokens_embed.weight" in open_safetensors(tmp_path / "bare" / WEIGHTS_FILE)
    loaded(LM, tmp_path / "bare")
    tf_small(OpenAIGPTForSequenceClassification).save_pretrained(tmp_path / "headed")
    _, info, _ = told(TFOpenAIGPTModel, tmp_path / "headed")
    assert info["unexpected_keys"] == ["score.weight"]
