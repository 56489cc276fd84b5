"""LSTMConfig: its fields, what it refuses, and its file."""

import json
from pathlib import Path
from typing import Any

import pytest

import ogpt
from ogpt.config.lstm_config import LSTMConfig, read_config
from ogpt.errors import ConfigError


def test_fields() -> None:
    config = LSTMConfig(50, 8, 12, 20, resid_pdrop=0.3, num_labels=3, note="kept")
    assert (config.vocab_size, config.n_positions, config.n_embd) == (50, 8, 12)
    assert (config.lstm_units, config.resid_pdrop, config.num_labels) == (20, 0.3, 3)
    assert (config.n_layer, config.n_head, config.initializer_range) == (1, 1, 0.1)
    assert config.note == "kept"
    assert LSTMConfig().lstm_units == 2048  # paper, section 5
    assert config.hidden_size == 12
    assert config.copy() == config
    assert config != LSTMConfig(50, 8, 12, 21, resid_pdrop=0.3, num_labels=3, note="kept")
    assert LSTMConfig.from_dict(config.to_dict(), lstm_units=24).lstm_units == 24
    config.update({"lstm_units": 30, "n_embd": 16})
    assert (config.lstm_units, config.n_embd) == (30, 16)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"lstm_units": 0}, "lstm_units is 0; allowed: an integer, 1 to 2147483647"),
        ({"lstm_units": 2**31}, "lstm_units is 2147483648"),
        ({"lstm_units": "20"}, "lstm_units is '20'"),
        ({"n_layer": 2}, "n_layer is 2; allowed: 1: an LSTM is one layer without attention"),
        ({"n_head": 3}, "n_head is 3; allowed: 1"),
        ({"output_attentions": True}, "output_attentions is True; allowed: False"),
        ({"resid_pdrop": 1.0}, "resid_pdrop is 1.0"),
        ({"model_type": "openai-gpt"}, "of a 'openai-gpt' model; allowed: 'ogpt-lstm'"),
    ],
)
def test_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        LSTMConfig(**{"n_embd": 12, **values})
    assert caught.value.hint


def test_its_file_is_read_as_what_it_is(tmp_path: Path) -> None:
    config = LSTMConfig(vocab_size=50, lstm_units=20, eos_token_id=3)
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved == {
        "bos_token_id": None,
        "embd_pdrop": 0.1,
        "eos_token_id": 3,
        "initializer_range": 0.1,
        "lstm_units": 20,
        "model_type": "ogpt-lstm",
        "n_embd": 768,
        "n_layer": None,
        "n_positions": 512,
        "pad_token_id": None,
        "resid_pdrop": 0.1,
        "tie_word_embeddings": True,
        "vocab_size": 50,
    }
    for found in (read_config(tmp_path), read_config(tmp_path / "config.json")):
        assert isinstance(found, LSTMConfig)
        assert found == config
    assert isinstance(ogpt.ModelFolder.open(tmp_path).config, LSTMConfig)
    with pytest.raises(ConfigError, match="of a 'ogpt-lstm' model; allowed: 'openai-gpt'"):
        ogpt.OpenAIGPTConfig.from_pretrained(tmp_path)


def test_the_file_of_a_transformer(tmp_path: Path) -> None:
    config = ogpt.OpenAIGPTConfig(n_layer=3)
    config.save_pretrained(tmp_path)
    assert type(read_config(tmp_path)) is ogpt.OpenAIGPTConfig
    assert read_config(tmp_path) == config
