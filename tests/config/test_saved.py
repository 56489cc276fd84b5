"""Configurations as dictionaries, JSON and files, and what transformers reads and writes."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers

from ogpt.config import config_file
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError, ConfigError, StorageError, UnknownSetting

HUB = {
    "afn": "gelu",
    "architectures": ["OpenAIGPTLMHeadModel"],
    "attn_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "openai-gpt",
    "n_ctx": 512,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 512,
    "n_special": 0,
    "predict_special_tokens": True,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 40478,
}
"""config.json of openai-community/openai-gpt."""

UNLIKE_THE_DEFAULTS = {
    "vocab_size": 99,
    "n_positions": 16,
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 2,
    "afn": "relu",
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.2,
    "attn_pdrop": 0.3,
    "layer_norm_epsilon": 1e-06,
    "initializer_range": 0.5,
    "summary_type": "mean",
    "summary_use_proj": False,
    "summary_activation": "tanh",
    "summary_proj_to_labels": False,
    "summary_first_dropout": 0.25,
    "summary_last_dropout": 0.125,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "tie_word_embeddings": False,
    "id2label": {0: "no", 1: "yes", 2: "both"},
    "label2id": {"no": 0, "yes": 1, "both": 2},
    "problem_type": "regression",
    "output_attentions": True,
    "output_hidden_states": True,
    "return_dict": False,
    "torchscript": True,
    "pruned_heads": {0: [1]},
    "architectures": ["OpenAIGPTModel"],
    "task_specific_params": {"a": {"b": 1}},
    "prefix": "p",
    "tokenizer_class": "T",
    "n_ctx": 16,
    "n_special": 0,
    "predict_special_tokens": True,
    "mine": [1, {"x": None}],
}


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What transformers logs as a warning or worse."""
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    yield heard
    logger.removeHandler(handler)


def test_transformers_reads_what_we_write(tmp_path: Path, complaints: list[str]) -> None:
    OpenAIGPTConfig(**UNLIKE_THE_DEFAULTS, dtype="float32").save_pretrained(tmp_path)
    theirs = transformers.OpenAIGPTConfig.from_pretrained(tmp_path)
    seen = {name: getattr(theirs, name) for name in UNLIKE_THE_DEFAULTS}
    assert seen == UNLIKE_THE_DEFAULTS | {"pruned_heads": {"0": [1]}}  # 5 has no pruning
    assert str(theirs.dtype) == "torch.float32"
    assert complaints == []
    for name in ("num_labels", "n_embd"):  # planted: what the comparison must see
        setattr(theirs, name, 7)
        assert {name: getattr(theirs, name) for name in UNLIKE_THE_DEFAULTS} != seen


def test_we_read_what_transformers_writes(tmp_path: Path) -> None:
    theirs = transformers.OpenAIGPTConfig(**UNLIKE_THE_DEFAULTS, dtype="bfloat16")
    theirs.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    ours = OpenAIGPTConfig.from_pretrained(tmp_path)
    assert {name: getattr(ours, name) for name in UNLIKE_THE_DEFAULTS} == UNLIKE_THE_DEFAULTS
    assert (ours.dtype, ours.transformers_version) == ("bfloat16", transformers.__version__)
    assert json.loads(ours.to_json_string()) == written
    planted = ours.copy()
    planted.mine = [1, {"x": 0}]
    assert json.loads(planted.to_json_string()) != written


def test_the_default_files_are_the_same(complaints: list[str]) -> None:
    theirs = json.loads(transformers.OpenAIGPTConfig().to_json_string())
    del theirs["transformers_version"]
    assert json.loads(OpenAIGPTConfig().to_json_string()) == theirs
    assert transformers.OpenAIGPTConfig(**OpenAIGPTConfig().to_dict()).to_diff_dict()
    assert complaints == []


def test_the_file_of_the_hub(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(HUB))
    config = OpenAIGPTConfig.from_pretrained(tmp_path)
    assert (config.n_ctx, config.n_special, config.predict_special_tokens) == (512, 0, True)
    assert config.task_specific_params["text-generation"]["max_length"] == 50
    config.save_pretrained(tmp_path / "again")
    again = OpenAIGPTConfig.from_pretrained(tmp_path / "again")
    assert again == config != OpenAIGPTConfig()
    assert HUB.items() <= again.to_dict().items()


GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, id=file.parent.name) for file in sorted(GOLDEN.rglob("config.json"))],
)
def test_files_that_transformers_wrote_keep_every_key(file: Path) -> None:
    stored = json.loads(file.read_text())
    written = json.loads(OpenAIGPTConfig.from_pretrained(file.parent).to_json_string())
    assert stored.items() <= written.items()
    added = written.keys() - stored.keys()
    assert added <= {"pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"}


def test_keys_of_transformers_4() -> None:
    config = OpenAIGPTConfig.from_dict(
        {"_name_or_path": "openai-gpt", "torch_dtype": "float32", "max_length": 20, "pad_id": 3}
    )
    assert (config.name_or_path, config.dtype) == ("openai-gpt", "float32")
    assert json.loads(config.to_json_string()).items() >= {"max_length": 20, "pad_id": 3}.items()
    assert "name_or_path" not in config.to_json_string()


def test_parity_is_written_only_when_chosen(tmp_path: Path) -> None:
    assert "parity" not in OpenAIGPTConfig(parity="ogpt").to_diff_dict()
    config = OpenAIGPTConfig(parity="transformers-5")
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["parity"]["positions"] == "generate"
    assert OpenAIGPTConfig.from_pretrained(tmp_path) == config


def test_json(tmp_path: Path) -> None:
    config = OpenAIGPTConfig(num_labels=11, n_ctx=4)
    text = config.to_json_string()
    assert (
        text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n" or "id2label" in text
    )
    assert text.startswith('{\n  "afn": "gelu",\n  "attn_pdrop": 0.1,')
    assert text.endswith('"vocab_size": 40478\n}\n')
    assert "output_attentions" not in text
    whole = json.loads(config.to_json_string(use_diff=False))
    assert whole["output_attentions"] is False
    assert whole["parity"]["masking"] == "boolean"
    for use_diff in (True, False):
        config.to_json_file(tmp_path / "any.json", use_diff)
        assert OpenAIGPTConfig.from_json_file(tmp_path / "any.json") == config
        assert OpenAIGPTConfig.from_pretrained(tmp_path / "any.json") == config


@pytest.mark.parametrize("extra", [{1, 2}, float("nan"), {"a": 1, 2: "b"}])
def test_an_extra_that_json_cannot_hold(extra: Any, tmp_path: Path) -> None:
    config = OpenAIGPTConfig(mine=extra)
    with pytest.raises(ConfigError, match="cannot be written as JSON: ") as caught:
        config.save_pretrained(tmp_path)
    assert "as extras" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_dictionary_is_not_shared() -> None:
    values = {"task_specific_params": {"a": [1]}, "hidden_size": 24}
    config = OpenAIGPTConfig.from_dict(values, n_embd=48)
    assert config.n_embd == 48
    config.task_specific_params["a"].append(2)
    config.to_dict()["task_specific_params"]["a"].append(3)
    assert config.task_specific_params == {"a": [1, 2]}
    assert values == {"task_specific_params": {"a": [1]}, "hidden_size": 24}


def test_a_dictionary_as_arguments() -> None:
    config = OpenAIGPTConfig(**UNLIKE_THE_DEFAULTS)
    assert OpenAIGPTConfig(**config.to_dict()) == config


def test_kwargs_go_before_the_file(tmp_path: Path) -> None:
    OpenAIGPTConfig(mine=1, n_layer=2).save_pretrained(tmp_path)
    config = OpenAIGPTConfig.from_pretrained(
        tmp_path, num_hidden_layers=3, output_attentions=True, mine=2, dtype="auto"
    )
    assert (config.n_layer, config.output_attentions, config.mine) == (3, True, 2)
    assert config.dtype is None
    config, unused = OpenAIGPTConfig.from_pretrained(tmp_path, True, n_layer=4, foo=False)
    assert (config.n_layer, unused) == (4, {"foo": False})
    assert OpenAIGPTConfig.from_dict({}, return_unused_kwargs=True, foo=1)[1] == {"foo": 1}


def test_kwargs_that_there_are_not(tmp_path: Path) -> None:
    OpenAIGPTConfig().save_pretrained(tmp_path)
    with pytest.raises(UnknownSetting, match="no field 'n_layers', 'qqq'") as caught:
        OpenAIGPTConfig.from_pretrained(tmp_path, n_layers=3, qqq=1)
    assert caught.value.hint == "did you mean n_layer?"
    with pytest.raises(UnknownSetting, match="no field 'qqq'") as caught:
        OpenAIGPTConfig.from_dict({}, qqq=1)
    assert "OpenAIGPTConfig" in caught.value.hint


def test_labels_in_kwargs_go_before_those_of_the_file() -> None:
    values = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    named = OpenAIGPTConfig.from_dict(values, num_labels=2)
    assert named.id2label == {0: "no", 1: "yes"}
    assert OpenAIGPTConfig.from_dict(values, num_labels=3).id2label[2] == "LABEL_2"
    assert OpenAIGPTConfig.from_dict(values, id2label={0: "x"}).label2id == {"x": 0}
    assert OpenAIGPTConfig.from_dict(values, label2id={"x": 0}).id2label == {0: "x"}
    with pytest.raises(ConfigError, match="num_labels is 3; allowed: 1"):
        OpenAIGPTConfig.from_dict(values, num_labels=3, id2label={0: "x"})


def test_where_a_model_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    OpenAIGPTConfig(n_layer=5).save_pretrained(tmp_path / "inner")
    assert OpenAIGPTConfig.from_pretrained(tmp_path, subfolder="inner").n_layer == 5
    asked = []

    def folder(path_or_id: str, **where: Any) -> Path:
        asked.append((path_or_id, where))
        return tmp_path / "inner"

    monkeypatch.setattr(config_file, "model_folder", folder)
    config = OpenAIGPTConfig.from_pretrained("me/gpt", revision="v1", token="t", afn="relu")
    assert (config.n_layer, config.afn) == (5, "relu")
    assert asked == [("me/gpt", {"revision": "v1", "token": "t", "tokenizer_only": True})]


def test_update() -> None:
    config = OpenAIGPTConfig(n_ctx=3)
    config.update({"hidden_size": 24, "n_head": 2, "num_labels": 3, "mine": "x"})
    assert (config.n_embd, config.n_head, config.num_labels, config.mine) == (24, 2, 3, "x")
    before = config.copy()
    with pytest.raises(ConfigError, match="n_head is 0; allowed: an integer, 1 or more"):
        config.update({"n_layer": 1, "n_head": 0})
    assert config == before


def test_update_from_string() -> None:
    config = OpenAIGPTConfig(n_head=1)
    config.update_from_string("n_embd=10, resid_pdrop=0.2,afn=relu,tie_word_embeddings=False")
    assert (config.n_embd, config.resid_pdrop, config.afn) == (10, 0.2, "relu")
    assert config.tie_word_embeddings is False
    config.update_from_string("num_labels=4,num_hidden_layers=2,return_dict=true")
    assert (config.num_labels, config.n_layer) == (4, 2)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "n_embd",
            "'n_embd' in 'n_embd' does not have the form name=value",
            "for example n_embd=10",
        ),
        ("", "'' in '' does not have the form name=value", "for example n_embd=10"),
        ("n_layers=3", "no field 'n_layers'", "did you mean n_layer?"),
        ("check=3", "no field 'check'", "OpenAIGPTConfig"),
        ("n_layer=x", "n_layer is 'x'; allowed: text of int", "current one, 12"),
        ("attn_pdrop=x", "attn_pdrop is 'x'; allowed: text of float", "current one, 0.1"),
        ("return_dict=1", "return_dict is '1'; allowed: true, false", "current one, True"),
        ("pad_token_id=0", "pad_token_id is '0'; its current value, None", "config.pad_token_id ="),
        ("afn=x", "afn is 'x'; allowed: gelu", "set afn"),
    ],
)
def test_updates_that_cannot_be(text: str, message: str, hint: str) -> None:
    config = OpenAIGPTConfig()
    with pytest.raises(ConfigError) as caught:
        config.update_from_string(text)
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert config == OpenAIGPTConfig()


def test_another_architecture() -> None:
    with pytest.raises(ConfigError, match="'gpt2' model; allowed: 'openai-gpt'") as caught:
        OpenAIGPTConfig.from_dict({"model_type": "gpt2"})
    assert "openai-gpt" in caught.value.hint


READERS: list[Callable[[Path], OpenAIGPTConfig]] = [
    OpenAIGPTConfig.from_pretrained,
    lambda folder: OpenAIGPTConfig.from_json_file(folder / "config.json"),
]


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file(read: Callable[[Path], OpenAIGPTConfig], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{tmp_path} has no config\.json") as caught:
        read(tmp_path)
    assert "model.safetensors" in caught.value.hint


@pytest.mark.parametrize("read", READERS)
def test_openais_files(read: Callable[[Path], OpenAIGPTConfig], tmp_path: Path) -> None:
    (tmp_path / "params_shapes.json").touch()
    with pytest.raises(
        CheckpointError, match=r"OpenAI's files of 2018, .* no config\.json"
    ) as caught:
        read(tmp_path)
    assert "ogpt.load" in caught.value.hint
    assert "ogpt convert" in caught.value.hint


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no folder .*none"):
        OpenAIGPTConfig.from_pretrained(tmp_path / "none")


@pytest.mark.parametrize("text", ["{", "[1]"])
@pytest.mark.parametrize("read", READERS)
def test_a_damaged_file(read: Callable[[Path], OpenAIGPTConfig], text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged") as caught:
        read(tmp_path)
    assert "restore" in caught.value.hint


@pytest.mark.parametrize("text", ["[" * n + "]" * n for n in (101, 900, 100_000)])
@pytest.mark.parametrize("read", READERS)
def test_a_file_nested_too_deep(
    read: Callable[[Path], OpenAIGPTConfig], text: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(f'{{"mine": {text}}}')
    with pytest.raises(CheckpointError, match=r"damaged: .* nested more than 100 deep") as caught:
        read(tmp_path)
    assert "restore" in caught.value.hint
    (tmp_path / "config.json").write_text('{"mine": ' + "[" * 99 + "{}" + "]" * 99 + "}")
    with pytest.raises(CheckpointError, match="more than 100 deep"):
        read(tmp_path)
    (tmp_path / "config.json").write_text('{"mine": ' + "[" * 98 + "{}" + "]" * 98 + "}")
    assert read(tmp_path).copy().to_json_string().count("[") == 98


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: .*directory"):
        OpenAIGPTConfig.from_pretrained(tmp_path)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"could not write .*file: ") as caught:
        OpenAIGPTConfig().save_pretrained(tmp_path / "file")
    assert "choose another folder" in caught.value.hint


def test_nothing_wrong_is_written(tmp_path: Path) -> None:
    config = OpenAIGPTConfig()
    config.n_layer = 0
    with pytest.raises(ConfigError, match="n_layer is 0"):
        config.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"n_layer": 2, "n_layer": 3}')
    with pytest.raises(CheckpointError, match=r"damaged: the key 'n_layer' is there more than"):
        OpenAIGPTConfig.from_pretrained(tmp_path)
