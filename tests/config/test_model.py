import json
from pathlib import Path

import pytest

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError, ConfigError


def test_defaults_are_gpt_1() -> None:
    config = OpenAIGPTConfig()
    assert (config.vocab_size, config.n_positions, config.n_embd) == (40478, 512, 768)
    assert (config.n_layer, config.n_head, config.afn) == (12, 12, "gelu")


def test_aliases_work_for_get_set_and_construction() -> None:
    config = OpenAIGPTConfig(hidden_size=24, num_attention_heads=2)
    assert config.n_embd == config.hidden_size == 24
    config.num_hidden_layers = 3
    assert config.n_layer == 3
    assert "num_hidden_layers" not in config.to_dict()


def test_legacy_keys_are_kept_and_written_back(tmp_path: Path) -> None:
    values = {"model_type": "openai-gpt", "n_ctx": 512, "predict_special_tokens": True}
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = OpenAIGPTConfig.from_pretrained(tmp_path)
    assert config.n_ctx == 512
    config.save_pretrained(tmp_path / "again")
    again = OpenAIGPTConfig.from_pretrained(tmp_path / "again")
    assert again == config
    assert again.predict_special_tokens is True
    assert again != OpenAIGPTConfig()
    assert "n_ctx" in repr(again)


def test_an_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="n_layers"):
        OpenAIGPTConfig().n_layers  # noqa: B018  # reading is the test


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("vocab_size", "a", "1 or more"),
        ("n_layer", 0, "1 or more"),
        ("n_embd", 770, r"a multiple of n_head \(12\)"),
        ("afn", "gelu_old", "gelu, gelu_new, relu, silu, swish"),
        ("attn_pdrop", 1.0, "0 to below 1"),
        ("layer_norm_epsilon", 0.0, "above 0"),
        ("initializer_range", -1.0, "0 or more"),
        ("eos_token_id", "x", "a token id, a list of them, or null"),
        ("pad_token_id", -1, "a token id, or null"),
        ("check", 5, "the name is taken by the class itself"),
    ],
)
def test_values_outside_their_range(name: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is {value!r}; allowed: .*{allowed}") as caught:
        OpenAIGPTConfig(**{name: value})
    assert name in caught.value.hint


def test_another_architecture() -> None:
    with pytest.raises(ConfigError, match="'gpt2' model") as caught:
        OpenAIGPTConfig.from_dict({"model_type": "gpt2"})
    assert "openai-gpt" in caught.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no config\.json") as caught:
        OpenAIGPTConfig.from_pretrained(tmp_path)
    assert "model.safetensors" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged") as caught:
        OpenAIGPTConfig.from_pretrained(tmp_path)
    assert "restore" in caught.value.hint


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json is damaged: .*directory"):
        OpenAIGPTConfig.from_pretrained(tmp_path)


def test_special_token_ids() -> None:
    config = OpenAIGPTConfig(eos_token_id=[1, 2], pad_token_id=0, bos_token_id=None)
    assert config.eos_token_id == [1, 2]
