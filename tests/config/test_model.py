"""OpenAIGPTConfig: fields, aliases and labels, and every value that is refused."""

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.config.fields import ACTIVATIONS, COUNTS, DTYPES, PROBLEM_TYPES, SUMMARY_ACTIVATIONS
from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.parity import PARITY, Parity
from ogpt.errors import ConfigError
from ogpt.notices import collecting


def test_defaults_are_gpt_1() -> None:
    config = OpenAIGPTConfig()
    assert (config.vocab_size, config.n_positions, config.n_embd) == (40478, 512, 768)
    assert (config.n_layer, config.n_head, config.afn) == (12, 12, "gelu")
    assert (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) == (0.1, 0.1, 0.1)
    assert (config.layer_norm_epsilon, config.initializer_range) == (1e-5, 0.02)
    assert config.parity == Parity()


def test_sixteen_fields_by_position() -> None:
    values = (99, 16, 8, 2, 4, "relu", 0.2, 0.3, 0.4, 1e-6, 0.5, "mean", False, "tanh", False, 0.6)
    config = OpenAIGPTConfig(*values)
    names = (
        *("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "afn", "resid_pdrop"),
        *("embd_pdrop", "attn_pdrop", "layer_norm_epsilon", "initializer_range", "summary_type"),
        *("summary_use_proj", "summary_activation", "summary_proj_to_labels"),
        "summary_first_dropout",
    )
    assert tuple(getattr(config, name) for name in names) == values


def test_aliases_work_for_get_set_and_construction() -> None:
    config = OpenAIGPTConfig(hidden_size=24, num_attention_heads=2)
    assert config.n_embd == config.hidden_size == 24
    config.num_hidden_layers = 3
    config.max_position_embeddings = 7
    assert (config.n_layer, config.n_positions) == (3, 7)
    assert not {"num_hidden_layers", "max_position_embeddings"} & config.to_dict().keys()


def test_an_alias_that_contradicts_its_field() -> None:
    with pytest.raises(
        ConfigError, match="hidden_size is 24; allowed: 48, the value of n_em"
    ) as caught:
        OpenAIGPTConfig(n_embd=48, hidden_size=24)
    assert "hidden_size" in caught.value.hint
    assert OpenAIGPTConfig(n_embd=48, hidden_size=48).n_embd == 48


def test_an_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="OpenAIGPTConfig has no field 'n_layers'"):
        OpenAIGPTConfig().n_layers  # noqa: B018  # reading is the test


def test_every_named_value_is_taken() -> None:
    for name in ACTIVATIONS:
        assert OpenAIGPTConfig(afn=name).afn == name
    for name in SUMMARY_ACTIVATIONS:
        assert OpenAIGPTConfig(summary_activation=name).summary_activation == name
    for name in PROBLEM_TYPES:
        assert OpenAIGPTConfig(problem_type=name).problem_type == name
    for name in PARITY:
        assert OpenAIGPTConfig(parity=name).parity == PARITY[name]


REFUSED: list[tuple[str, Any, str]] = [
    ("vocab_size", "a", "1 or more"),
    ("vocab_size", True, "1 or more"),
    ("n_layer", 0, "1 or more"),
    ("vocab_size", 1e3, "an integer, 1 or more"),
    ("vocab_size", 1e30, "an integer, 1 or more"),
    ("vocab_size", 10**30, "at most 2147483647"),
    *((name, 2**31, "at most 2147483647") for name in COUNTS),
    ("num_labels", 10**11, "at most 1000000"),
    ("pad_token_id", 2**31, "a token id, or null"),
    ("eos_token_id", [1, 2**31], "a token id, a list of them, or null"),
    ("n_embd", 770, r"a multiple of n_head \(12\)"),
    ("afn", "gelu_old", "gelu, gelu_new, relu, silu, swish"),
    ("afn", ["gelu"], "gelu, gelu_new, relu, silu, swish"),
    ("attn_pdrop", 1.0, "0 to below 1"),
    ("resid_pdrop", "0.1", "0 to below 1"),
    ("summary_first_dropout", -0.1, "0 to below 1"),
    ("summary_last_dropout", math.nan, "0 to below 1"),
    ("layer_norm_epsilon", 0.0, "above 0"),
    ("layer_norm_epsilon", math.nan, "above 0"),
    ("initializer_range", -1.0, "0 or more"),
    ("initializer_range", math.inf, "0 or more"),
    ("summary_use_proj", 1, "true, false"),
    ("tie_word_embeddings", "false", "true, false"),
    ("return_dict", None, "true, false"),
    ("prefix", 3, "a string, or null"),
    ("summary_type", "max", "last, first, mean, cls_index"),
    ("summary_activation", "softmax", "gelu, .*, tanh, sigmoid, or null"),
    ("problem_type", "ranking", "regression, .*, or null"),
    ("dtype", "int8", "float32, float16, bfloat16, float64, or null"),
    ("architectures", "OpenAIGPTModel", "a list of class names, or null"),
    ("architectures", [1], "a list of class names, or null"),
    ("task_specific_params", [1], "settings by task, or null"),
    ("eos_token_id", "x", "a token id, a list of them, or null"),
    ("eos_token_id", [1, None], "a token id, a list of them, or null"),
    ("pad_token_id", -1, "a token id, or null"),
    ("bos_token_id", [1], "a token id, or null"),
    ("pruned_heads", [1], "lists of heads, 0 to 11, each once, by layer, 0 to 11"),
    ("pruned_heads", {12: [0]}, "lists of heads, 0 to 11, each once, by layer, 0 to 11"),
    ("pruned_heads", {0: [12]}, "lists of heads, 0 to 11, each once, by layer, 0 to 11"),
    ("pruned_heads", {0: [1, 1]}, "lists of heads, 0 to 11, each once, by layer, 0 to 11"),
    ("pruned_heads", {0: 1}, "lists of heads, 0 to 11, each once, by layer, 0 to 11"),
    ("num_labels", 0, "an integer, 1 or more"),
    ("num_labels", 2.0, "an integer, 1 or more"),
    ("label2id", {"a": 1}, "ids 0, 1, 2, ... by label, each once"),
    ("label2id", {"a": 0, "b": 0}, "ids 0, 1, 2, ... by label, each once"),
    ("label2id", 7, "ids 0, 1, 2, ... by label, each once"),
    ("check", 5, "the class itself uses this name"),
    ("use_return_dict", False, "the class itself uses this name"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), REFUSED)
def test_values_outside_their_range(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is .*; allowed: .*{allowed}") as caught:
        OpenAIGPTConfig(**{name: value})
    assert f"{name} is {value!r};" in str(caught.value)
    assert caught.value.hint == f"set {name} in the configuration"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("n_layers", "did you mean n_layer?"),
        ("vocab_sise", "did you mean vocab_size?"),
        ("num_hidden_layer", "did you mean num_hidden_layers?"),
        ("layer_norm_eps", "did you mean layer_norm_epsilon?"),
        ("attn_implementation", "pass it to from_pretrained of a model"),
    ],
)
def test_a_misspelt_field_is_told(name: str, advice: str) -> None:
    with collecting() as told:
        config = OpenAIGPTConfig(**{name: 3})
    assert [(n.kind, n.fields) for n in told] == [
        ("unknown-setting", {"name": name, "advice": advice})
    ]
    assert getattr(config, name) == 3  # kept, as any extra
    assert (config.n_layer, config.vocab_size) == (12, 40478)


def test_keys_of_old_files_are_not_told() -> None:
    old = ["n_ctx", "n_special", "predict_special_tokens", "sep_token_id", "max_length", "pad_id"]
    with collecting() as told:
        OpenAIGPTConfig(**dict.fromkeys(old, 1))
        OpenAIGPTConfig(**dict.fromkeys(OpenAIGPTConfig.attribute_map, 12), torch_dtype="float32")
    assert told == []


def test_whole_numbers_that_no_float_holds() -> None:
    for value, shown in ((10**400, "inf"), (-(10**400), "-inf")):
        with pytest.raises(ConfigError, match=f"layer_norm_epsilon is {shown}; allowed: a number"):
            OpenAIGPTConfig(layer_norm_epsilon=value)


def test_a_parity_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="parity is 'tf'; allowed: ogpt, 2018"):
        OpenAIGPTConfig(parity="tf")


def test_a_function_for_an_activation() -> None:
    with pytest.raises(ConfigError, match=r"afn is .*tanh.*; allowed: gelu, gelu_new") as caught:
        OpenAIGPTConfig(afn=math.tanh)  # type: ignore[arg-type]  # the point of the test
    assert "pass the name of the activation" in caught.value.hint


def test_attention_pooling() -> None:
    with pytest.raises(ConfigError, match="summary_type is 'attn'; allowed: last, fi") as caught:
        OpenAIGPTConfig(summary_type="attn")
    assert "no implementation" in caught.value.hint


@pytest.mark.parametrize("problem", PROBLEM_TYPES)
def test_one_label_of_every_problem_type(problem: str) -> None:
    assert OpenAIGPTConfig(num_labels=1, problem_type=problem).num_labels == 1


def test_check_finds_what_was_set_later() -> None:
    config = OpenAIGPTConfig()
    config.n_head = 5
    with pytest.raises(ConfigError, match=r"n_embd is 768; allowed: a multiple of n_head \(5\)"):
        config.check()
    config.n_head = 12
    config.label2id["LABEL_9"] = 2
    with pytest.raises(ConfigError, match=r"label2id is .*LABEL_9"):
        config.check()


def test_a_name_of_the_class_cannot_be_set() -> None:
    with pytest.raises(ConfigError, match="to_dict is 1; allowed: no value") as caught:
        OpenAIGPTConfig().to_dict = 1  # type: ignore[assignment, method-assign]  # the point
    assert "to_dict" in caught.value.hint


def test_special_token_ids() -> None:
    config = OpenAIGPTConfig(eos_token_id=(1, 2), pad_token_id=np.int64(0), bos_token_id=None)
    assert config.eos_token_id == [1, 2]
    assert type(config.pad_token_id) is int


def test_numbers_take_the_type_of_their_field() -> None:
    config = OpenAIGPTConfig(n_embd=np.int32(24), n_head=2, resid_pdrop=0, initializer_range=1)
    assert type(config.n_embd) is int
    assert type(config.resid_pdrop) is type(config.initializer_range) is float


def test_labels_from_their_number() -> None:
    config = OpenAIGPTConfig(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    assert OpenAIGPTConfig().num_labels == 2


@pytest.mark.parametrize(
    "given",
    [
        {"id2label": {"1": "yes", "0": "no"}},
        {"label2id": {"yes": 1, "no": 0}},
        {"label2id": {"yes": "1", "no": "0"}},
        {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}, "num_labels": 2},
    ],
)
def test_labels_from_their_names(given: dict[str, Any]) -> None:
    config = OpenAIGPTConfig(**given)
    assert list(config.id2label.items()) == [(0, "no"), (1, "yes")]
    assert (config.label2id, config.num_labels) == ({"no": 0, "yes": 1}, 2)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        (
            {"num_labels": 3, "id2label": {0: "a", 1: "b"}},
            "num_labels is 3; allowed: 2, the labels in id2label",
            "omit num_labels",
        ),
        (
            {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}},
            "label2id is {'a': 1, 'b': 0}; allowed: {'a': 0, 'b': 1}, the inverse of id2label",
            "omit label2id",
        ),
        (
            {"id2label": {0: "a", 1: "a"}},
            "id2label is {0: 'a', 1: 'a'}; allowed: each label once",
            "use a different label",
        ),
        (
            {"id2label": ["a", "b"]},
            "id2label is ['a', 'b']; allowed: labels, as strings, by the ids 0, 1, 2, ...",
            "dict(enumerate(names))",
        ),
        ({"id2label": {1: "a"}}, "id2label is {1: 'a'}; allowed: labels", "enumerate"),
        ({"id2label": {"x": "a"}}, "id2label is {'x': 'a'}; allowed: labels", "enumerate"),
        ({"id2label": {0: 5}}, "id2label is {0: 5}; allowed: labels", "enumerate"),
        ({"id2label": {}}, "id2label is {}; allowed: labels", "enumerate"),
    ],
)
def test_labels_that_cannot_be(given: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIGPTConfig(**given)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_labels_set_afterwards() -> None:
    config = OpenAIGPTConfig(id2label={0: "no", 1: "yes"})
    config.num_labels = 2
    assert config.id2label == {0: "no", 1: "yes"}
    config.num_labels = 3
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    config.id2label = {0: "only"}
    config.label2id = {"only": 0}
    config.check()
    assert config.num_labels == 1
    with pytest.raises(ConfigError, match="num_labels is -1; allowed: an integer, 1 or more"):
        config.num_labels = -1
    assert config.label2id == {"only": 0}


def test_dtype_is_a_name() -> None:
    for name in DTYPES:
        assert OpenAIGPTConfig(dtype=getattr(torch, name)).dtype == name
    config = OpenAIGPTConfig(torch_dtype=torch.bfloat16)
    assert config.dtype == config.torch_dtype == "bfloat16"
    assert OpenAIGPTConfig(dtype="float32", torch_dtype=torch.float32).dtype == "float32"
    assert "torch_dtype" not in config.to_dict()


def test_pruned_heads_have_whole_numbers() -> None:
    assert OpenAIGPTConfig(pruned_heads={"1": [0, 2]}).pruned_heads == {1: [0, 2]}
    assert OpenAIGPTConfig().pruned_heads == {}


def test_tuples_or_named_fields() -> None:
    assert OpenAIGPTConfig().use_return_dict
    assert not OpenAIGPTConfig(return_dict=False).use_return_dict
    assert not OpenAIGPTConfig(torchscript=True).use_return_dict


def test_equality_and_copies() -> None:
    config = OpenAIGPTConfig(n_ctx=512, pruned_heads={0: [1]})
    for twin in (config.copy(), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        twin.pruned_heads[0].append(2)
        assert twin != config
    moved = config.copy()
    moved.name_or_path = "elsewhere"
    assert moved == config
    assert config != "a text"
    assert config != OpenAIGPTConfig(pruned_heads={0: [1]})


def test_repr_shows_what_is_not_plain() -> None:
    shown = repr(OpenAIGPTConfig(n_ctx=512, kept={(1, 2): 3}, shape=range(3)))
    assert shown.startswith('OpenAIGPTConfig {\n  "afn": "gelu"')
    assert '"n_ctx": 512' in shown
    assert "range(0, 3)" in shown
    assert "output_attentions" not in shown


# what tools of transformers ask


def test_facts_that_tools_read(tmp_path: Path) -> None:
    config = OpenAIGPTConfig(n_layer=3)
    assert config.get_text_config(decoder=True) is config
    assert (config.is_encoder_decoder, config.sub_configs, config.chunk_size_feed_forward) == (
        False,
        {},
        0,
    )
    assert "is_encoder_decoder" not in config.to_dict()
    config.save_pretrained(save_directory=tmp_path)
    values, rest = OpenAIGPTConfig.get_config_dict(tmp_path, local_files_only=True, n_head=2)
    assert values["n_layer"] == 3
    assert rest == {"n_head": 2}
    read = OpenAIGPTConfig.from_pretrained(pretrained_model_name_or_path=tmp_path)
    assert read == config


def test_facts_in_a_file() -> None:
    """config.json of transformers 4 may contain them."""
    config = OpenAIGPTConfig(is_encoder_decoder=False, chunk_size_feed_forward=0)
    assert not config.is_encoder_decoder
    with pytest.raises(ConfigError, match=r"sub_configs is \{\}; allowed: no value") as caught:
        config.sub_configs = {}
    assert "sub_configs" in caught.value.hint
